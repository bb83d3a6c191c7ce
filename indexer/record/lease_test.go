package record_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fresnel-search/fresnel/indexer/record"
)

// shelf is a record store in memory that can fall silent, fail or lose its answers.
type shelf struct {
	mu   sync.Mutex
	rs   map[string]record.Record
	fail error
	lose bool // it stores, and answers with fail
	hang bool // it answers when the caller gives up
}

func newShelf() *shelf { return &shelf{rs: map[string]record.Record{}} }

func (s *shelf) set(change func(*shelf)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *shelf) state(ctx context.Context) (lose bool, fail error) {
	s.mu.Lock()
	hang := s.hang
	s.mu.Unlock()
	if hang {
		<-ctx.Done()
		return false, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lose, s.fail
}

func (s *shelf) Read(ctx context.Context, table, key string) (record.Record, error) {
	if _, fail := s.state(ctx); fail != nil {
		return record.Record{}, fail
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rs[table+" "+key]
	r.Table, r.Key = table, key
	return r, nil
}

func (s *shelf) Save(ctx context.Context, rs []record.Record) ([]record.Saved, error) {
	lose, fail := s.state(ctx)
	if fail != nil && !lose {
		return nil, fail
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := rs[0]
	was := s.rs[r.Table+" "+r.Key].Version
	if r.Version != was {
		return []record.Saved{{Err: record.ErrConflict}}, nil
	}
	r.Version = was + 1
	s.rs[r.Table+" "+r.Key] = r
	return []record.Saved{{Version: r.Version}}, fail
}

func (s *shelf) Scan(context.Context, string, string, int) ([]record.Record, error) {
	return nil, errors.New("nobody scans")
}

// worker is a process that wants a lease.
type worker struct {
	lease  *record.Lease
	stop   context.CancelFunc
	ended  chan error
	mu     sync.Mutex
	works  int
	causes []error
}

func start(s record.Store, owner string) *worker {
	ctx, stop := context.WithCancel(context.Background())
	w := &worker{lease: record.NewLease(s, "work", owner), stop: stop, ended: make(chan error, 1)}
	go func() { w.ended <- w.lease.Run(ctx, nil, w.work) }()
	synctest.Wait()
	return w
}

func (w *worker) work(ctx context.Context) error {
	w.mu.Lock()
	w.works++
	w.mu.Unlock()
	<-ctx.Done()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.works--
	w.causes = append(w.causes, context.Cause(ctx))
	return nil
}

func (w *worker) working() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.works > 0
}

func (w *worker) end(t *testing.T) {
	t.Helper()
	w.stop()
	if err := <-w.ended; err != nil {
		t.Errorf("Run() = %v", err)
	}
}

// pass lets time go by on the fake clock, and everybody do what they do meanwhile.
func pass(d time.Duration) {
	time.Sleep(d) // sleep: costs no time
	synctest.Wait()
}

func TestLeaseIsHeldByOneAndGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		a := start(s, "a")
		b := start(s, "b")
		pass(time.Minute)
		if !a.working() || !a.lease.Valid() || b.working() || b.lease.Valid() {
			t.Fatalf("a works %v, b works %v: want a alone", a.working(), b.working())
		}
		if got := b.lease.Holder(); got != "a" {
			t.Errorf("b thinks that %q holds the lease", got)
		}
		a.end(t)
		pass(time.Second)
		if !b.working() || !b.lease.Valid() {
			t.Error("given back, the lease is not taken within a second")
		}
		b.end(t)
	})
}

// A process that died renews nothing.
func TestLeaseOfADeadOwnerIsTakenAfterItsTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead, s := newShelf(), newShelf()
		a := start(dead, "a")
		// all that a leaves behind; what it writes from now on goes nowhere
		maps.Copy(s.rs, dead.rs)
		b := start(s, "b")
		pass(record.LeaseLength - time.Second)
		if b.working() {
			t.Error("taken before its term was over")
		}
		pass(2 * time.Second)
		if !b.working() {
			t.Error("not taken after its term")
		}
		b.end(t)
		a.end(t)
	})
}

