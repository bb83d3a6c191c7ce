package app

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// journal remembers what happened in which order.
type journal struct {
	mu  sync.Mutex
	all []string
}

func (j *journal) note(what string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all = append(j.all, what)
}

// noted is a part that takes a while to finish what it has.
func (j *journal) noted(name string, finishing time.Duration) part {
	return part{name, func(ctx context.Context) error {
		j.note(name + " runs")
		<-ctx.Done()
		j.note(name + " is told to stop")
		time.Sleep(finishing) // sleep: on the fake clock of synctest
		j.note(name + " has finished")
		return ctx.Err()
	}, func() error {
		j.note(name + " is closed")
		return nil
	}}
}

const drain = 7 * time.Second

var discard = slog.New(slog.DiscardHandler)

func TestPartsStopInReverseOrderEachAfterTheOneAbove(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			synctest.Wait()
			j.all = nil // they began in any order
			cancel()
		}()
		closing := part{"store", nil, func() error { j.note("store is closed"); return nil }}
		if err := live(ctx, []part{closing, j.noted("indexer", time.Second), j.noted("listener", 2*time.Second)}, drain, discard); err != nil {
			t.Error(err)
		}
		want := []string{
			"listener is told to stop", "listener has finished", "listener is closed",
			"indexer is told to stop", "indexer has finished", "indexer is closed", "store is closed",
		}
		if d := cmp.Diff(want, j.all); d != "" {
			t.Errorf("order (-want +got):\n%s", d)
		}
	})
}

func TestPartThatEndsByItselfStopsAll(t *testing.T) {
	t.Parallel()
	for name, reason := range map[string]error{"with a reason": errors.New("disk is full"), "without one": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var j journal
				dying := part{"indexer", func(context.Context) error { <-time.After(time.Hour); return reason }, nil}
				err := live(t.Context(), []part{j.noted("kafka", 0), dying, j.noted("listener", 0)}, drain, discard)
				if err == nil || !strings.Contains(err.Error(), "indexer: ended by itself: ") || reason != nil && !errors.Is(err, reason) {
					t.Errorf("live = %v, want that the indexer ended, and why", err)
				}
				if n := strings.Count(err.Error(), "indexer"); n != 1 {
					t.Errorf("the indexer's end is told %d times: %v", n, err)
				}
				if got := strings.Join(j.all, ", "); !strings.HasSuffix(got, "listener is closed, kafka is told to stop, kafka has finished, kafka is closed") {
					t.Errorf("the others: %s", got)
				}
			})
		})
	}
}

func TestPartThatHangsIsNamedAndTheOthersStillFinish(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var j journal
		free := make(chan struct{})
		hanging := part{"plugins", func(context.Context) error { <-free; return nil }, func() error {
			j.note("plugins are closed although they run")
			return nil
		}}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		begin := time.Now()
		err := live(ctx, []part{j.noted("kafka", 0), j.noted("slow store", lastGrace/2), hanging, j.noted("search api", time.Second)}, drain, discard)
		if err == nil || err.Error() != "plugins: did not stop within 7s" {
			t.Errorf("live = %v, want the plugins and nobody else named", err)
		}
		if took := time.Since(begin); took > drain+lastGrace {
			t.Errorf("it took %s", took)
		}
		got := strings.Join(j.all, ", ")
		for _, want := range []string{"search api is closed", "slow store is closed", "kafka is closed"} {
			if !strings.Contains(got, want) {
				t.Errorf("not: %s; but: %s", want, got)
			}
		}
		if strings.Contains(got, "although") {
			t.Error("a part that still runs was closed")
		}
		close(free)
	})
}

func TestErrorsOfStoppingAreTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		lost, torn := errors.New("commit lost"), errors.New("log torn")
		err := live(ctx, []part{
			{"kafka", nil, func() error { return torn }},
			{"listener", func(ctx context.Context) error { <-ctx.Done(); return lost }, nil},
			{"quiet", func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }, nil},
		}, drain, discard)
		if !errors.Is(err, lost) || !errors.Is(err, torn) || err.Error() != "listener: commit lost\nclose kafka: log torn" {
			t.Errorf("live = %v, want both errors and no other", err)
		}
	})
}
