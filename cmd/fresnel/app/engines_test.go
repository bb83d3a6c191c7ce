package app

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fresnel-search/fresnel/indexer/elastic"
	"github.com/fresnel-search/fresnel/listener/stream"
)

func TestStoreThatIsNotUpIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &system{Options: Options{Log: discard}}
		tries := 0
		err := s.persist(t.Context(), "the store", func(context.Context) error {
			if tries++; tries < 20 {
				return errors.New("no answer: connection refused")
			}
			return nil
		})
		if err != nil || tries != 20 {
			t.Errorf("persist() = %v after %d tries", err, tries)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("it did not start within a minute"))
		defer cancel()
		err = s.persist(ctx, "the store", func(context.Context) error { return &elastic.Error{Status: 503} })
		if err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "within a minute") {
			t.Errorf("persist() = %v, want the store's answer and the bound", err)
		}
	})
}

func TestStoreThatRefusesUsIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	for _, answer := range []error{&elastic.Error{Status: 401}, &elastic.Error{Status: 403}, elastic.ErrMismatch} {
		if curable(answer) {
			t.Errorf("%v is waited for", answer)
		}
	}
	for _, answer := range []error{&elastic.Error{Status: 429}, &elastic.Error{Status: 502}, errors.New("no answer: EOF")} {
		if !curable(answer) {
			t.Errorf("%v is not waited for", answer)
		}
	}
}

// TestAnotherProgramIsNamedAtOnce: what answers is no store.
func TestAnotherProgramIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("{}"))
	}))
	defer srv.Close()
	cfg := elastic.DefaultConfig()
	cfg.Addresses = []string{srv.URL}
	if _, err := elastic.Open(t.Context(), cfg, nil, nil, nil); !errors.Is(err, elastic.ErrMismatch) {
		t.Errorf("Open() = %v", err)
	}
}

// lags are a cluster that answers once.
type lags struct{ asked atomic.Int64 }

func (l *lags) Lag(context.Context, string, ...string) (map[stream.Partition]int64, error) {
	if l.asked.Add(1) > 1 {
		return nil, errors.New("down")
	}
	return map[stream.Partition]int64{{Topic: "m"}: 3, {Topic: "m", ID: 1}: 4}, nil
}

func TestBacklogIsWhatTheClusterLastSaid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := &lags{}
		b := &backlog{kafka: k, group: "g", topic: "m", log: discard}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- b.run(ctx) }()
		synctest.Wait()
		if got := b.waiting.Load(); got != 7 {
			t.Errorf("waiting are %d, want 7", got)
		}
		time.Sleep(2 * lagEvery) // sleep: on the fake clock
		synctest.Wait()
		if got := b.waiting.Load(); got != 7 || k.asked.Load() < 2 {
			t.Errorf("waiting are %d while the cluster is silent, want what it said", got)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestTopicsThatOutliveTombstonesAreNamed(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	asked := 0
	answer := map[string]time.Duration{"short": 7 * day, "equal": 30 * day, "long": 31 * day, "ever": -1}
	r := &retentions{ask: func(context.Context, []string) (map[string]time.Duration, error) {
		asked++
		return answer, nil
	}}
	topics := []string{"equal", "ever", "hidden", "long", "short"}
	for range 2 {
		err := r.compare(t.Context(), topics, 30*day)
		if err == nil {
			t.Fatal("nothing is said")
		}
		for name, want := range map[string]bool{"topic ever": true, "topic long": true, "topic short": false, "topic equal": false, "topic hidden": false} {
			if strings.Contains(err.Error(), name) != want {
				t.Errorf("%q in %q is not %v", name, err, want)
			}
		}
	}
	if asked != 1 {
		t.Errorf("the cluster was asked %d times", asked)
	}
	if err := r.compare(t.Context(), []string{"short"}, 30*day); err != nil || asked != 2 {
		t.Errorf("other topics: %v, asked %d times", err, asked)
	}
}

func TestOwnLogKeepsItsNameWithItsFolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "id")
	first, err := readOrMake(path)
	if err != nil || first == "" {
		t.Fatalf("readOrMake() = %q, %v", first, err)
	}
	if again, err := readOrMake(path); err != nil || again != first {
		t.Errorf("readOrMake() = %q, %v, want %q", again, err, first)
	}
	if other, err := readOrMake(path + "2"); err != nil || other == first {
		t.Errorf("another folder's log is called %q too (%v)", other, err)
	}
}
