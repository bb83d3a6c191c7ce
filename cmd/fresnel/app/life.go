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
	run  func(context.Context) error // nil: there is only something to close
	// close, if not nil, is called after run has returned.
	close func() error
}

// errStopped is the cause of a part's context when the process stops.
var errStopped = errors.New("the process is stopping")

// errSilent is for a part that ended without being told to and without a reason.
var errSilent = errors.New("no reason given")

// lastGrace is what all other parts get when one has used up the drain time.
const lastGrace = 500 * time.Millisecond

// live runs the parts, started in order, until ctx is done or one of them ends by
// itself. Then they are stopped one after another, the last started first, so that
// nothing loses what it stands on. All of it takes at most drain and lastGrace; a
// part that has not ended by then is named in the error and left behind.
func live(ctx context.Context, parts []part, drain time.Duration, log *slog.Logger) error {
	all := make([]*living, len(parts))
	ends := make(chan *living, len(parts))
	for i, p := range parts {
		all[i] = launch(ctx, p, ends)
	}
	var errs []error
	select {
	case <-ctx.Done():
	case l := <-ends:
		if l.err == nil {
			l.err = errSilent
		}
		l.err = fmt.Errorf("ended by itself: %w", l.err)
	}
	limit, late := time.Now().Add(drain), false
	for i, l := range slices.Backward(all) {
		l.cancel(errStopped)
		if l.ended(limit) {
			errs = append(errs, l.finish())
			log.Debug("part stopped", "part", l.name)
			continue
		}
		errs = append(errs, fmt.Errorf("%s: did not stop within %s", l.name, drain))
		if !late {
			limit, late = time.Now().Add(lastGrace), true
			for _, below := range all[:i] {
				below.cancel(errStopped)
			}
		}
	}
	return errors.Join(errs...)
}

// abandon closes parts that have not run yet, the last first.
func abandon(parts []part) error {
	var errs []error
	for _, p := range slices.Backward(parts) {
		errs = append(errs, (&living{part: p}).finish())
	}
	return errors.Join(errs...)
}

// living is a part while it runs.
type living struct {
	part
	cancel context.CancelCauseFunc
	done   chan struct{}
	err    error // of run; counts once done is closed
}

func launch(ctx context.Context, p part, ends chan<- *living) *living {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	l := &living{part: p, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		if p.run == nil {
			<-ctx.Done()
			return
		}
		err := p.run(ctx)
		told := errors.Is(err, errStopped) || errors.Is(err, context.Canceled)
		if err != nil && (ctx.Err() == nil || !told) {
			l.err = err
		}
		ends <- l
	}()
	return l
}

// ended waits until the part has ended, or the limit.
func (l *living) ended(limit time.Time) bool {
	t := time.NewTimer(time.Until(limit))
	defer t.Stop()
	select {
	case <-l.done:
		return true
	case <-t.C:
	}
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// finish closes a part that has ended, and says what went wrong with it.
func (l *living) finish() error {
	var errs []error
	if l.err != nil {
		errs = append(errs, fmt.Errorf("%s: %w", l.name, l.err))
	}
	if l.close != nil {
		if err := l.close(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", l.name, err))
		}
	}
	return errors.Join(errs...)
}
