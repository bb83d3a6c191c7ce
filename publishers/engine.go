package publishers

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fresnel-search/fresnel/indexer/changelog"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/lane"
)

// Project returns the change that an audience may see of an entry; false if none.
type Project func(e *changelog.Entry, a changelog.Audience) (change.Change, bool)

// Deps are what the engine works with.
type Deps struct {
	Log     stream.Log
	Records record.Store
	Plugins Plugins
	Project Project
	// Valid reports whether this process may deliver now: asked right before each
	// hand-off to a plugin and each save; nil means always.
	Valid      func() bool
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil registers nowhere
	// Jitter yields numbers in [0, 1); nil takes chance.
	Jitter func() float64
}

// Engine delivers the changes of all subscriptions.
type Engine struct {
	config  Config
	records record.Store
	read    *reading
	log     *slog.Logger
	metrics *metrics
	jitter  func() float64
	valid   func() bool
	saver   *saver
	readers chan struct{} // turns of those who read beside the heads

	mu    sync.Mutex
	subs  []*subscription
	heads []*head // nil until the positions are loaded
}

// New checks the configuration and returns an engine that Run starts.
func New(c Config, d Deps) (*Engine, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	log := d.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	log = log.With("component", "publishers")
	e := &Engine{
		config: c, records: d.Records, log: log, jitter: d.Jitter,
		metrics: newMetrics(d.Registerer, c), readers: make(chan struct{}, maxReaders),
	}
	if e.jitter == nil {
		e.jitter = rand.Float64
	}
	if e.valid = d.Valid; e.valid == nil {
		e.valid = func() bool { return true }
	}
	e.read = &reading{log: d.Log, spoiled: e.spoiled}
	e.saver = &saver{
		records: d.Records, topic: c.Topic, log: log, metrics: e.metrics, valid: e.valid,
		urgent: make(chan struct{}, 1), idle: make(chan struct{}, 1),
	}
	var errs []error
	for i, sc := range c.Subscriptions {
		plugin := d.Plugins.Plugin(sc.Publisher)
		if plugin == nil {
			errs = append(errs, fmt.Errorf("subscriptions[%d].publisher: there is no publisher %q", i, sc.Publisher))
			continue
		}
		e.subs = append(e.subs, e.subscription(sc, plugin, d.Project))
	}
	e.saver.subs = e.subs
	e.metrics.watch(e)
	return e, errors.Join(errs...)
}

func (e *Engine) subscription(c Subscription, plugin Plugin, project Project) *subscription {
	to := delivery.Destination{Subscription: c.Name, URI: c.Destination, Options: c.Options, Secrets: c.secrets()}
	return &subscription{
		config: c, audience: newAudience(c.Filter, c.AdminFields), to: to, plugin: plugin, project: project,
		metrics: e.metrics.plugin(c.Publisher), saver: e.saver, kick: make(chan struct{}, 1),
		log:     e.log.With("subscription", c.Name, "publisher", c.Publisher),
		machine: lane.New(e.config.policy(c), lane.State{}, nil, e.jitter), times: map[int]time.Time{},
		timeout: cmp.Or(c.Retry.Timeout, e.config.Timeout),
	}
}

// Run delivers until ctx is done. Then it takes nothing more, lets the attempts in
// flight finish within the drain time, saves the cursors, unless it may not any more,
// and returns nil. A crash instead repeats at most what was in the windows. It may be
// run again, one at a time: it then begins with what is stored.
func (e *Engine) Run(ctx context.Context) error {
	e.saver.writer = uuid.NewString()
	defer e.close()
	if !e.open(ctx) {
		return nil
	}
	calls, endCalls := context.WithCancelCause(context.WithoutCancel(ctx))
	defer endCalls(nil)
	saving, stopSaving := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSaving()

	var work, saver sync.WaitGroup
	saver.Go(func() { e.saver.run(saving) })
	e.start(ctx, &work)
	for _, s := range e.subs {
		work.Go(func() { s.dispatch(ctx, calls, e) })
	}
	work.Go(func() { e.sweep(ctx) })
	<-ctx.Done()
	drain := time.AfterFunc(e.config.DrainTimeout, func() { endCalls(errors.New("drain time is over")) })
	work.Wait()
	drain.Stop()
	stopSaving()
	saver.Wait()
	e.last(context.WithoutCancel(ctx))
	return nil
}

