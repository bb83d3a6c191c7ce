package feed

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/publishers/delivery"
)

const (
	// debounce is how long a ping waits for more changes of the same feed, and spacing
	// the least time between two pings of one feed. Both are below the second within
	// which a hub hears of a change.
	debounce, spacing = 100 * time.Millisecond, 300 * time.Millisecond
	// hubPings is how many pings of one hub are open at once: some hubs answer only
	// after they have read the feed.
	hubPings = 8
	// backoffMin and backoffMax are the shortest and longest wait for another attempt.
	backoffMin, backoffMax = time.Second, 5 * time.Minute
	// destinationScheme makes the URL of a hub a destination.
	destinationScheme = "websub+"
)

// Publisher makes attempts at deliveries; see publishers.Plugin.
type Publisher interface {
	Publish(ctx context.Context, to delivery.Destination, ds []delivery.Delivery, ack func(delivery.Outcome)) error
}

// PingDeps are what a Pinger works with.
type PingDeps struct {
	Publisher  Publisher
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil registers nowhere
}

// Pinger tells hubs of feeds that have changed: each hub of each feed at most once at a
// time, again and again until the hub has accepted. What it has still to tell is in
// memory; so Run begins with telling hubs of all feeds that they may know.
type Pinger struct {
	feeds   *Feeds
	to      Publisher
	log     *slog.Logger
	metrics *pingMetrics
	wake    chan struct{}

	mu       sync.Mutex
	all      bool      // all feeds that hubs may know have changed
	spreadAt time.Time // when that was last made a change of each feed
	pending  map[ping]*pending
	open     map[string]int // pings under way, by hub
}

// ping is what a hub is to be told.
type ping struct{ hub, project string }

// pending is a ping that is due, under way, or both.
type pending struct {
	due    time.Time
	dirty  bool // the hub is to be told
	open   bool // an attempt is under way
	fails  int
	opened time.Time
}

// NewPinger returns a pinger of the hubs of the feeds.
func NewPinger(f *Feeds, d PingDeps) *Pinger {
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	return &Pinger{
		feeds: f, to: d.Publisher, log: d.Logger, metrics: newPingMetrics(d.Registerer), wake: make(chan struct{}, 1),
		pending: map[ping]*pending{}, open: map[string]int{}, all: true,
	}
}

// Changed says that feeds can be read that have changed. It never waits.
func (p *Pinger) Changed(readers []resource.Principal) {
	p.mu.Lock()
	for _, who := range readers {
		if project, is := projectOf(who); is {
			p.changed(project)
		} else if who == resource.Everyone {
			p.all = true
		}
	}
	p.mu.Unlock()
	p.rouse()
}

// changed notes that a feed has changed. mu is held.
func (p *Pinger) changed(project string) {
	if len(project) > maxProject {
		return
	}
	for _, hub := range p.feeds.Hubs(project) {
		d := p.pending[ping{hub, project}]
		if d == nil {
			d = &pending{}
			p.pending[ping{hub, project}] = d
		}
		if soon := time.Now().Add(debounce); !d.dirty && soon.After(d.due) {
			d.due = soon
		}
		d.dirty = true
	}
}

func (p *Pinger) rouse() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run pings until ctx is done, and waits for the attempts that are then under way.
func (p *Pinger) Run(ctx context.Context) {
	var attempts sync.WaitGroup
	defer attempts.Wait()
	p.mu.Lock()
	p.all = true
	p.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-timer.C:
		}
		if err := p.spread(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn("topics of feeds not read", "err", err)
		}
		due, next := p.take(time.Now())
		for _, d := range due {
			attempts.Go(func() { p.attempt(ctx, d) })
		}
		timer.Reset(next)
	}
}

