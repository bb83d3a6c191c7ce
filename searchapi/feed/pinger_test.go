package feed_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/searchapi/feed"
)

// hubs are what a pinger pings: each ping takes a while and comes to what answer says.
type hubs struct {
	mu      sync.Mutex
	start   time.Time
	takes   time.Duration
	answer  func(n int) delivery.Outcome
	pings   []pinged
	open    map[string]int
	overlap bool
}

type pinged struct {
	at      time.Duration
	hub     string
	project string
}

func (h *hubs) Publish(ctx context.Context, to delivery.Destination, ds []delivery.Delivery, ack func(delivery.Outcome)) error {
	topic := string(to.Secrets["topic"])
	h.mu.Lock()
	if h.open[to.URI+topic]++; h.open[to.URI+topic] > 1 {
		h.overlap = true
	}
	h.pings = append(h.pings, pinged{time.Since(h.start), to.URI, strings.Split(topic, "/")[5]})
	o := delivery.Outcome{Kind: delivery.Delivered}
	if h.answer != nil {
		o = h.answer(len(h.pings))
	}
	h.mu.Unlock()
	select {
	case <-time.After(h.takes):
	case <-ctx.Done():
	}
	h.mu.Lock()
	h.open[to.URI+topic]--
	h.mu.Unlock()
	o.ID = ds[0].ID
	ack(o)
	return nil
}

// memory keeps records in memory: a database would not run in a bubble.
type memory struct {
	mu sync.Mutex
	m  map[string]record.Record
}

func (m *memory) Read(_ context.Context, table, key string) (record.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.m[table+key], nil
}

func (m *memory) Save(_ context.Context, rs []record.Record) ([]record.Saved, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range rs {
		r.Version = 1
		m.m[r.Table+r.Key] = r
	}
	return make([]record.Saved, len(rs)), nil
}

func (m *memory) Scan(_ context.Context, table, _ string, _ int) (out []record.Record, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.m {
		if r.Table == table {
			out = append(out, r)
		}
	}
	return out, nil
}

// ping runs a pinger in a bubble of time and has do tell it what has changed.
func ping(t *testing.T, c feed.Config, h *hubs, do func(*feed.Pinger)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		feeds := feed.New(c, "https://search.example.net", &memory{m: map[string]record.Record{}}, nil)
		h.start, h.open = time.Now(), map[string]int{}
		p := feed.NewPinger(feeds, feed.PingDeps{Publisher: h})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); p.Run(ctx) }()
		synctest.Wait()
		do(p)
		cancel()
		<-done
	})
}

func of(projects ...string) (who []resource.Principal) {
	for _, p := range projects {
		who = append(who, resource.Project(p))
	}
	return who
}

func TestHubHearsOfAChangeWithinASecond(t *testing.T) {
	t.Parallel()
	h := &hubs{takes: 50 * time.Millisecond}
	c := open(feed.Full, map[string]feed.View{"closed": feed.None})
	c.Hubs = append(c.Hubs, "http://other.example.net/hub")
	ping(t, c, h, func(p *feed.Pinger) {
		p.Changed(of("a", "closed"))
		p.Changed([]resource.Principal{resource.User("u")})
		time.Sleep(time.Second)
	})
	got := map[pinged]int{}
	for _, one := range h.pings {
		if one.at > time.Second {
			t.Errorf("pinged after %s", one.at)
		}
		one.at = 0
		got[one]++
	}
	want := map[pinged]int{{0, "websub+https://hub.example.net/", "a"}: 1, {0, "websub+http://other.example.net/hub", "a"}: 1}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(pinged{})); diff != "" {
		t.Error(diff)
	}
}

func TestManyChangesMakeFewPingsAndTheLastIsToldToo(t *testing.T) {
	t.Parallel()
	h := &hubs{takes: 50 * time.Millisecond}
	var last time.Duration
	ping(t, open(feed.Full, nil), h, func(p *feed.Pinger) {
		for range 500 {
			p.Changed(of("a"))
			last = time.Since(h.start)
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
	})
	if n := len(h.pings); n < 5 || n > 20 || h.overlap {
		t.Errorf("%d pings in 5 s, two at once: %v", n, h.overlap)
	}
	if end := h.pings[len(h.pings)-1].at; end <= last || end > last+time.Second {
		t.Errorf("the last change was at %s, the last ping at %s", last, end)
	}
}

func TestChangeDuringAnOpenPingIsToldAfterIt(t *testing.T) {
	t.Parallel()
	h := &hubs{takes: 3 * time.Second}
	ping(t, open(feed.Full, nil), h, func(p *feed.Pinger) {
		p.Changed(of("a"))
		time.Sleep(time.Second)
		p.Changed(of("a", "b"))
		time.Sleep(10 * time.Second)
	})
	if len(h.pings) != 3 || h.overlap || h.pings[1].project != "b" || h.pings[1].at > 1200*time.Millisecond {
		t.Errorf("pings = %v", h.pings)
	}
}

func TestHubThatFailsIsTriedAgainAndOneThatRefusesIsNot(t *testing.T) {
	t.Parallel()
	h := &hubs{answer: func(n int) delivery.Outcome {
		switch n {
		case 1, 2, 3:
			return delivery.Outcome{Kind: delivery.Retry, Code: "http_503"}
		case 4:
			return delivery.Outcome{Kind: delivery.Retry, Code: "http_503", After: time.Minute}
		case 6:
			return delivery.Outcome{Kind: delivery.Rejected, Code: "http_400"}
		}
		return delivery.Outcome{Kind: delivery.Delivered}
	}}
	ping(t, open(feed.Full, nil), h, func(p *feed.Pinger) {
		p.Changed(of("a"))
		time.Sleep(time.Hour)
		p.Changed(of("a")) // refused
		time.Sleep(time.Hour)
		p.Changed(of("a"))
		time.Sleep(time.Minute)
	})
	var at []int
	for _, p := range h.pings {
		at = append(at, int(p.at.Seconds()))
	}
	if diff := cmp.Diff([]int{0, 1, 3, 7, 67, 3600, 7200}, at); diff != "" {
		t.Error(diff)
	}
}

func TestPublicChangeIsOneOfEachFeedThatHubsKnow(t *testing.T) {
	t.Parallel()
	h := &hubs{}
	ping(t, open(feed.Thin, map[string]feed.View{"named": feed.Full, "closed": feed.None}), h, func(p *feed.Pinger) {
		p.Changed(of("a", "b", "closed"))
		time.Sleep(10 * time.Second)
		h.mu.Lock()
		h.pings = nil
		h.mu.Unlock()
		p.Changed([]resource.Principal{resource.Everyone})
		time.Sleep(time.Second)
	})
	got := map[string]int{}
	for _, p := range h.pings {
		got[p.project]++
	}
	if diff := cmp.Diff(map[string]int{"a": 1, "b": 1, "named": 1}, got); diff != "" {
		t.Error(diff)
	}
}
