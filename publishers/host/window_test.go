package host

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fresnel-search/fresnel/publishers/delivery"
)

func TestWindowShrinksAtOnceAndGrowsSlowly(t *testing.T) {
	t.Parallel()
	w := newWindow(100)
	const most = 8
	take := func() (n int) {
		for ctx, cancel := context.WithCancel(t.Context()); ; n++ {
			cancel()
			if err := w.acquire(ctx, "a", most); err != nil {
				return n
			}
		}
	}
	if n := take(); n != most {
		t.Errorf("%d batches at first, want %d", n, most)
	}
	w.shrink()
	w.shrink()
	for range most {
		w.release("a")
	}
	n := take()
	if n != 2 {
		t.Errorf("%d batches when it was too much twice, want 2", n)
	}
	for range 2 {
		w.release("a")
	}
	steps := 0
	for ; ; steps++ {
		if _, size := w.size(most); size == most {
			break
		}
		w.grow(most)
	}
	if steps < 10 || steps > 50 {
		t.Errorf("%d batches until it is as large as before", steps)
	}
}

func TestTrialRunsAloneAndGoesFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(4)
		if err := w.acquire(t.Context(), "a", 4); err != nil {
			t.Fatal(err)
		}
		alone, other := make(chan error, 1), make(chan error, 1)
		go func() { alone <- w.acquireAlone(t.Context(), "a") }()
		synctest.Wait()
		go func() { other <- w.acquire(t.Context(), "b", 4) }()
		synctest.Wait()
		if len(alone)+len(other) > 0 {
			t.Error("something runs beside the first")
		}
		w.release("a")
		synctest.Wait()
		if len(alone) != 1 || len(other) != 0 {
			t.Error("the trial does not run alone")
		}
		w.release("a")
		synctest.Wait()
		if len(other) != 1 {
			t.Error("nothing runs after the trial")
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("late"))
		defer cancel()
		if err := w.acquireAlone(ctx, "a"); err == nil || err.Error() != "late" {
			t.Errorf("acquireAlone() = %v", err)
		}
		if err := w.acquire(t.Context(), "c", 4); err != nil { // nobody waits for a trial that was given up
			t.Error(err)
		}
	})
}

func TestVerdictNeedsAPluginThatWorksElse(t *testing.T) {
	t.Parallel()
	var s suspects
	one := []delivery.Delivery{{ID: "a"}}
	for range 5 {
		s.crashed("s", []string{"a"}, true)
		if _, _, guilty := s.sort("s", one); len(guilty) > 0 || s.explains() {
			t.Fatal("a plugin that answers for nothing has a delivery condemned")
		}
	}
	s.cleared("s", "b")
	if _, _, guilty := s.sort("s", one); len(guilty) != 1 {
		t.Error("the plugin answers for another, and the deadly one is not found")
	}
	if free, _, _ := s.sort("s", one); len(free) != 1 {
		t.Error("once rejected it is still under suspicion")
	}
}

func TestSuspectsAreTriedInEverSmallerGroups(t *testing.T) {
	t.Parallel()
	var s suspects
	var ds []delivery.Delivery
	var ids []string
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		ds, ids = append(ds, delivery.Delivery{ID: id}), append(ids, id)
	}
	want := [][]int{{5}, {3, 2}, {2, 1, 1, 1}, {1, 1, 1, 1, 1}}
	s.crashed("s", ids, false)
	if free, groups, _ := s.sort("s", ds); len(free) != len(ds) || len(groups) > 0 {
		t.Errorf("after one crash: free %v, groups %v; that may be chance", free, groups)
	}
	s.crashed("s", ids, false)
	for _, sizes := range want {
		free, groups, guilty := s.sort("s", append(ds, delivery.Delivery{ID: "new"}))
		if len(free) != 1 || len(guilty) > 0 || len(groups) != len(sizes) {
			t.Fatalf("free %v, groups %v, guilty %v, want groups of %v", free, groups, guilty, sizes)
		}
		for i, g := range groups {
			if len(g) != sizes[i] {
				t.Errorf("groups %v, want sizes %v", groups, sizes)
			}
			group := make([]string, len(g))
			for j, d := range g {
				group[j] = d.ID
			}
			s.crashed("s", group, true)
		}
	}
	for _, id := range ids {
		s.cleared("s", id)
	}
	if s.any.Load() || len(s.by) > 0 {
		t.Errorf("all are cleared, and %v are under suspicion", s.by)
	}
}

// TestSuspectsThatNeverComeAgainDoNotEndTheSearch: deliveries may expire or be dropped
// while they are under suspicion.
func TestSuspectsThatNeverComeAgainDoNotEndTheSearch(t *testing.T) {
	t.Parallel()
	var s suspects
	for i := range mostSuspects {
		s.crashed("s", []string{strconv.Itoa(i)}, false)
	}
	s.cleared("s", "works")
	one := []delivery.Delivery{{ID: "deadly"}}
	for range 3 {
		s.crashed("s", []string{"deadly"}, true)
		s.cleared("s", "works")
	}
	if _, _, guilty := s.sort("s", one); len(guilty) != 1 || len(s.by) > mostSuspects {
		t.Errorf("it is not found; %d are remembered", len(s.by))
	}
}