// spread makes a change that everybody sees one of each feed that hubs may know.
func (p *Pinger) spread(ctx context.Context) error {
	p.mu.Lock()
	all := p.all && time.Since(p.spreadAt) >= spacing
	if all {
		p.all, p.spreadAt = false, time.Now()
	}
	p.mu.Unlock()
	if !all {
		return nil
	}
	var projects []string
	err := p.feeds.topics.each(ctx, func(t topic) { projects = append(projects, t.Project) })
	p.mu.Lock()
	defer p.mu.Unlock()
	for project := range p.feeds.config.HubFeeds.Projects {
		projects = append(projects, project)
	}
	for _, project := range projects {
		p.changed(project)
	}
	p.all = p.all || err != nil
	return err
}

// take returns the pings to be made now, marked as open, and how long until there may
// be more.
func (p *Pinger) take(now time.Time) (due []ping, next time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if next = time.Minute; p.all {
		next = max(spacing-now.Sub(p.spreadAt), 0)
	}
	waiting := 0
	for what, d := range p.pending {
		if d.dirty || d.open {
			waiting++
		}
		switch wait := d.due.Sub(now); {
		case d.open || d.dirty && p.open[what.hub] >= hubPings: // looked at again when one ends
		case wait > 0:
			next = min(next, wait)
		case !d.dirty:
			delete(p.pending, what)
		default:
			d.dirty, d.open, d.opened = false, true, now
			p.open[what.hub]++
			due = append(due, what)
		}
	}
	p.metrics.waiting.Set(float64(waiting))
	return due, next
}

// attempt makes one attempt, and notes when the next one is due, if there is to be one.
func (p *Pinger) attempt(ctx context.Context, what ping) {
	o := p.publish(ctx, what)
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.rouse()
	d := p.pending[what]
	d.open = false
	p.open[what.hub]--
	log := p.log.With("hub", host(what.hub), "project", what.project)
	switch {
	case ctx.Err() != nil:
		return
	case o.Kind == delivery.Delivered:
		p.metrics.pings.WithLabelValues("delivered").Inc()
		d.fails, d.due = 0, d.opened.Add(spacing)
	case o.Kind == delivery.Rejected:
		p.metrics.pings.WithLabelValues("rejected").Inc()
		log.Warn("hub refuses to hear of a feed", "code", o.Code, "detail", o.Message)
		d.fails, d.due = 0, time.Now().Add(backoffMin)
	default:
		p.metrics.pings.WithLabelValues("retry").Inc()
		wait := min(max(o.After, backoffMin<<min(d.fails, 10)), backoffMax)
		if d.fails++; d.fails == 1 {
			log.Warn("hub not told of a change", "code", o.Code, "detail", o.Message, "wait", wait)
		}
		d.dirty, d.due = true, time.Now().Add(wait)
	}
}

// publish tells a hub of a feed, once.
func (p *Pinger) publish(ctx context.Context, what ping) delivery.Outcome {
	out := delivery.Outcome{Kind: delivery.Unknown, Code: "no_answer"}
	topic, err := p.feeds.topics.URL(ctx, what.project)
	if err != nil {
		return delivery.Outcome{Kind: delivery.Retry, Code: "topic", Message: err.Error()}
	}
	to := delivery.Destination{
		Subscription: "hub " + host(what.hub), URI: destinationScheme + what.hub, Secrets: map[string][]byte{"topic": []byte(topic)},
	}
	d := delivery.Delivery{ID: rand.Text(), Attempt: 1, Event: delivery.Event{
		ID: rand.Text(), Type: "org.fresnel.feed.changed", Source: "/fresnel", Subject: "feed", Time: time.Now(),
		ContentType: "application/json", Data: []byte("{}"),
	}}
	if err := p.to.Publish(ctx, to, []delivery.Delivery{d}, func(o delivery.Outcome) { out = o }); err != nil && out.Message == "" {
		out.Message = err.Error()
		if errors.Is(err, delivery.ErrUnavailable) {
			out.Code = "publisher_unavailable"
		}
	}
	return out
}

// host is what logs say of a hub: its URL may hold more than it should.
func host(hub string) string {
	u, err := url.Parse(hub)
	if err != nil {
		return fmt.Sprintf("of %d bytes", len(hub))
	}
	return u.Host
}
