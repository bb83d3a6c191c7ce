//go:build real

package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/plugins/oslo"
	"github.com/fresnel-search/fresnel/plugins/sdk"
	"github.com/fresnel-search/fresnel/publishers/log"
	"github.com/fresnel-search/fresnel/test/harness"
)

// atOnce is how many batches, of how many deliveries at most, a publisher gets for one
// destination at once, and so do the bare clients.
const (
	atOnce   = 4
	together = 100
)

// publisherCase is a publisher with what it is compared to: a bare client that hands
// the same to the same server, and returns how many a second.
type publisherCase struct {
	name, subscription, against, goal string
	bare                              func(*testing.B, *written) float64
}

// written is what there is to deliver, as the publishers make it.
type written struct {
	lines  [][]byte             // of the publisher log
	bodies []*oslo.Notification // of the publishers to brokers
}

// BenchmarkPublishers has each built-in publisher deliver the same backlog to a real
// server of its kind, and a bare client of that server after it.
func BenchmarkPublishers(b *testing.B) {
	r := newReport("make bench-publishers")
	dir := b.TempDir()
	cases := publisherCases(b, dir)
	all := make([]string, len(cases))
	for i, c := range cases {
		all[i] = "    - {name: " + c.name + ", filter: {projects: [\"*\"]}, " + c.subscription + "}\n"
	}
	with := func(subscriptions ...string) string {
		return plain + "publishers:\n  outbound: {allow: [\"127.0.0.0/8\"]}\n  subscriptions:\n" + strings.Join(subscriptions, "")
	}
	records, _ := ports(b, 0, backlog)
	s := harness.New(b, with(all...)).Start()
	s.Stop() // all places in the change log are known now
	s.Configure(plain)
	s.Start()
	produce(b, client(b, s.Kafka), "", records)
	settled(b, s, backlog)
	s.Stop()
	var had *written
	for i, c := range cases {
		s.Configure(with(all[i]))
		s.Start()
		rate := delivered(b, s, c.name)
		pid := child(s.PID())
		r.note(fmt.Sprintf("%s: %s resident, %s of them its own, %d µs of CPU for each delivery", c.name, mib(rss(pid)),
			mib(status(pid, "RssAnon")), cpu(pid).Microseconds()/backlog))
		s.Stop()
		if had == nil { // the first one is log
			had = read(b, filepath.Join(dir, "log.jsonl"))
		}
		r.rate(c.name+": deliveries of a backlog", rate, c.bare(b, had), c.against, c.goal)
	}
	b.ReportMetric(0, "ns/op") // of no meaning
	if err := r.print(os.Stdout); err != nil {
		b.Fatal(err)
	}
}

// delivered waits for the backlog to go through a publisher and returns how many went
// a second, start and end apart.
func delivered(b *testing.B, s *harness.Server, publisher string) float64 {
	b.Helper()
	var series []progress
	until(b, 10*time.Millisecond, func() error {
		n := int(metric(b, s, `fresnel_publishers_attempts_total\{publisher="`+publisher+`",result="delivered"\}`))
		series = append(series, progress{at: time.Now(), done: n})
		if n < backlog {
			return fmt.Errorf("%d of %d", n, backlog)
		}
		return nil
	})
	return sustained(series).rate
}

// read makes of the file of the publisher log what the others had to send.
func read(b *testing.B, path string) *written {
	b.Helper()
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	w := &written{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() && len(w.lines) < backlog {
		var l log.Line
		var event struct{ Data json.RawMessage }
		if json.Unmarshal(lines.Bytes(), &l) != nil || json.Unmarshal(l.Event, &event) != nil {
			b.Fatalf("line %s", lines.Text())
		}
		n, err := oslo.Encode(&sdk.Event{ID: l.DeliveryID, DeliveryID: l.DeliveryID, Data: event.Data, Subject: l.DeliveryID}, "fresnel", 1<<20)
		if err != nil {
			b.Fatal(err)
		}
		w.lines, w.bodies = append(w.lines, append(slices.Clone(lines.Bytes()), '\n')), append(w.bodies, n)
	}
	if len(w.lines) < backlog {
		b.Fatalf("%d lines", len(w.lines))
	}
	return w
}

// share works chunks off, so many at once, each worker with what open gives it, and
// returns how many items a second.
func shared[T, C any](b *testing.B, items []T, open func() (C, error), work func(C, []T) error) float64 {
	b.Helper()
	workers := make([]C, atOnce)
	for i := range workers {
		var err error
		if workers[i], err = open(); err != nil {
			b.Fatal(err)
		}
	}
	chunks := make(chan []T, len(items)/together+1)
	for c := range slices.Chunk(items, together) {
		chunks <- c
	}
	close(chunks)
	begin := time.Now()
	var all sync.WaitGroup
	for _, w := range workers {
		all.Go(func() {
			for c := range chunks {
				if err := work(w, c); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	return float64(len(items)) / time.Since(begin).Seconds()
}
