package indexer_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/storetest"
)

func TestAReindexThatCannotBeUndoneLetsOthersGoOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorkshop()
		w.now(func() { w.fail, w.stuck = indexer.ErrRejected, errors.New("no answer to the undo") })
		records := storetest.NewSloppy(nil, storetest.Faults{})
		r := shop(w, records)
		stop := works(t, r)
		ask(t, r, indexer.ReindexRequest{Types: []string{"A"}})
		ask(t, r, indexer.ReindexRequest{Types: []string{"B"}, Force: true, Keep: true})
		time.Sleep(25 * time.Second) // sleep: on the fake clock, as all here
		jobs, err := r.Jobs(t.Context())
		if err != nil || jobs[0].State != record.ReindexRuns || jobs[0].Phase != "cannot be undone yet: no answer to the undo" || jobs[1].State != record.ReindexDone {
			t.Errorf("after a while: %+v, %v", jobs, err)
		}
		rebuilt := func() int {
			return len(slices.DeleteFunc(w.notes(), func(n string) bool { return n != "rebuild A" }))
		}
		stop()
		heir := shop(w, records) // also another process undoes it, and does not begin again
		w.now(func() { w.stuck = nil })
		defer works(t, heir)()
		time.Sleep(time.Minute)
		if jobs, err = heir.Jobs(t.Context()); err != nil || jobs[0].State != record.ReindexFailed || jobs[0].Error == "" || rebuilt() != 1 {
			t.Errorf("in the end: %+v, %v, after %v", jobs[0], err, w.notes())
		}
	})
}

func TestOldIndicesGoAlsoWhenTheNextReindexComesToNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorkshop()
		r := shop(w, storetest.NewSloppy(nil, storetest.Faults{}))
		defer works(t, r)()
		ask(t, r, indexer.ReindexRequest{Grace: time.Hour})
		time.Sleep(20 * time.Second)
		w.now(func() { w.fail = indexer.ErrRejected })
		ask(t, r, indexer.ReindexRequest{Grace: time.Minute})
		time.Sleep(30 * time.Second)
		if j := only(t, r); j.State != record.ReindexFailed || !slices.Equal(j.Old, []string{"old-A"}) {
			t.Fatalf("the second ended as %+v", j)
		}
		time.Sleep(2 * time.Minute)
		if j := only(t, r); j.State != record.ReindexFailed || len(j.Old) > 0 || !slices.Contains(w.notes(), "clean old-A") {
			t.Errorf("after the grace: %+v, %v", j, w.notes())
		}
	})
}

func TestWritersOfAKilledReindexGoOnWithinTenSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorkshop()
		w.now(func() { w.blocks = true })
		shelf := storetest.NewSloppy(nil, storetest.Faults{})
		killed := &cutoff{Store: shelf}
		owner, other := shop(w, killed), shop(w, shelf)
		defer works(t, owner)()
		ask(t, owner, indexer.ReindexRequest{Keep: true})
		for only(t, other).State != record.ReindexRuns {
			time.Sleep(50 * time.Millisecond)
		}
		defer works(t, other)()
		for !only(t, other).Blocks {
			time.Sleep(50 * time.Millisecond)
		}
		began := time.Now()
		killed.dead.Store(true)
		for !slices.Contains(w.notes(), "release A") {
			time.Sleep(50 * time.Millisecond)
			if waited := time.Since(began); waited > 9*time.Second {
				t.Fatalf("writers wait for %s already: %v", waited, w.notes())
			}
		}
		time.Sleep(time.Minute)
		if j := only(t, other); j.State != record.ReindexDone {
			t.Errorf("it ended as %+v", j)
		}
	})
}

// cutoff is the store as a process finds it that is dead: it changes nothing any more.
type cutoff struct {
	record.Store
	dead atomic.Bool
}

func (c *cutoff) Save(ctx context.Context, rs []record.Record) ([]record.Saved, error) {
	if c.dead.Load() {
		return nil, errors.New("dead")
	}
	return c.Store.Save(ctx, rs)
}
