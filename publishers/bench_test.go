package publishers_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/publishers"
	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/filter"
)

// sink delivers everything at once and says when it has so many.
type sink struct {
	mu   sync.Mutex
	left int
	done chan struct{}
}

func (s *sink) Plugin(string) publishers.Plugin { return s }

func (s *sink) Publish(_ context.Context, _ delivery.Destination, ds []delivery.Delivery, ack func(delivery.Outcome)) error {
	for _, d := range ds {
		ack(delivery.Outcome{ID: d.ID, Kind: delivery.Delivered})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left -= len(ds); s.left == 0 {
		close(s.done)
	}
	return nil
}

// BenchmarkEngine measures what the engine costs per change, to one subscription.
func BenchmarkEngine(b *testing.B) {
	c := &cloud{log: newLog(2), store: newStore(), config: publishers.DefaultConfig(), counts: map[string]int64{}}
	c.config.Subscriptions = []publishers.Subscription{{Name: "all", Publisher: "sink", Destination: "http://sink/"}}
	to := &sink{left: b.N, done: make(chan struct{})}
	e, err := publishers.New(c.config, publishers.Deps{Log: c.log, Records: c.store, Plugins: to, Project: project})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := e.Run(ctx); err != nil {
			b.Error(err)
		}
	})
	for e.Ready() != nil {
		select {
		case <-ctx.Done():
		default:
		}
	}
	b.ReportAllocs()
	for i := range b.N {
		c.change(string(rune('a'+i%26)) + string(rune('a'+i/26%26)))
	}
	<-to.done
	cancel()
	running.Wait()
}

// BenchmarkCriticalWhileAHundredThousandWait measures how long a critical change takes
// through a subscription of its own, while 100,000 others wait in one that is slow.
func BenchmarkCriticalWhileAHundredThousandWait(b *testing.B) {
	const pending = 100_000
	to := &receiver{delay: map[string]time.Duration{"all": 100 * time.Millisecond}}
	c := &cloud{log: newLog(2), store: newStore(), config: publishers.DefaultConfig(), counts: map[string]int64{}}
	c.config.Subscriptions = []publishers.Subscription{
		{Name: "all", Publisher: "fake", Destination: "http://receiver/"},
		{Name: "alarms", Publisher: "fake", Destination: "http://receiver/", Filter: filter.Filter{MinPriority: "critical"}},
	}
	e, err := publishers.New(c.config, publishers.Deps{Log: c.log, Records: c.store, Plugins: to, Project: project})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := e.Run(ctx); err != nil {
			b.Error(err)
		}
	})
	await := func(ready func() bool) {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for !ready() {
			<-tick.C
		}
	}
	await(func() bool { return e.Ready() == nil })
	for i := range pending {
		c.say("a"+strconv.Itoa(i), "INFO")
	}
	b.ResetTimer()
	for i := range b.N {
		c.say("b", "CRITICAL")
		await(func() bool { return len(to.ids("alarms")) > i })
	}
	b.StopTimer()
	b.ReportMetric(float64(pending-len(to.ids("all"))), "waiting")
	cancel()
	running.Wait()
}
