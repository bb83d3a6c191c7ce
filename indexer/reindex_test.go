package indexer_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/storetest"
)

// workshop is a rebuilder whose work is ten steps of a second, kept in the job.
type workshop struct {
	mu      sync.Mutex
	list    []resource.Index
	log     []string
	fail    error // of each step for type A
	stuck   error // of each undo
	serving bool
	// blocks makes writers wait from the third step on.
	blocks bool
}

func (w *workshop) note(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, s)
}

// now changes what a workshop does from now on, also while one works in it.
func (w *workshop) now(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *workshop) notes() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.log)
}

func (w *workshop) Indices(context.Context) ([]resource.Index, error) { return w.list, nil }

func (w *workshop) CreateIndices(context.Context) ([]string, error) { return nil, nil }

func (w *workshop) DropIndex(_ context.Context, name string) error {
	w.note("drop " + name)
	return nil
}

func (w *workshop) Rebuild(ctx context.Context, job *record.Reindex, report func(context.Context) error) error {
	w.note("rebuild " + job.Type)
	for ; job.Copied < 10; job.Copied++ {
		w.now(func() {
			if w.blocks && job.Copied == 3 {
				job.Blocks, job.Pauses = true, job.Pauses+1
			}
		})
		if err := report(ctx); err != nil {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		var fail error
		if w.now(func() { fail = w.fail }); fail != nil && job.Type == "A" {
			return fail
		}
	}
	job.Served, job.Old = true, []string{"old-" + job.Type}
	return report(ctx)
}

func (w *workshop) Undo(_ context.Context, job *record.Reindex) error {
	w.note("undo " + job.Type)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.serving {
		w.serving = false
		return indexer.ErrServing
	}
	return w.stuck
}

func (w *workshop) Release(_ context.Context, job *record.Reindex) error {
	w.note("release " + job.Type)
	return nil
}

func (w *workshop) Clean(_ context.Context, job *record.Reindex) error {
	w.note("clean " + job.Old[0])
	return nil
}

func newWorkshop() *workshop {
	return &workshop{list: []resource.Index{
		{Name: "a-1", Type: "A", State: resource.IndexServes, Documents: 10, Differences: []string{"field x: new, a keyword"}},
		{Name: "b-1", Type: "B", State: resource.IndexServes},
		{Name: "c-1", Type: "C", State: resource.IndexMissing},
		{Name: "a-9", Type: "A", State: resource.IndexIdle},
	}}
}

// shop is a reindexer over a store of records, which several may share.
func shop(w *workshop, records record.Store) *indexer.Reindexer {
	return indexer.NewReindexer(indexer.ReindexDeps{Indices: w, Rebuilder: w, Records: records, Owner: "test"})
}

// works runs a reindexer until the function returned is called.
func works(t *testing.T, r *indexer.Reindexer) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return func() { cancel(); wg.Wait() }
}

