package sdk_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// line is a connection that knows whether it was closed.
type line struct {
	mu     sync.Mutex
	closed int
}

func (l *line) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed++
	return nil
}

// times is how often it was closed.
func (l *line) times() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

func TestPoolKeepsOneConnectionForEachKeyUntilNobodyUsesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p sdk.Pool[*line]
		opened := 0
		open := func(context.Context) (*line, error) { opened++; return &line{}, nil }
		get := func(key string) *line {
			l, err := p.Acquire(t.Context(), key, open)
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		a, b := get("a"), get("b")
		if again := get("a"); again != a || a == b || opened != 2 {
			t.Fatalf("opened %d times", opened)
		}
		p.Release("a", a, false)
		time.Sleep(time.Hour)
		synctest.Wait()
		if a.times() != 0 {
			t.Error("closed while it was in use")
		}
		p.Release("a", a, false)
		p.Release("b", b, false)
		time.Sleep(time.Minute)
		synctest.Wait()
		p.Release("b", get("b"), false) // used again in time
		time.Sleep(90 * time.Second)
		synctest.Wait()
		if a.times() != 1 || b.times() != 0 {
			t.Errorf("closed %d and %d times, want 1 and 0", a.times(), b.times())
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if b.times() != 1 || get("b") == b {
			t.Errorf("the idle one was closed %d times, or given out after it", b.times())
		}
	})
}

func TestPoolOpensABrokenConnectionAnewOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p sdk.Pool[*line]
		open := func(context.Context) (*line, error) { return &line{}, nil }
		a, _ := p.Acquire(t.Context(), "a", open)
		if _, err := p.Acquire(t.Context(), "a", open); err != nil {
			t.Fatal(err)
		}
		p.Release("a", a, true)
		b, _ := p.Acquire(t.Context(), "a", open)
		p.Release("a", a, true) // who held the old one notices late
		if c, _ := p.Acquire(t.Context(), "a", open); a == b || c != b || a.times() != 1 || b.times() != 0 {
			t.Errorf("new %v, kept %v, closed %d and %d times", a != b, c == b, a.times(), b.times())
		}
	})
}

func TestPoolBacksOffFromWhoRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p sdk.Pool[*line]
		refused := errors.New("refused")
		tries := 0
		open := func(context.Context) (*line, error) { tries++; return nil, refused }
		begin := time.Now()
		for time.Since(begin) < time.Minute {
			if _, err := p.Acquire(t.Context(), "a", open); !errors.Is(err, refused) {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
		}
		if tries < 8 || tries > 20 {
			t.Errorf("%d tries in a minute", tries)
		}
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if _, err := p.Acquire(t.Context(), "a", func(context.Context) (*line, error) { return &line{}, nil }); err != nil {
			t.Errorf("not tried again: %v", err)
		}
	})
}

func TestPoolTakesACallersHasteForNoRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p sdk.Pool[*line]
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := p.Acquire(ctx, "a", func(ctx context.Context) (*line, error) { <-ctx.Done(); return nil, ctx.Err() })
		if err == nil {
			t.Fatal("there is a connection")
		}
		if _, err := p.Acquire(t.Context(), "a", func(context.Context) (*line, error) { return &line{}, nil }); err != nil {
			t.Errorf("the next one is refused: %v", err)
		}
	})
}