// start starts the heads, and a reader for each subscription and partition that
// ends when it has reached its head.
func (e *Engine) start(ctx context.Context, work *sync.WaitGroup) {
	byPartition := map[int]*head{}
	behind := func(s *subscription, p stream.Partition) {
		c := &catchUp{e: e, s: s, h: byPartition[p.ID]}
		work.Go(func() { c.run(ctx) })
	}
	for _, h := range e.heads {
		h.behind = behind
		byPartition[h.partition.ID] = h
	}
	for _, h := range e.heads {
		work.Go(func() { h.run(ctx) })
		for _, s := range e.subs {
			behind(s, h.partition)
		}
	}
}

// close forgets what the next Run loads.
func (e *Engine) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heads = nil
}

// last saves everything once more before the process ends.
func (e *Engine) last(ctx context.Context) {
	if !e.valid() {
		e.log.Warn("state of subscriptions not saved: this process may not deliver any more; changes in flight will be repeated")
		return
	}
	const tries, timeout = 5, 5 * time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errors.New("saving took too long"))
	defer cancel()
	for _, s := range e.subs {
		s.rest()
	}
	for n := 1; ; n++ {
		err := e.saver.all(ctx)
		if err == nil {
			return
		}
		if n == tries || ctx.Err() != nil {
			e.log.Error("state of subscriptions not saved; changes will be repeated", "err", err)
			return
		}
		pause(ctx, retryMin)
	}
}

// open loads positions and parked deliveries, trying again until it succeeds. It
// answers false if ctx was done first.
func (e *Engine) open(ctx context.Context) bool {
	for wait := retryMin; ctx.Err() == nil; wait = min(2*wait, retryMax) {
		heads, err := e.openHeads(ctx)
		for _, s := range e.subs {
			if err == nil {
				err = e.openSubscription(ctx, s, heads)
			}
		}
		if err == nil {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.heads = heads
			return true
		}
		e.log.Warn("subscriptions not loaded", "err", err, "wait", wait)
		pause(ctx, wait)
	}
	return false
}

// openHeads makes a head for each partition; none without subscriptions, so that
// nobody reads the log for nothing.
func (e *Engine) openHeads(ctx context.Context) ([]*head, error) {
	n, err := e.read.log.Partitions(ctx, e.config.Topic)
	if err == nil && n == 0 {
		err = fmt.Errorf("topic %s has no partitions yet", e.config.Topic)
	}
	if err != nil {
		return nil, err
	}
	heads := []*head{}
	if len(e.subs) == 0 {
		return heads, nil
	}
	for id := range n {
		p := stream.Partition{Topic: e.config.Topic, ID: id}
		_, end, err := e.read.log.Bounds(ctx, p)
		if err != nil {
			return nil, err
		}
		heads = append(heads, &head{
			partition: p, read: e.read, log: e.log, next: end, recent: newRecent(), primed: make(chan struct{}),
		})
	}
	return heads, nil
}

