package publishers_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/fresnel-search/fresnel/indexer/changelog"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/publishers"
	"github.com/fresnel-search/fresnel/publishers/delivery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memLog is a change log in memory.
type memLog struct {
	mu      sync.Mutex
	records [][]stream.Record
	first   []int64
	grown   chan struct{}
	reads   int
}

func newLog(partitions int) *memLog {
	return &memLog{records: make([][]stream.Record, partitions), first: make([]int64, partitions), grown: make(chan struct{})}
}

func (l *memLog) append(p int, key string, value []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	offset := l.first[p] + int64(len(l.records[p]))
	l.records[p] = append(l.records[p], stream.Record{Topic: "fresnel.changes", Partition: p, Offset: offset, Time: time.Now(), Key: []byte(key), Value: value})
	close(l.grown)
	l.grown = make(chan struct{})
}

// trim drops all before an offset.
func (l *memLog) trim(p int, first int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records[p] = l.records[p][first-l.first[p]:]
	l.first[p] = first
}

func (l *memLog) Partitions(context.Context, string) (int, error) { return len(l.records), nil }

func (l *memLog) Bounds(_ context.Context, p stream.Partition) (first, end int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first[p.ID], l.first[p.ID] + int64(len(l.records[p.ID])), nil
}

func (l *memLog) Read(ctx context.Context, p stream.Partition, offset int64, fn func(stream.Batch) error) error {
	l.mu.Lock()
	l.reads++
	l.mu.Unlock()
	for {
		l.mu.Lock()
		at, grown := offset-l.first[p.ID], l.grown
		if at < 0 || at > int64(len(l.records[p.ID])) {
			l.mu.Unlock()
			return stream.ErrOffset
		}
		rs := slices.Clone(l.records[p.ID][at:min(at+100, int64(len(l.records[p.ID])))])
		l.mu.Unlock()
		if len(rs) > 0 {
			offset += int64(len(rs))
			if err := fn(stream.Batch{Partition: p, Records: rs}); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		default:
		}
		if len(rs) == 0 {
			select {
			case <-grown:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// memStore keeps records in memory. A sloppy one fails, loses answers and fails
// single items; one that is cut off stores nothing any more.
type memStore struct {
	mu     sync.Mutex
	tables map[string]map[string]record.Record
	sloppy *rand.Rand
	cut    bool
	saves  int
}

func newStore() *memStore { return &memStore{tables: map[string]map[string]record.Record{}} }

var errStore = errors.New("store failed")

func (m *memStore) chance(percent int) bool {
	return m.cut || m.sloppy != nil && m.sloppy.IntN(100) < percent
}

func (m *memStore) Read(_ context.Context, table, key string) (record.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.chance(10) {
		return record.Record{}, errStore
	}
	return m.tables[table][key], nil
}

func (m *memStore) Save(_ context.Context, rs []record.Record) ([]record.Saved, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.saves++
	if m.chance(10) {
		return nil, errStore
	}
	out := make([]record.Saved, len(rs))
	for i, r := range rs {
		if m.chance(10) {
			out[i].Err = errStore
			continue
		}
		out[i] = m.save(r)
	}
	if m.chance(10) {
		return nil, errors.New("answer lost")
	}
	return out, nil
}

func (m *memStore) save(r record.Record) record.Saved {
	t := m.tables[r.Table]
	if t == nil {
		t = map[string]record.Record{}
		m.tables[r.Table] = t
	}
	was := t[r.Key].Version
	if r.Version != record.Any && r.Version != was {
		return record.Saved{Err: record.ErrConflict}
	}
	if r.Value == nil {
		delete(t, r.Key)
		return record.Saved{}
	}
	r.Version = was + 1
	t[r.Key] = r
	return record.Saved{Version: r.Version}
}

func (m *memStore) Scan(_ context.Context, table, after string, n int) (rs []record.Record, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.chance(10) {
		return nil, errStore
	}
	for _, r := range m.tables[table] {
		if r.Key > after {
			rs = append(rs, r)
		}
	}
	slices.SortFunc(rs, func(a, b record.Record) int { return strings.Compare(a.Key, b.Key) })
	return rs[:min(n, len(rs))], nil
}

// table returns the keys of a table.
func (m *memStore) table(name string) (keys []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k := range m.tables[name] {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// receiver is a plugin and all destinations behind it: it notes what it was given.
type receiver struct {
	mu     sync.Mutex
	got    map[string][]delivery.Delivery             // by subscription
	answer func(d delivery.Delivery) delivery.Outcome // nil delivers everything
	err    error                                      // of Publish, with no attempt made
	delay  map[string]time.Duration                   // by subscription
	down   map[string]delivery.Outcome                // of all attempts, by subscription
}

func (r *receiver) Plugin(string) publishers.Plugin { return r }

func (r *receiver) Publish(ctx context.Context, to delivery.Destination, ds []delivery.Delivery, ack func(delivery.Outcome)) error {
	r.mu.Lock()
	delay, err := r.delay[to.Subscription], r.err
	r.mu.Unlock()
	if err != nil {
		return err
	}
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for _, d := range ds {
		r.mu.Lock()
		o := delivery.Outcome{Kind: delivery.Delivered}
		if down, ok := r.down[to.Subscription]; ok {
			o = down
		} else if r.answer != nil {
			o = r.answer(d)
		}
		if r.got == nil {
			r.got = map[string][]delivery.Delivery{}
		}
		r.got[to.Subscription] = append(r.got[to.Subscription], d)
		r.mu.Unlock()
		if o.ID = d.ID; o.Kind != delivery.Unknown {
			ack(o)
		}
	}
	return nil
}

// set changes how the receiver answers.
func (r *receiver) set(answer func(delivery.Delivery) delivery.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// fail makes no attempts any more, but says why; nil makes them again.
func (r *receiver) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// slow changes how long attempts for a subscription take.
func (r *receiver) slow(subscription string, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay[subscription] = d
}

// forget forgets what the receiver was given.
func (r *receiver) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = nil
}

// ids are what a subscription's destination was given, in order.
func (r *receiver) ids(subscription string) (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range r.got[subscription] {
		ids = append(ids, d.ID)
	}
	return ids
}

// project is a projection that shows everything to all, and the owner's to projects.
func project(e *changelog.Entry, a changelog.Audience) (change.Change, bool) {
	if !a.All && !slices.Contains(a.Principals, resource.Project(e.Owner)) {
		return change.Change{}, false
	}
	return change.Change{
		ID: e.ID, Action: e.Action, Resource: change.Resource{Type: e.Ref.Type, ID: e.Ref.ID},
		Revision: e.Revision, Lineage: e.Lineage, Time: e.Time, Project: e.Owner, Cause: e.Cause,
	}, true
}

// cloud is everything around an engine.
type cloud struct {
	t       *testing.T
	log     *memLog
	store   *memStore
	to      *receiver
	config  publishers.Config
	counts  map[string]int64 // revisions
	engine  *publishers.Engine
	stopped chan error
	cancel  context.CancelFunc
}

func newCloud(t *testing.T, subscriptions ...publishers.Subscription) *cloud {
	t.Helper()
	c := &cloud{t: t, log: newLog(2), store: newStore(), to: &receiver{delay: map[string]time.Duration{}}, config: publishers.DefaultConfig(), counts: map[string]int64{}}
	for _, s := range subscriptions {
		s.Publisher, s.Destination = "fake", "http://receiver/"
		c.config.Subscriptions = append(c.config.Subscriptions, s)
	}
	return c
}

func (c *cloud) start() {
	c.t.Helper()
	stopped := make(chan error, 1)
	e, err := publishers.New(c.config, publishers.Deps{
		Log: c.log, Records: c.store, Plugins: c.to, Project: project, Jitter: func() float64 { return 0.5 },
	})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.engine, c.cancel, c.stopped = e, cancel, stopped
	go func() { stopped <- e.Run(ctx) }()
	synctest.Wait()
}

func (c *cloud) stop() {
	c.t.Helper()
	c.cancel()
	if err := <-c.stopped; err != nil {
		c.t.Errorf("Run() = %v", err)
	}
}

// change appends the next change of a server and returns its id.
func (c *cloud) change(server string) string {
	c.counts[server]++
	return c.put(server, c.counts[server])
}

// put appends a revision of a server.
func (c *cloud) put(server string, revision int64) string {
	e := changelog.Entry{
		ID: fmt.Sprintf("%s@%d", server, revision), Ref: resource.Ref{Type: "OS::Nova::Server", ID: server},
		Action: change.Updated, Lineage: "1", Revision: revision, TenantRevision: revision, TenantVisible: true,
		Time: time.Unix(revision, 0).UTC(), Owner: "p-" + server[:1], Cause: change.Cause{Kind: change.ByNotification},
	}
	c.log.append(int(server[0])%2, e.Ref.Key(), changelog.Encode(&e))
	return e.ID
}

func (c *cloud) wantIDs(subscription string, want ...string) {
	c.t.Helper()
	synctest.Wait()
	if got := c.to.ids(subscription); !slices.Equal(got, want) {
		c.t.Errorf("%s got %v, want %v", subscription, got, want)
	}
}

func (c *cloud) status(name string) publishers.SubscriptionStatus {
	c.t.Helper()
	for _, s := range c.engine.Status() {
		if s.Name == name {
			return s
		}
	}
	c.t.Fatalf("no status of %s", name)
	return publishers.SubscriptionStatus{}
}

// restored is the state that the store keeps of parked deliveries.
func (c *cloud) parked() int { return len(c.store.table("parked_deliveries")) }

// pass lets time go by on the fake clock of synctest, and everybody else do what
// they do meanwhile.
func pass(d time.Duration) {
	time.Sleep(d) // sleep: costs no time
	synctest.Wait()
}