func ask(t *testing.T, r *indexer.Reindexer, q indexer.ReindexRequest) []record.Reindex {
	t.Helper()
	jobs, err := r.Request(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return jobs
}

func only(t *testing.T, r *indexer.Reindexer) record.Reindex {
	t.Helper()
	jobs, err := r.Jobs(t.Context())
	if err != nil || len(jobs) != 1 {
		t.Fatalf("Jobs = %+v, %v", jobs, err)
	}
	return jobs[0]
}

func TestReindexesArePlannedInWords(t *testing.T) {
	t.Parallel()
	r := shop(newWorkshop(), storetest.NewSloppy(nil, storetest.Faults{}))
	plan := ask(t, r, indexer.ReindexRequest{DryRun: true})
	if len(plan) != 3 || len(plan[0].Why) != 1 || len(plan[1].Why) != 0 || plan[2].Phase == "nothing to do" {
		t.Errorf("plan = %+v", plan)
	}
	if plan = ask(t, r, indexer.ReindexRequest{Types: []string{"B"}, Force: true, DryRun: true}); len(plan) != 1 || len(plan[0].Why) != 1 {
		t.Errorf("forced plan = %+v", plan)
	}
	if jobs, err := r.Jobs(t.Context()); err != nil || len(jobs) != 0 {
		t.Errorf("a dry run left %+v, %v", jobs, err)
	}
	if _, err := r.Request(t.Context(), indexer.ReindexRequest{Types: []string{"Z"}}); !errors.Is(err, indexer.ErrUnknown) {
		t.Errorf("Request of an unknown type = %v", err)
	}
	for name, want := range map[string]error{"a-1": indexer.ErrNotNow, "c-1": indexer.ErrUnknown, "z": indexer.ErrUnknown, "a-9": nil} {
		if err := r.Drop(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("Drop of %s = %v, want %v", name, err, want)
		}
	}
}

func TestAReindexRunsOnceAndItsOldIndexGoesLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, records := newWorkshop(), storetest.NewSloppy(nil, storetest.Faults{})
		r, other := shop(w, records), shop(w, records)
		defer works(t, r)()
		defer works(t, other)()
		ask(t, r, indexer.ReindexRequest{Grace: time.Minute})
		ask(t, other, indexer.ReindexRequest{}) // while one is open: the same
		time.Sleep(3 * time.Second)
		if err := r.Drop(t.Context(), "a-9"); !errors.Is(err, indexer.ErrNotNow) {
			t.Errorf("Drop while a reindex runs = %v", err)
		}
		time.Sleep(20 * time.Second)
		if j := only(t, r); j.State != record.ReindexServed || !slices.Equal(w.notes(), []string{"rebuild A"}) {
			t.Errorf("after the work: %+v, %v", j, w.notes())
		}
		if _, err := r.Abort(t.Context(), "A"); !errors.Is(err, indexer.ErrNotNow) {
			t.Errorf("Abort of what has ended = %v", err)
		}
		time.Sleep(time.Minute)
		if j := only(t, r); j.State != record.ReindexDone || !slices.Equal(w.notes(), []string{"rebuild A", "clean old-A"}) {
			t.Errorf("after the grace: %+v, %v", j, w.notes())
		}
	})
}

func TestAReindexIsAborted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorkshop()
		r := shop(w, storetest.NewSloppy(nil, storetest.Faults{}))
		defer works(t, r)()
		ask(t, r, indexer.ReindexRequest{})
		time.Sleep(5 * time.Second)
		if j, err := r.Abort(t.Context(), "A"); err != nil || !j.Abort {
			t.Fatalf("Abort = %+v, %v", j, err)
		}
		time.Sleep(3 * time.Second)
		if j := only(t, r); j.State != record.ReindexAborted || j.Copied == 10 || w.notes()[1] != "undo A" {
			t.Errorf("it ended as %+v, %v", j, w.notes())
		}
		w.now(func() { w.serving = true }) // the next abort comes too late
		ask(t, r, indexer.ReindexRequest{Keep: true})
		time.Sleep(5 * time.Second)
		if _, err := r.Abort(t.Context(), "A"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if j := only(t, r); j.State != record.ReindexDone || !j.Served {
			t.Errorf("aborted too late it ended as %+v, %v", j, w.notes())
		}
	})
}

func TestAReindexGoesOnWithTheNextHolderOfTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, records := newWorkshop(), storetest.NewSloppy(nil, storetest.Faults{Seed: 1, Lost: 0.1})
		first, second := shop(w, records), shop(w, records)
		stop := works(t, first)
		for {
			if _, err := first.Request(t.Context(), indexer.ReindexRequest{Keep: true}); err == nil {
				break
			}
		}
		time.Sleep(4 * time.Second)
		stop()
		j := only(t, first)
		if j.State != record.ReindexRuns {
			t.Fatalf("after a stop: %+v", j)
		}
		defer works(t, second)()
		time.Sleep(60 * time.Second)
		if j := only(t, second); j.State != record.ReindexDone || j.Copied != 10 {
			t.Errorf("it ended as %+v", j)
		}
	})
}

func TestAReindexThatCannotBeIsUndone(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]error{"refused": indexer.ErrRejected, "no answer": errors.New("no answer")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorkshop()
				w.now(func() { w.fail = fail })
				r := shop(w, storetest.NewSloppy(nil, storetest.Faults{}))
				defer works(t, r)()
				ask(t, r, indexer.ReindexRequest{})
				time.Sleep(30 * time.Minute)
				if j := only(t, r); j.State != record.ReindexFailed || j.Error == "" || !slices.Contains(w.notes(), "undo A") {
					t.Errorf("it ended as %+v, %v", j, w.notes())
				}
			})
		})
	}
}