// A store that does not answer is no reason to go on: somebody else may reach it.
func TestOwnerWithoutItsStoreStopsBeforeAnybodyElseStarts(t *testing.T) {
	for name, cut := range map[string]func(*shelf){
		"it fails":           func(s *shelf) { s.fail = errors.New("down") },
		"it does not answer": func(s *shelf) { s.hang = true },
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newShelf()
			mine := &line{shelf: s}
			a := start(mine, "a")
			b := start(s, "b")
			pass(5 * time.Second)
			mine.cut(cut)
			for b.lease.Holder() != "b" {
				if a.lease.Valid() && b.lease.Valid() {
					t.Fatalf("%s: two hold the lease", name)
				}
				pass(10 * time.Millisecond)
			}
			if a.working() {
				t.Errorf("%s: a still works when b has the lease", name)
			}
			if len(a.causes) != 1 || !errors.Is(a.causes[0], record.ErrLeaseLost) {
				t.Errorf("%s: work ended by %v", name, a.causes)
			}
			mine.cut(func(s *shelf) { s.fail, s.hang = nil, false })
			pass(time.Minute)
			if a.working() || !b.working() {
				t.Errorf("%s: a works %v, b works %v after the store is back", name, a.working(), b.working())
			}
			b.end(t)
			pass(time.Second)
			if !a.working() {
				t.Errorf("%s: a does not take what b gave back", name)
			}
			a.end(t)
		})
	}
}

// line is one process's way to the shelf, with faults of its own.
type line struct {
	*shelf
	fault shelf
}

func (l *line) cut(change func(*shelf)) { l.fault.set(change) }

func (l *line) Read(ctx context.Context, table, key string) (record.Record, error) {
	if _, err := l.fault.state(ctx); err != nil {
		return record.Record{}, err
	}
	return l.shelf.Read(ctx, table, key)
}

func (l *line) Save(ctx context.Context, rs []record.Record) ([]record.Saved, error) {
	if _, err := l.fault.state(ctx); err != nil {
		return nil, err
	}
	return l.shelf.Save(ctx, rs)
}

func TestLostAnswersCostNoLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		a := start(s, "a")
		s.set(func(s *shelf) { s.fail, s.lose = errors.New("answer lost"), true })
		pass(3 * time.Second)
		s.set(func(s *shelf) { s.fail, s.lose = nil, false })
		pass(time.Minute)
		if !a.working() || !a.lease.Valid() || len(a.causes) > 0 {
			t.Errorf("works %v, ended by %v", a.working(), a.causes)
		}
		a.end(t)
	})
}

func TestWorkThatEndsGivesTheLeaseBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		broken := errors.New("broken")
		l := record.NewLease(s, "work", "a")
		if err := l.Run(t.Context(), nil, func(context.Context) error { return broken }); !errors.Is(err, broken) {
			t.Errorf("Run() = %v", err)
		}
		if l.Valid() || l.Holder() != "" {
			t.Errorf("valid %v, holder %q after the end", l.Valid(), l.Holder())
		}
		if r := s.rs["leases work"]; strings.Contains(string(r.Value), `"a"`) {
			t.Errorf("the record is %s", r.Value)
		}
		b := start(s, "b")
		if !b.working() {
			t.Error("b has to wait")
		}
		b.end(t)
	})
}

func TestUnreadableLeaseRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.rs["leases work"] = record.Record{Table: "leases", Key: "work", Value: []byte("?"), Version: 7}
		a := start(s, "a")
		pass(record.LeaseLength + time.Second)
		if !a.working() {
			t.Error("not taken")
		}
		a.end(t)
	})
}

// readable is a store that takes no writes.
type readable struct {
	*shelf
	why error
}

func (r readable) Save(context.Context, []record.Record) ([]record.Saved, error) { return nil, r.why }

func TestLeaseThatNobodyCanTakeIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		if held, err := record.NewLease(s, "work", "dead").Acquire(t.Context()); !held || err != nil {
			t.Fatal(held, err)
		}
		broken := errors.New("the index takes no writes")
		tries := func(l *record.Lease, d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end) && !l.Valid(); pass(500 * time.Millisecond) {
				if _, err := l.Acquire(t.Context()); err != nil && !errors.Is(err, broken) {
					t.Error(err)
				}
			}
		}
		l := record.NewLease(readable{s, broken}, "work", "waits")
		tries(l, 5*time.Second)
		if since, why := l.Vacant(); since != 0 || why != nil || l.Holder() != "dead" {
			t.Errorf("while somebody holds it: vacant for %s, %v, held by %q", since, why, l.Holder())
		}
		tries(l, time.Minute)
		if since, why := l.Vacant(); since < 45*time.Second || !errors.Is(why, broken) {
			t.Errorf("after a minute without a holder: vacant for %s, %v", since, why)
		}
		heir := record.NewLease(s, "work", "heir")
		tries(heir, time.Minute)
		if since, _ := heir.Vacant(); since != 0 || !heir.Valid() {
			t.Errorf("the holder itself: vacant for %s", since)
		}
	})
}
