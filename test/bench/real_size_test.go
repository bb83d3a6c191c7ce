//go:build real

package bench

import (
	"fmt"
	"strings"
)

// backlogs drains a short and a long backlog, then a short one into the index that
// the long one has made large.
func backlogs(l *lab, r *report) {
	small, large, ten := scaled(100_000), scaled(500_000), scaled(10_000)
	shape := "BENCH_LONG=1: 1 000 000"
	if long() {
		large, shape = scaled(1_000_000), "the long form"
	}
	s := l.fresh(feed{n: ten})
	l.drain(s, 0, ten)
	s.Stop()
	l.append(feed{first: ten, n: small})
	short := l.drain(s, ten, small)
	s.Stop()
	s = l.fresh(feed{n: large})
	deep := l.drain(s, 0, large)
	s.Stop()
	l.append(feed{first: large, n: small})
	full := l.drain(s, large, small)
	s.Stop()
	r.rate(fmt.Sprintf("backlog of %d notifications (%s)", large, shape), deep.rate, short.rate, fmt.Sprintf("one of %d", small), "within 0.1 of 1")
	r.rate(fmt.Sprintf("index of %d resources (%s)", large, shape), full.rate, short.rate, fmt.Sprintf("one of %d", ten), "within 0.1 of 1")
	half := deep.resident[len(deep.resident)/2:]
	first, last := meanMemory(half[:len(half)/2]), meanMemory(half[len(half)/2:])
	r.size(fmt.Sprintf("RSS of Fresnel in the last quarter of %d notifications (%+.1f MiB for each 100 000)", large, slope(half)*1e5/(1<<20)),
		last, first, "in the quarter before", "flat")
	r.note("RSS of Fresnel, and its heap, in MiB after so many notifications: " + everySoMany(deep.resident, large/10))
}

// everySoMany tells of the memory each time that so many more were done.
func everySoMany(ms []memory, step int) string {
	var parts []string
	for _, m := range ms {
		if m.done >= (len(parts)+1)*step {
			parts = append(parts, fmt.Sprintf("%d: %d, %d", m.done, m.bytes>>20, m.heap>>20))
		}
	}
	return strings.Join(parts, "; ")
}

func meanMemory(ms []memory) int64 {
	sum := int64(0)
	for _, m := range ms {
		sum += m.bytes
	}
	return sum / int64(max(1, len(ms)))
}

// slope is that of the straight line through them, in bytes for each one done.
func slope(ms []memory) float64 {
	var n, x, y, xx, xy float64
	for _, m := range ms {
		d, b := float64(m.done), float64(m.bytes)
		n, x, y, xx, xy = n+1, x+d, y+b, xx+d*d, xy+d*b
	}
	if n*xx == x*x {
		return 0
	}
	return (n*xy - x*y) / (n*xx - x*x)
}
