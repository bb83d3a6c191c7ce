package elastic

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhoNeedsARefreshAtTheSameTimeSharesOneThatBeganAfterHeAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var rs refreshes
		begun := 0
		slow := func(context.Context, string) error {
			begun++
			time.Sleep(time.Second)
			return nil
		}
		var all sync.WaitGroup
		ask := func(within time.Duration) {
			all.Go(func() {
				from := time.Now()
				if err := rs.do(t.Context(), "a", slow); err != nil || time.Since(from) != within {
					t.Errorf("after %s, not %s: %v", time.Since(from), within, err)
				}
			})
		}
		ask(time.Second)
		time.Sleep(300 * time.Millisecond) // one is under way: it may not see what was written since
		for range 100 {
			ask(1700 * time.Millisecond)
		}
		time.Sleep(1200 * time.Millisecond)
		ask(1500 * time.Millisecond)
		all.Wait()
		if begun != 3 {
			t.Errorf("%d refreshes for 102 who asked at three times, want 3", begun)
		}
	})
}

func TestARefreshThatFailsOrIsNotWaitedForHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var rs refreshes
		bad := errors.New("bad")
		fail := func(context.Context, string) error { time.Sleep(time.Second); return bad }
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if err := rs.do(ctx, "a", fail); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who does not wait gets %v", err)
		}
		if err := rs.do(t.Context(), "a", fail); !errors.Is(err, bad) {
			t.Errorf("who waits gets %v", err)
		}
		if err := rs.do(t.Context(), "b", func(context.Context, string) error { return nil }); err != nil {
			t.Errorf("another alias: %v", err)
		}
	})
}
