//go:build real

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esutil"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	realRate   = 1000
	realWarm   = 3000
	realTimed  = 12_000
	realProbed = 50
)

// seeker looks for resources until searches find them, all at once: one search every
// few milliseconds however many are looked for.
type seeker struct {
	l    *lab
	find func(ids []string) ([]string, error)

	mu      sync.Mutex
	since   map[string]time.Time
	waits   []time.Duration
	stopped bool
}

func (s *seeker) add(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since[id] = time.Now()
}

// seek runs until nothing more is added and all is found.
func (s *seeker) seek() {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		s.mu.Lock()
		ids := make([]string, 0, len(s.since))
		for id := range s.since {
			ids = append(ids, id)
		}
		over := s.stopped && len(ids) == 0
		s.mu.Unlock()
		switch {
		case over:
			return
		case len(ids) == 0:
			continue
		case time.Now().After(deadline):
			s.l.Errorf("%d resources do not appear", len(ids))
			return
		}
		found, err := s.find(ids[:min(len(ids), 100)])
		if err != nil {
			s.l.Error(err)
			return
		}
		now := time.Now()
		s.mu.Lock()
		for _, id := range found {
			if at, ok := s.since[id]; ok {
				s.waits = append(s.waits, now.Sub(at))
				delete(s.since, id)
			}
		}
		s.mu.Unlock()
	}
}

// follow runs the seeker while f adds to it, and returns how long each was not found.
func (s *seeker) follow(f func()) []time.Duration {
	s.since = map[string]time.Time{}
	var all sync.WaitGroup
	all.Go(s.seek)
	f()
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	all.Wait()
	return s.waits
}

// paced calls f for each of n, so many a second.
func paced(n, rate int, f func(i int)) {
	begin, tick := time.Now(), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := 0; i < n; <-tick.C {
		for due := int(time.Since(begin).Seconds() * float64(rate)); i < min(due, n); i++ {
			f(i)
		}
	}
}

// realSearchable measures from the append of a notification to the first search of
// the API that finds its document, and the same of a client that writes the documents
// into an index of the same refresh interval itself.
func realSearchable(l *lab, r *report) {
	timed := scaled(realTimed)
	s := l.fresh(feed{n: realWarm})
	l.drain(s, 0, realWarm)
	cl := l.kafka()
	defer cl.Close()
	api := &seeker{l: l, find: func(ids []string) ([]string, error) {
		var answer struct {
			Hits struct {
				Hits []struct {
					ID string `json:"_id"`
				}
			}
		}
		err := s.Call("POST", "/v1/search", "", map[string]any{
			"type": "OS::Neutron::Port", "query": map[string]any{"terms": map[string]any{"id": ids}}, "limit": len(ids), "_source": []string{"id"},
		}, &answer)
		var out []string
		for _, h := range answer.Hits.Hits {
			out = append(out, h.ID)
		}
		return out, err
	}}
	through := api.follow(func() {
		paced(timed, realRate, func(i int) {
			p := newPort(realWarm + i)
			value := p.notification(0)
			if i%realProbed == 0 {
				api.add(p.id)
			}
			cl.Produce(l.Context(), &kgo.Record{Topic: source, Value: value}, func(_ *kgo.Record, err error) {
				if err != nil {
					l.Error(err)
				}
			})
		})
	})
	if l.documents == nil {
		l.learn()
	}
	s.Stop()
	bare := l.bareSearchable()
	r.latency(fmt.Sprintf("append to searchable, p50 / p99 at %d/s, refresh 1 s", realRate), through, bare,
		"a bare client, from its write to its search", "p99 1 500 ms")
}

// bareSearchable writes at the same rate with a bulk indexer that flushes every 50 ms.
func (l *lab) bareSearchable() []time.Duration {
	l.Helper()
	index := l.index("bare", l.same)
	bulk := l.bulkIndexer(index, 50*time.Millisecond)
	direct := &seeker{l: l, find: func(ids []string) ([]string, error) {
		body, err := json.Marshal(map[string]any{"query": map[string]any{"terms": map[string]any{"id": ids}}, "size": len(ids), "_source": false})
		if err != nil {
			return nil, err
		}
		b, err := call(l.Context(), "POST", l.on.Search+"/"+index+"/_search", body)
		if err != nil {
			return nil, err
		}
		return hits(b)
	}}
	docs := l.documents[:min(scaled(realTimed), len(l.documents))]
	waits := direct.follow(func() {
		paced(len(docs), realRate, func(i int) {
			d := docs[i]
			if i%realProbed == 0 {
				direct.add(d.id)
			}
			item := esutil.BulkIndexerItem{Action: "index", DocumentID: d.id, Body: bytes.NewReader(d.source)}
			if err := bulk.Add(l.Context(), item); err != nil {
				l.Error(err)
			}
		})
	})
	if err := bulk.Close(context.WithoutCancel(l.Context())); err != nil {
		l.Error(err)
	}
	return waits
}

// hits are the ids that an answer has.
func hits(answer []byte) (ids []string, err error) {
	var a struct {
		Hits struct {
			Hits []struct {
				ID string `json:"_id"`
			}
		}
	}
	err = json.Unmarshal(answer, &a)
	for _, h := range a.Hits.Hits {
		ids = append(ids, h.ID)
	}
	return ids, err
}

// backlogs drains a short and a long backlog, then a short one into the index that
// the long one has made large.
func backlogs(l *lab, r *report) {
	small, large, ten := scaled(30_000), scaled(300_000), scaled(10_000)
	shape := "BENCH_LONG=1: 1 000 000"
	if long() {
		small, large, shape = 100_000, 1_000_000, "the long form"
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
