package host_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/host"
)

// BenchmarkWebhookDeliveries compares deliveries through host, gRPC and the webhook
// plugin with a bare client loop to the same receiver, each with 64 at a time.
func BenchmarkWebhookDeliveries(b *testing.B) {
	receiver := startReceiver(b)
	const data = 1000
	body := []byte(`{"document":"` + strings.Repeat("x", data) + `"}`)
	b.Run("bare", func(b *testing.B) { benchBare(b, receiver, body) })
	for _, calls := range []int{1, 4} {
		b.Run(fmt.Sprintf("plugin/calls=%d", calls), func(b *testing.B) { benchPlugin(b, receiver, body, calls) })
	}
}

// startReceiver runs a receiver that reads and says 200.
func startReceiver(b *testing.B) string {
	b.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			b.Error(err)
		}
	}))
	b.Cleanup(srv.Close)
	return srv.URL
}

func benchBare(b *testing.B, url string, body []byte) {
	const concurrency = 64
	transport := &http.Transport{MaxIdleConnsPerHost: concurrency}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	work := make(chan struct{})
	before := cpuTime(b)
	var all sync.WaitGroup
	for range concurrency {
		all.Go(func() {
			for range work {
				resp, err := client.Post(url, "application/json", bytes.NewReader(body))
				if err != nil {
					b.Error(err)
					continue
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil {
					b.Error(err)
				}
				if err := resp.Body.Close(); err != nil {
					b.Error(err)
				}
			}
		})
	}
	b.ResetTimer()
	for range b.N {
		work <- struct{}{}
	}
	close(work)
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
	reportCPU(b, before)
}

func benchPlugin(b *testing.B, url string, body []byte, calls int) {
	cfg := config(b, "webhook")
	cfg.Outbound.Allow = []string{"127.0.0.0/8"}
	p := cfg.Plugins["it"]
	p.TLS = "auto"
	cfg.Plugins["it"] = p
	s := start(b, cfg)
	s.process(0)
	to := delivery.Destination{
		Subscription: "nfv", URI: url, Secrets: map[string][]byte{"secret": []byte("whsec_bXktdGVzdC1zZWNyZXQtMTIzNDU2Nzg5MA==")},
	}
	before := cpuTime(b)
	b.ResetTimer()
	s.pour(load{to: to, body: body, events: b.N, batch: 100, calls: calls})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
	b.ReportMetric(float64(s.process(0).RSS>>20), "MiB-plugin")
	s.stop()
	reportCPU(b, before)
}

// load is what is published.
type load struct {
	to                   delivery.Destination
	body                 []byte
	events, batch, calls int  // calls at a time, of batch deliveries each
	bare                 bool // past the host
}

// pour publishes a load and returns how long each call took.
func (s *started) pour(l load) []time.Duration {
	work := make(chan []delivery.Delivery)
	took := make([][]time.Duration, l.calls)
	var all sync.WaitGroup
	for i := range l.calls {
		all.Go(func() {
			for ds := range work {
				began, acked := time.Now(), 0
				var err error
				if l.bare {
					err = host.Bare(context.Background(), s.it, l.to, ds, func(*publisherv1.DeliveryResult) { acked++ })
				} else {
					err = s.it.Publish(context.Background(), l.to, ds, func(o delivery.Outcome) {
						if acked++; o.Kind != delivery.Delivered {
							s.t.Errorf("outcome %+v", o)
						}
					})
				}
				if err != nil || acked != len(ds) {
					s.t.Errorf("%d of %d acked, %v", acked, len(ds), err)
				}
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	ds := make([]delivery.Delivery, 0, l.batch)
	for i := range l.events {
		id := strconv.Itoa(i)
		ds = append(ds, delivery.Delivery{ID: id, Attempt: 1, Event: delivery.Event{
			ID: id, Type: "org.fresnel.resource.updated", Source: "/fresnel", ContentType: "application/json", Data: l.body,
		}})
		if len(ds) == l.batch || i == l.events-1 {
			work <- ds
			ds = make([]delivery.Delivery, 0, l.batch)
		}
	}
	close(work)
	all.Wait()
	return slices.Concat(took...)
}

// percentile of durations, 0 to 1.
func percentile(ds []time.Duration, p float64) time.Duration {
	slices.Sort(ds)
	return ds[int(p*float64(len(ds)-1))]
}

// BenchmarkPluginCalls measures deliveries of 1 KB through host and gRPC to a plugin
// that does nothing, without the SDK and with it, beside a bare client of the same
// process that takes turns with the host. ref is what a trial of go-plugin had on another
// machine, host and plugin on two processors there, too.
func BenchmarkPluginCalls(b *testing.B) {
	body := []byte(strings.Repeat("x", 1000))
	for _, c := range []struct {
		mode, uri, tls string
		events         int
		batch, calls   int
		ref            float64
	}{
		{"raw", "raw:all", "off", 20_000, 1, 1, 8_500},
		{"raw", "raw:all", "off", 60_000, 1, 16, 38_000},
		{"raw", "raw:all", "off", 400_000, 100, 1, 245_000},
		{"raw", "raw:all", "off", 800_000, 100, 4, 443_600},
		{"raw", "raw:all", "auto", 800_000, 100, 4, 381_500},
		{"fake", "fake://ok", "off", 200_000, 100, 4, 0},
		{"fake", "fake://ok", "auto", 200_000, 100, 4, 0},
	} {
		b.Run(fmt.Sprintf("%s/tls=%s/batch=%d/calls=%d", c.mode, c.tls, c.batch, c.calls), func(b *testing.B) {
			cfg := config(b, c.mode)
			cfg.BatchesPerDestination = c.calls
			p := cfg.Plugins["it"]
			p.TLS = c.tls
			cfg.Plugins["it"] = p
			s := start(b, cfg)
			idle := s.process(0).RSS
			l := load{to: delivery.Destination{Subscription: "s", URI: c.uri}, body: body, events: c.events, batch: c.batch, calls: c.calls}
			var took []time.Duration
			var bare, hosted time.Duration
			const turns = 10
			l.events /= turns
			b.ResetTimer()
			for range b.N * turns {
				for _, l.bare = range []bool{true, false} {
					began := time.Now()
					calls := s.pour(l)
					if l.bare {
						bare += time.Since(began)
					} else {
						hosted += time.Since(began)
						took = append(took, calls...)
					}
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(c.events)*float64(b.N)/hosted.Seconds(), "events/s")
			b.ReportMetric(float64(c.events)*float64(b.N)/bare.Seconds(), "bare-events/s")
			if c.ref > 0 {
				b.ReportMetric(c.ref, "ref-events/s")
			}
			b.ReportMetric(float64(percentile(took, 0.5).Microseconds()), "p50-µs")
			b.ReportMetric(float64(percentile(took, 0.99).Microseconds()), "p99-µs")
			b.ReportMetric(float64(idle>>20), "MiB-idle")
			b.ReportMetric(float64(s.process(0).RSS>>20), "MiB-after")
		})
	}
}

// BenchmarkPluginProcess measures how long a plugin takes to be ready, and until it
// delivers again after kill -9, without the wait before a new start and with it.
func BenchmarkPluginProcess(b *testing.B) {
	const times = 20
	report := func(b *testing.B, took []time.Duration, ref time.Duration) {
		b.ReportMetric(float64(percentile(took, 0.5).Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(percentile(took, 0.99).Microseconds())/1000, "p99-ms")
		b.ReportMetric(float64(ref.Microseconds())/1000, "ref-p50-ms")
	}
	for tls, ref := range map[string]time.Duration{"off": 5 * time.Millisecond, "auto": 20 * time.Millisecond} {
		b.Run("start/tls="+tls, func(b *testing.B) {
			var took []time.Duration
			for range b.N * times {
				cfg := config(b, "raw")
				p := cfg.Plugins["it"]
				p.TLS = tls
				cfg.Plugins["it"] = p
				began := time.Now()
				s := start(b, cfg)
				s.untilReady()
				took = append(took, time.Since(began))
				s.stop()
			}
			report(b, took, ref)
		})
	}
	for name, first := range map[string]time.Duration{"restart": time.Microsecond, "restart/with-backoff": 100 * time.Millisecond} {
		b.Run(name, func(b *testing.B) {
			cfg := config(b, "fake")
			cfg.Supervision.First, cfg.Supervision.Longest, cfg.Supervision.Crashes = first, first, 1<<30
			s := start(b, cfg)
			s.untilReady()
			var took []time.Duration
			for range b.N * times {
				pid := s.process(0).PID
				began := time.Now()
				kill(b, pid)
				for delivered := false; !delivered; {
					err := s.it.Publish(context.Background(), delivery.Destination{URI: "fake://ok"}, deliveries("d"),
						func(o delivery.Outcome) { delivered = o.Kind == delivery.Delivered })
					if err != nil && !unavailable(err) {
						b.Fatal(err)
					}
				}
				took = append(took, time.Since(began))
			}
			report(b, took, 7*time.Millisecond)
		})
	}
}

// untilReady polls more often than eventually does.
func (s *started) untilReady() {
	for s.host.Processes()[0].State != host.Ready {
		<-time.After(100 * time.Microsecond)
	}
}

// reportCPU gives the processor time of everything, receiver and plugin included,
// which a busy machine distorts less than the rate.
func reportCPU(b *testing.B, before time.Duration) {
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/delivery")
}

func cpuTime(b *testing.B) (sum time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}
