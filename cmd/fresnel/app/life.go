package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// part is something with a life: run blocks until its context is done and what it
// had taken is finished.
type part struct {
	name string
	run  func(context.Context) error
	// close, if not nil, is called after run has returned.
	close func() error
}

// errStopped is the cause of a part's context when the process stops.
var errStopped = errors.New("the process is stopping")

// live runs the parts, started in order, until ctx is done or one of them ends by
// itself. Then they are stopped one after another, the last started first, so that
// nothing loses what it stands on. All of it takes at most drain; a part that has
// not ended by then is named in the error.
func live(ctx context.Context, parts []part, drain time.Duration, log *slog.Logger) error {
	type ended struct {
		i   int
		err error
	}
	ends := make(chan ended, len(parts))
	cancels := make([]context.CancelCauseFunc, len(parts))
	done := make([]chan struct{}, len(parts))
	for i, p := range parts {
		pctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
		cancels[i], done[i] = cancel, make(chan struct{})
		go func() {
			defer close(done[i])
			var err error
			if p.run != nil {
				err = p.run(pctx)
			} else {
				<-pctx.Done()
			}
			ends <- ended{i, err}
		}()
	}
	var errs []error
	select {
	case <-ctx.Done():
	case e := <-ends:
		errs = append(errs, fmt.Errorf("%s ended by itself: %w", parts[e.i].name, cmpErr(e.err)))
	}
	deadline := time.After(drain)
	late := false
	for i, p := range slices.Backward(parts) {
		cancels[i](errStopped)
		if !late {
			select {
			case <-done[i]:
			case <-deadline:
				late = true
			}
		}
		if late {
			select {
			case <-done[i]:
			default:
				errs = append(errs, fmt.Errorf("%s did not stop within %s", p.name, drain))
				continue
			}
		}
		if p.close != nil {
			if err := p.close(); err != nil {
				errs = append(errs, fmt.Errorf("close %s: %w", p.name, err))
			}
		}
		log.Debug("part stopped", "part", p.name)
	}
	for len(ends) > 0 {
		if e := <-ends; e.err != nil && !errors.Is(e.err, context.Canceled) {
			errs = append(errs, fmt.Errorf("%s: %w", parts[e.i].name, e.err))
		}
	}
	return errors.Join(errs...)
}

// cmpErr gives an error for a part that ended without one.
func cmpErr(err error) error {
	if err == nil {
		return errors.New("no reason given")
	}
	return err
}