// openSubscription loads a subscription's state, or makes it: a new name starts at
// the end of the log, and that is stored before anything is read.
func (e *Engine) openSubscription(ctx context.Context, s *subscription, heads []*head) error {
	r, err := e.records.Read(ctx, subscriptionsTable, s.config.Name)
	if err != nil {
		return fmt.Errorf("read state of subscription %s: %w", s.config.Name, err)
	}
	st := stateRecord{Created: time.Now().UTC(), Cursors: map[int]cursorRecord{}}
	if r.Version == 0 {
		for _, h := range heads {
			st.Cursors[h.partition.ID] = cursorRecord{Offset: h.next}
		}
	} else if err := json.Unmarshal(r.Value, &st); err != nil {
		return fmt.Errorf("state of subscription %s: %w", s.config.Name, err)
	}
	for _, h := range heads {
		if _, ok := st.Cursors[h.partition.ID]; !ok { // a partition that is new
			st.Cursors[h.partition.ID] = cursorRecord{}
		}
		if s.config.live() {
			st.Cursors[h.partition.ID] = cursorRecord{Offset: h.next}
		}
	}
	st.Writer, st.Removed = e.saver.writer, time.Time{}
	b, err := json.Marshal(st)
	if err != nil {
		return err
	}
	saved, err := e.records.Save(ctx, []record.Record{{Table: subscriptionsTable, Key: s.config.Name, Value: b, Version: r.Version}})
	if err == nil {
		err = saved[0].Err
	}
	if err != nil {
		return fmt.Errorf("save state of subscription %s: %w", s.config.Name, err)
	}
	machine, err := e.restore(ctx, s, st.state())
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved, s.version, s.created, s.gaps = b, saved[0].Version, st.Created, st.Gaps
	s.machine, s.fenced, s.unsaved = machine, false, nil
	return nil
}

// restore makes the machine of a subscription from its state, its parked deliveries
// and its dead letters. One that is both parked and dead is dead: the record of its
// parking was to be removed next.
func (e *Engine) restore(ctx context.Context, s *subscription, st lane.State) (*lane.Machine, error) {
	name := s.config.Name
	dead := map[string]record.DeadLetter{}
	prefix := deadID(name, "")
	err := scan(ctx, e.records, record.DeadLetters, prefix, func(r record.Record) error {
		var d record.DeadLetter
		if err := json.Unmarshal(r.Value, &d); err != nil {
			return fmt.Errorf("dead letter %s: %w", r.Key, err)
		}
		d.Value = nil
		dead[r.Key[len(prefix):]] = d
		return nil
	})
	if err != nil {
		return nil, err
	}
	var parked []lane.Parked
	err = scan(ctx, e.records, parkedTable, parkedKey(name, ""), func(r record.Record) error {
		var p parkedRecord
		if err := json.Unmarshal(r.Value, &p); err != nil {
			return fmt.Errorf("parked delivery %s: %w", r.Key, err)
		}
		if _, ok := dead[p.ID]; ok {
			r.Value = nil
			return saveOne(ctx, e.records, r)
		}
		parked = append(parked, p.parked())
		return nil
	})
	if err != nil {
		return nil, err
	}
	m := lane.New(e.config.policy(s.config), st, parked, e.jitter)
	for id, d := range dead {
		m.Bury(missOf(id, d))
	}
	return m, nil
}

// spoiled keeps a record of the change log that is no entry among the dead letters.
func (e *Engine) spoiled(ctx context.Context, rec *stream.Record, cause error) {
	e.log.Error("record of the change log cannot be read", "err", cause, "partition", rec.Partition, "offset", rec.Offset)
	d, err := deadRecord(record.DeadLetter{
		ID:   fmt.Sprintf("%s/%s/%d/%d", record.DeadDelivery, rec.Topic, rec.Partition, rec.Offset),
		Kind: record.DeadDelivery, Reason: "malformed", Detail: cause.Error(), Time: time.Now().UTC(),
		Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Key: rec.Key,
		Value: rec.Value[:min(len(rec.Value), maxDead)], Oversize: len(rec.Value) > maxDead,
	})
	for wait := retryMin; err == nil && ctx.Err() == nil; wait = min(2*wait, retryMax) {
		saving := saveOne(ctx, e.records, d)
		if saving == nil {
			return
		}
		e.log.Warn("dead letter not saved", "err", saving, "wait", wait)
		pause(ctx, wait)
	}
}
