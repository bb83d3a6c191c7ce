//go:build real

package real

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/listener/stream"
)

// F5, F6, F7, F8 after 1 s, F9.
func TestWhatIsSaidInAnyOrderAndReadAgainEndsInTheSame(t *testing.T) {
	each(t, func(t *testing.T, seed uint64) {
		w := newWorld(t, engines(t), seed, 2)
		dead := w.bury(20)
		w.tell(w.threeTimesShuffled(300)...)
		w.pass(time.Second)
		w.dig(dead)
		w.tell(w.clocksGoneWrong(50)...)
		w.pass(2 * time.Second)
		w.rest()
		doubtful := w.counted("fresnel_listener_doubtful_times_total")
		for why, least := range map[string]float64{"undated": 50 * 7, "ahead": 50 * 2, "behind": 50} {
			if n := doubtful[why]; n < least {
				t.Errorf("%.0f times are counted as %s, want at least %.0f", n, why, least)
			}
		}
		w.makeAnew()
		w.setBack()
		w.check()
	})
}

// counted adds up a metric of all servers by the value of its only label.
func (w *world) counted(metric string) map[string]float64 {
	w.Helper()
	sum := map[string]float64{}
	for _, s := range w.servers {
		text, err := s.Text("/metrics")
		if err != nil {
			w.Fatal(err)
		}
		for line := range strings.Lines(text) {
			if name, rest, _ := strings.Cut(line, "{"); name == metric {
				_, rest, _ = strings.Cut(rest, `"`)
				label, value, _ := strings.Cut(rest, `"} `)
				n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
				if err != nil {
					w.Fatal(err)
				}
				sum[label] += n
			}
		}
	}
	return sum
}

// threeTimesShuffled are lives of images, each statement three times, in any order
// over all partitions of two topics.
func (w *world) threeTimesShuffled(n int) (all []stream.Record) {
	for i := range n {
		id := fmt.Sprintf("shuffled-%03d", i)
		for v := range 6 {
			event := "image.update"
			switch {
			case v == 0:
				event = "image.create"
			case v == 5 && i%2 == 0:
				event = "image.delete"
			}
			r := notify(lifeTopics[v%2], event, w.base.Add(time.Duration(v)*time.Second), image(id, fmt.Sprint(v), v%3))
			all = append(all, r, r, r)
		}
	}
	w.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// clocksGoneWrong are statements without a time, with times that cannot be, with
// clocks an hour off, and with equal times that differ in what they say.
func (w *world) clocksGoneWrong(n int) (all []stream.Record) {
	for i := range n {
		id := fmt.Sprintf("time-%03d", i)
		for v, at := range []string{
			"", "yesterday", "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", "1969-12-31 23:59:59",
			"2026-02-30 00:00:00", "99999-01-01 00:00:00", "2026-11-21T10:00:00+25:00",
			oslo(w.base.Add(-time.Hour)), oslo(w.base.Add(time.Hour)), oslo(w.base), oslo(w.base),
		} {
			all = append(all, stamped(lifeTopics[v%2], "image.update", at, image(id, fmt.Sprint(v), v%3)))
		}
		all = append(all, notify(lifeTopics[0], "image.create", w.base, image(id, "created", 0)))
		if i%2 == 0 {
			all = append(all, stamped(lifeTopics[1], "image.delete", oslo(w.base.Add(-time.Hour)), image(id, "deleted", 0)))
		}
	}
	w.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

func oslo(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05.000000") }
