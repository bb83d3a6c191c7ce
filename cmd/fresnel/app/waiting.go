package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fresnel-search/fresnel/searchapi"
	"github.com/fresnel-search/fresnel/searchapi/identity"
)

const (
	// startTimeout bounds the start of one thing: engines of one's own may come up
	// later than we do.
	startTimeout = 5 * time.Minute
	// sayEvery is how often the log says what is being waited for.
	sayEvery = 15 * time.Second
)

// waitingRoom answers health and readiness while engines are waited for. It is
// closed before the search API takes its place.
type waitingRoom struct {
	s      *system
	cancel context.CancelFunc // nil if nothing is listening
	ended  chan error

	mu   sync.Mutex
	name string // what is being started
	from time.Time
}

// openWaitingRoom listens if there are engines of one's own; embedded ones start at once.
func (s *system) openWaitingRoom(ctx context.Context) (*waitingRoom, error) {
	w := &waitingRoom{s: s, ended: make(chan error, 1)}
	if !s.Config.Shared() && len(s.Config.Listener.Kafka.Brokers) == 0 {
		return w, nil
	}
	srv, err := searchapi.New(s.Config.SearchAPI.Config, searchapi.Deps{
		Catalog: s.catalog, Identity: identity.None{}, Starting: true, Ready: w.parts, Metrics: s.reg,
		Log: s.Log.With("component", "searchapi"),
	})
	if err != nil {
		return nil, err
	}
	if err := srv.Bind(ctx); err != nil {
		return nil, err
	}
	open, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w.cancel = cancel
	go func() { w.ended <- srv.Run(open) }()
	return w, nil
}

func (w *waitingRoom) close() error {
	if w.cancel == nil {
		return nil
	}
	w.cancel()
	return <-w.ended
}

// during starts one thing, within startTimeout, and says from time to time that it is
// not there yet.
func (w *waitingRoom) during(ctx context.Context, st step) error {
	w.mu.Lock()
	w.name, w.from = st.name, time.Now()
	w.mu.Unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("it did not start within %s", startTimeout))
	defer cancel()
	done := make(chan struct{})
	var talking sync.WaitGroup
	talking.Go(func() {
		tick := time.NewTicker(sayEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				w.s.Log.Warn("still starting", "part", st.name, "duration", time.Since(w.from).Round(time.Second))
			}
		}
	})
	err := st.start(ctx)
	close(done)
	talking.Wait()
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && !errors.Is(err, context.Cause(ctx)) {
		err = errors.Join(context.Cause(ctx), err)
	}
	return err
}

// parts is the readiness of a process that has not started.
func (w *waitingRoom) parts() []searchapi.Part {
	w.mu.Lock()
	defer w.mu.Unlock()
	return []searchapi.Part{{
		Name: w.name, State: searchapi.Down,
		Reason: fmt.Sprintf("starting for %s; nothing is served yet", time.Since(w.from).Round(time.Second)),
	}}
}
