package host_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

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
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cfg := host.DefaultConfig()
	cfg.Outbound.Allow = []string{"127.0.0.0/8"}
	cfg.Plugins = map[string]host.PluginConfig{"it": {
		Path: self, Args: []string{"-test.run=^$"}, Env: map[string]string{modeKey: "webhook"},
	}}
	h, err := host.New(cfg, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- h.Run(ctx) }()
	it := h.Plugin("it")
	for len(h.Processes()) == 0 || h.Processes()[0].State != host.Ready {
		<-time.After(time.Millisecond)
	}
	to := delivery.Destination{
		Subscription: "nfv", URI: url, Secrets: map[string][]byte{"secret": []byte("whsec_bXktdGVzdC1zZWNyZXQtMTIzNDU2Nzg5MA==")},
	}
	const perCall = 100
	before := cpuTime(b)
	work := make(chan []delivery.Delivery)
	var all sync.WaitGroup
	for range calls {
		all.Go(func() {
			for ds := range work {
				err := it.Publish(ctx, to, ds, func(o delivery.Outcome) {
					if o.Kind != delivery.Delivered {
						b.Errorf("outcome %+v", o)
					}
				})
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	b.ResetTimer()
	var ds []delivery.Delivery
	for i := range b.N {
		ds = append(ds, delivery.Delivery{ID: fmt.Sprint(i), Attempt: 1, Event: delivery.Event{
			ID: fmt.Sprint(i), Type: "org.fresnel.resource.updated", Source: "/fresnel", ContentType: "application/json", Data: body,
		}})
		if len(ds) == perCall || i == b.N-1 {
			work <- ds
			ds = nil
		}
	}
	close(work)
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
	b.ReportMetric(float64(h.Processes()[0].RSS>>20), "MiB-plugin")
	cancel()
	if err := <-ran; err != nil {
		b.Error(err)
	}
	reportCPU(b, before)
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
