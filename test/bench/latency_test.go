package bench

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/test/harness"
)

const (
	searchRate, searchRecords   = 500, 5000
	attemptRate, attemptRecords = 1000, 8000
	bareRecords                 = 2000
	// warmUp is how many records go first and are not measured.
	warmUp = 500
	// probed is that every so many records are looked for.
	probed = 20
)

// searchable measures from the append of a notification to the first answer of the
// API that has its document.
func searchable(b *testing.B, r *report) {
	records, ids := ports(b, 0, warmUp+searchRecords)
	s := harness.New(b, plain).Start()
	out := client(b, s.Kafka)
	steadily(b, out, "", records[:warmUp], searchRate, func(int) {})
	settled(b, s, warmUp)
	records, ids = records[warmUp:], ids[warmUp:]
	var waits waits
	var probes sync.WaitGroup
	steadily(b, out, "", records, searchRate, func(i int) {
		if i%probed != 0 {
			return
		}
		began := time.Now()
		probes.Go(func() {
			if probe(b, s.URL+"/v1/resources/OS::Neutron::Port/"+ids[i]) {
				waits.add(time.Since(began))
			}
		})
	})
	probes.Wait()
	bare := bareWaits(b, s.Kafka, records[:bareRecords], searchRate)
	s.Stop()
	r.latency("append to searchable, p50 / p99 at 500/s", waits.all, bare, "append to a bare consumer", "p99 100 ms")
}

// waits collects durations.
type waits struct {
	mu  sync.Mutex
	all []time.Duration
}

func (w *waits) add(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, d)
}

// probe asks until the resource is there.
func probe(b *testing.B, url string) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		resp, err := http.Get(url)
		if err != nil {
			b.Error(err)
			return false
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err := resp.Body.Close(); err != nil {
			b.Error(err)
		}
		if err == nil && resp.StatusCode == http.StatusOK {
			return true
		}
	}
	b.Error(url + " does not appear")
	return false
}

// bareWaits measures from append to a consumer that does nothing.
func bareWaits(b *testing.B, broker string, records []stream.Record, rate int) []time.Duration {
	b.Helper()
	var at []time.Time // partitions come in any order: the topic has several
	var byValue sync.Map
	for i, r := range records {
		byValue.Store(string(r.Value), i)
	}
	at = make([]time.Time, len(records))
	began := bareFlow(b, broker, records, rate, func(value []byte) {
		if i, ok := byValue.Load(string(value)); ok {
			at[i.(int)] = time.Now()
		}
	})
	return differences(began, at)
}

func differences(began, ended []time.Time) (ds []time.Duration) {
	for i := range began {
		if !ended[i].IsZero() {
			ds = append(ds, ended[i].Sub(began[i]))
		}
	}
	return ds
}

// subscribed adds a subscription to everything.
const subscribed = plain + `
publishers:
  outbound: {allow: ["127.0.0.0/8"]}
  subscriptions:
    - name: bench
      publisher: webhook
      destination: RECEIVER
      secret: ` + harness.Secret + `
      filter: {projects: ["*"]}
`

// attempt measures from the append of a notification to the request that tells a
// receiver of it.
func attempt(b *testing.B, r *report) {
	records, ids := ports(b, 0, warmUp+attemptRecords)
	sink := newSink(b)
	s := harness.New(b, string(bytes.ReplaceAll([]byte(subscribed), []byte("RECEIVER"), []byte(sink.URL)))).Start()
	out := client(b, s.Kafka)
	steadily(b, out, "", records[:warmUp], attemptRate, func(int) {})
	sink.await(b, warmUp)
	records, ids = records[warmUp:], ids[warmUp:]
	began := make([]time.Time, len(records))
	steadily(b, out, "", records, attemptRate, func(i int) { began[i] = time.Now() })
	sink.await(b, warmUp+len(records))
	waits := differences(began, sink.firsts(ids))
	bare := bareForward(b, s.Kafka, records[:bareRecords], ids[:bareRecords])
	s.Stop()
	r.latency("append to first webhook attempt, p50 / p99 at 1 000/s", waits, bare,
		"bare consumer that posts the notification", "30 / 250 ms")
}

// bareForward measures from append to the receiver, through a consumer that posts
// what it reads as it is.
func bareForward(b *testing.B, broker string, records []stream.Record, ids []string) []time.Duration {
	b.Helper()
	sink := newSink(b)
	work := make(chan []byte, len(records))
	var all sync.WaitGroup
	poster := newPoster(sink.URL, 32)
	for range 32 {
		all.Go(func() {
			for body := range work {
				poster.post(b, "1", body)
			}
		})
	}
	began := bareFlow(b, broker, records, attemptRate, func(value []byte) { work <- value })
	close(work)
	all.Wait()
	return differences(began, sink.firsts(ids))
}
