package publishers_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/publishers"
	"github.com/fresnel-search/fresnel/publishers/delivery"
)

// replica is one of several processes that share a change log and a store.
type replica struct {
	lease  *record.Lease
	engine *publishers.Engine
	stop   context.CancelFunc
	ended  chan error
}

// gate is a process's way to the store; a paused process gets no answers.
type gate struct {
	*memStore
	paused atomic.Pointer[chan struct{}]
}

func (g *gate) wait() {
	if c := g.paused.Load(); c != nil {
		<-*c
	}
}

func (g *gate) Read(ctx context.Context, table, key string) (record.Record, error) {
	g.wait()
	return g.memStore.Read(ctx, table, key)
}

func (g *gate) Save(ctx context.Context, rs []record.Record) ([]record.Saved, error) {
	g.wait()
	return g.memStore.Save(ctx, rs)
}

func (c *cloud) replica(owner string, store record.Store, to *receiver) *replica {
	c.t.Helper()
	r := &replica{lease: record.NewLease(store, "publishers", owner), ended: make(chan error, 1)}
	e, err := publishers.New(c.config, publishers.Deps{
		Log: c.log, Records: store, Plugins: to, Project: project, Jitter: func() float64 { return 0.5 }, Valid: r.lease.Valid,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.engine, r.stop = e, cancel
	go func() { r.ended <- r.lease.Run(ctx, nil, e.Run) }()
	synctest.Wait()
	return r
}

func (r *replica) end(t *testing.T) {
	t.Helper()
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("Run() = %v", err)
	}
}

func TestSecondReplicaWaitsAndTakesOverWhereTheFirstStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, publishers.Subscription{Name: "all"})
		toA, toB := &receiver{}, &receiver{}
		a := c.replica("a", c.store, toA)
		b := c.replica("b", c.store, toB)
		var want []string
		for range 5 {
			want = append(want, c.change("a1"))
		}
		pass(time.Second)
		if got := toB.ids("all"); len(got) > 0 || b.engine.Ready() == nil {
			t.Errorf("the second delivers %v, ready %v, while it has to wait", got, b.engine.Ready())
		}
		a.end(t)
		want = append(want, c.change("a1"))
		pass(time.Second)
		if got := slices.Concat(toA.ids("all"), toB.ids("all")); !slices.Equal(got, want) {
			t.Errorf("delivered are %v, want %v, each once", got, want)
		}
		if err := b.engine.Ready(); err != nil {
			t.Errorf("the second is not ready: %v", err)
		}
		b.end(t)
	})
}

// A process that is paused for longer than the lease and then wakes up must neither
// send what another has taken over nor move a cursor back.
func TestPausedReplicaSendsNoMoreThanWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, publishers.Subscription{Name: "all"})
		toA, toB := &receiver{delay: map[string]time.Duration{}}, &receiver{}
		mine := &gate{memStore: c.store}
		a := c.replica("a", mine, toA)
		b := c.replica("b", c.store, toB)
		first := c.change("a1")
		pass(time.Second)
		// The pause: a gets no answer from the store, and its plugin is slow, so that
		// something is in flight.
		toA.slow("all", 30*time.Second)
		flying := c.change("a1")
		synctest.Wait()
		awake := make(chan struct{})
		mine.paused.Store(&awake)
		later := []string{c.change("a1"), c.change("a1")}
		pass(25 * time.Second)
		if a.lease.Valid() || !b.lease.Valid() {
			t.Fatalf("after the pause a's lease is valid %v, b's %v", a.lease.Valid(), b.lease.Valid())
		}
		want := append([]string{flying}, later...)
		if got := toB.ids("all"); !slices.Equal(got, want) {
			t.Errorf("b delivered %v, want %v", got, want)
		}
		mine.paused.Store(nil)
		close(awake)
		more := c.change("a1")
		pass(time.Minute)
		if got := toA.ids("all"); len(got) > 2 || got[0] != first {
			t.Errorf("a delivered %v: more than what was in flight", got)
		}
		if got := toB.ids("all"); !slices.Equal(got, append(want, more)) {
			t.Errorf("b delivered %v, want %v", got, append(want, more))
		}
		// And back: a takes over again what b gives back, from where b was.
		toA.slow("all", 0)
		toA.forget()
		b.end(t)
		last := c.change("a1")
		pass(time.Second)
		if got := toA.ids("all"); !slices.Equal(got, []string{last}) {
			t.Errorf("a delivered %v after b, want %v", got, last)
		}
		a.end(t)
	})
}

// The store may answer when the lease is gone already: what was loaded then is not
// handed to the plugin any more.
func TestReplicaAsksForItsLeaseBeforeEachHandOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, publishers.Subscription{Name: "all"})
		toA := &receiver{answer: func(d delivery.Delivery) delivery.Outcome {
			return delivery.Outcome{Kind: delivery.Retry, Code: "busy"}
		}}
		mine := &gate{memStore: c.store}
		a := c.replica("a", mine, toA)
		id := c.change("a1")
		pass(time.Second)
		a.end(t) // what is parked is now in the store alone
		c.wantParked(1)
		a = c.replica("a", mine, toA)
		pass(3 * time.Second)
		awake := make(chan struct{})
		mine.paused.Store(&awake)
		pass(2 * time.Second) // the next attempt is due: its bytes are asked for
		// Another one takes over: else a renewal whose answer comes late would keep the lease.
		for b := record.NewLease(c.store, "publishers", "b"); !b.Valid(); pass(100 * time.Millisecond) {
			if _, err := b.Acquire(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		mine.paused.Store(nil)
		close(awake)
		synctest.Wait()
		if got := toA.ids("all"); !slices.Equal(got, []string{id}) {
			t.Errorf("handed over are %v, want %v once: there is no lease", got, id)
		}
		a.end(t)
	})
}

func (c *cloud) wantParked(n int) {
	c.t.Helper()
	if got := c.parked(); got != n {
		c.t.Errorf("%d deliveries are parked, want %d", got, n)
	}
}
