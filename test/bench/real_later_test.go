//go:build real

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esutil"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fresnel-search/fresnel/test/harness"
)

const (
	realRate   = 1000
	realWarm   = 3000
	realTimed  = 15_000
	realProbed = 50
)

// seeker looks for resources until searches find them, all at once: one search every
// few milliseconds however many are looked for.
type seeker struct {
	l    *lab
	find func(ids []string) ([]string, error)

	mu      sync.Mutex
	since   map[string]time.Time // of those not found yet
	added   map[string]time.Time
	waits   []time.Duration
	took    []time.Duration // by the searches themselves
	stopped bool
}

func (s *seeker) add(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since[id] = time.Now()
	s.added[id] = s.since[id]
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
		began := time.Now()
		found, err := s.find(ids[:min(len(ids), 100)])
		s.took = append(s.took, time.Since(began))
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
	s.since, s.added = map[string]time.Time{}, map[string]time.Time{}
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
	timed := max(2*realWarm, scaled(realTimed))
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
	before, worked := l.hops(s), l.works()
	through := api.follow(func() {
		paced(timed, realRate, func(i int) {
			p := newPort(realWarm + i)
			value := p.notification(0)
			if i >= realWarm && i%realProbed == 0 { // the first ones are to warm up
				api.add(p.id)
			}
			cl.Produce(l.Context(), &kgo.Record{Topic: source, Value: value}, func(_ *kgo.Record, err error) {
				if err != nil {
					l.Error(err)
				}
			})
		})
	})
	r.note(l.hops(s).since(before, timed))
	r.note("Elasticsearch meanwhile: " + l.works().since(worked, timed))
	r.note("The searches for them took " + centiles(api.took) + ", p50 / p99")
	encoded := l.encoded(api.added)
	l.learn()
	s.Stop()
	bare := l.bareSearchable()
	r.latency("... of that from the append to the request that writes the document", encoded, through, "until it is found", "")
	r.latency(fmt.Sprintf("append to searchable, p50 / p99 at %d/s, refresh 1 s", realRate), through, bare,
		"a bare client, from its write to its search", "p99 1 500 ms")
}

// hops are how often, and how long in all, the steps on the way were made.
type hops struct{ listen, index, produce, bulk [2]float64 }

// hops are those of a server so far.
func (l *lab) hops(s *harness.Server) hops {
	l.Helper()
	of := func(name string) [2]float64 {
		return [2]float64{metric(l.B, s, name+"_count"), metric(l.B, s, name+"_sum")}
	}
	return hops{
		of("fresnel_listener_handle_duration_seconds"), of("fresnel_indexer_handle_duration_seconds"),
		of("fresnel_kafka_produce_duration_seconds"), of("fresnel_elastic_bulk_duration_seconds"),
	}
}

// since tells the means of the steps since before.
func (h hops) since(before hops, documents int) string {
	mean := func(now, was [2]float64) string {
		n := max(1, now[0]-was[0])
		return fmt.Sprintf("%.0f of %.0f each in %.0f ms", n, float64(documents)/n, (now[1]-was[1])*1e3/n)
	}
	return fmt.Sprintf("Steps from append to searchable: batches of the listener %s, of the indexer %s; bulks %s; appends to logs %s",
		mean(h.listen, before.listen), mean(h.index, before.index), mean(h.bulk, before.bulk), mean(h.produce, before.produce))
}

// encoded is how long it took, for each resource, from when it was appended until
// the request was made that wrote its document.
func (l *lab) encoded(appended map[string]time.Time) (waits []time.Duration) {
	l.Helper()
	ids, err := json.Marshal(map[string]any{"ids": slices.Collect(maps.Keys(appended))})
	if err != nil {
		l.Fatal(err)
	}
	var found struct {
		Docs []struct {
			ID     string                  `json:"_id"`
			Source struct{ Written int64 } `json:"_source"`
		}
	}
	if err := json.Unmarshal(l.call("POST", "/"+l.ports()+"/_mget?_source=written", ids), &found); err != nil {
		l.Fatal(err)
	}
	for _, d := range found.Docs {
		waits = append(waits, time.UnixMilli(d.Source.Written).Sub(appended[d.ID]))
	}
	return waits
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
		b, err := l.try("POST", "/"+index+"/_search", body)
		if err != nil {
			return nil, err
		}
		return hits(b)
	}}
	docs := l.documents[:min(max(2*realWarm, scaled(realTimed)), len(l.documents))]
	waits := direct.follow(func() {
		paced(len(docs), realRate, func(i int) {
			d := docs[i]
			if i >= realWarm && i%realProbed == 0 {
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
