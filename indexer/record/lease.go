package record

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Leases is the table of leases, by name.
const Leases = "leases"

const (
	// LeaseLength is how long a lease lasts without being renewed: who waits for it
	// takes it when it has seen no renewal for so long.
	LeaseLength = 10 * time.Second
	// LeaseRenew is how often its holder renews it.
	LeaseRenew = 2 * time.Second
	// leaseMargin is how much earlier than others the holder takes it for lost: two
	// clocks do not run equally fast.
	leaseMargin = time.Second
	// leaseLook is how often Run looks whether the lease is free, and the pause after
	// a store that failed; leaseCall is the longest wait for the store's answer.
	leaseLook = 500 * time.Millisecond
	leaseCall = 4 * time.Second
)

// ErrLeaseLost is the cause of a context that ended because its lease was lost.
var ErrLeaseLost = errors.New("the lease was lost")

// Lease is the right to do something that one process at a time may do. No two
// clocks are ever compared: the holder counts the length from before its last renewal
// was sent, everybody else from when they saw it, each on a monotonic clock of their
// own. So the holder knows that it has lost the lease before another one can take it,
// and a process that was paused finds it invalid when it wakes up: what it had handed
// on before is all that it can still do.
//
// One goroutine at a time may call Acquire, Hold, Release and Run; the others any.
type Lease struct {
	store Store
	name  string
	owner string // for people
	id    string // random

	at    Record    // as last seen, or written by us
	value holder    // of at
	since time.Time // when it was first seen like that; zero: never

	mu     sync.Mutex
	until  time.Time // our own is valid before
	known  string    // who holds it, as far as known
	vacant time.Time // since when nobody has, as far as known; zero while somebody does
	why    error     // of the last attempt to take it
}

// holder is a lease's value. Each renewal has another Beat, so that none looks like
// the one before; an empty ID says that it was released.
type holder struct {
	ID    string `json:"id"`
	Owner string `json:"owner"`
	Beat  int64  `json:"beat"`
}

// NewLease returns the lease of that name, not held. The owner is for people, and
// should tell one process from another.
func NewLease(store Store, name, owner string) *Lease {
	return &Lease{store: store, name: name, owner: owner, id: rand.Text(), vacant: time.Now()}
}

// Valid reports whether the lease is held now. Check it before each step that another
// holder must not see.
func (l *Lease) Valid() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Now().Before(l.until)
}

// Holder is who held the lease when this process last looked; empty if nobody.
func (l *Lease) Holder() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known
}

// Vacant is for how long nobody has held the lease, as far as this process knows, 0 if
// somebody does; and why this process could not take it when it last tried.
func (l *Lease) Vacant() (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.vacant.IsZero() {
		return 0, nil
	}
	return time.Since(l.vacant), l.why
}

// Owner is who holds the lease as far as the store knows; empty if nobody.
func (l *Lease) Owner(ctx context.Context) (string, error) {
	_, h, err := l.read(ctx)
	return h.Owner, err
}

// Acquire takes the lease if nobody has it, or if its holder has not renewed it while
// this Lease watched for LeaseLength: so call it again and again. It reports whether
// the lease is held now.
func (l *Lease) Acquire(ctx context.Context) (bool, error) {
	held, err := l.acquire(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.why = err
	return held, err
}

func (l *Lease) acquire(ctx context.Context) (bool, error) {
	r, h, err := l.read(ctx)
	if err != nil {
		return false, err
	}
	if l.since.IsZero() || r.Version != l.at.Version || h != l.value {
		l.since = time.Now() // after the answer: it may have waited
	}
	l.at, l.value = r, h
	if h.ID != "" && h.ID != l.id {
		if time.Since(l.since) < LeaseLength {
			l.hold(time.Time{}, h.Owner)
			return false, nil
		}
		l.hold(time.Time{}, "") // it has run out
	}
	err = l.write(ctx)
	if errors.Is(err, ErrConflict) {
		return false, nil
	}
	return err == nil, err
}

// Hold runs what a held lease is for and renews it meanwhile. The context given to
// run ends when ctx does, or with ErrLeaseLost as its cause when the lease is lost or
// could not be renewed in time. Hold returns after run has, with its error; the lease
// is released then if it is still held.
func (l *Lease) Hold(ctx context.Context, run func(context.Context) error) error {
	held, end := context.WithCancelCause(ctx)
	defer end(nil)
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx)) // run may need the lease to finish what it took
	defer stop()
	done := make(chan error, 1)
	go func() {
		err := run(held)
		stop()
		done <- err
	}()
	if err := l.renewals(renewing); err != nil {
		l.hold(time.Time{}, "")
		end(fmt.Errorf("%w: %w", ErrLeaseLost, err))
	}
	err := <-done
	return errors.Join(err, l.Release(context.WithoutCancel(ctx)))
}

// Run waits for the lease and runs what it is for while it is held, again and again.
// It returns nil when ctx is done, and what run returns if run ends by itself.
func (l *Lease) Run(ctx context.Context, log *slog.Logger, run func(context.Context) error) error {
	log = cmp.Or(log, slog.New(slog.DiscardHandler)).With("lease", l.name)
	for {
		for said := ""; ; {
			ok, err := l.Acquire(ctx)
			if ok {
				break
			}
			if err != nil && ctx.Err() == nil && err.Error() != said {
				said = err.Error()
				log.Warn("lease not acquired; trying again", "err", err)
			}
			if !pause(ctx, leaseLook) {
				return nil
			}
		}
		log.Info("lease taken", "owner", l.owner)
		var lost error
		err := l.Hold(ctx, func(ctx context.Context) error {
			err := run(ctx)
			if cause := context.Cause(ctx); errors.Is(cause, ErrLeaseLost) {
				lost = cause
			}
			return err
		})
		if err != nil || lost == nil || ctx.Err() != nil {
			return err
		}
		log.Error("lease lost; waiting for it", "err", lost)
	}
}

// Release gives the lease up, so that the next holder need not wait. It does nothing
// if it is not held.
func (l *Lease) Release(ctx context.Context) error {
	if !l.Valid() {
		l.hold(time.Time{}, l.Holder())
		return nil
	}
	l.hold(time.Time{}, "")
	err := l.save(ctx, holder{Beat: l.value.Beat + 1})
	if errors.Is(err, ErrConflict) {
		return nil // somebody has it already, or a lost answer was ours: it runs out
	}
	return err
}

// renewals renews until ctx is done: then it returns nil, else why the lease is lost.
func (l *Lease) renewals(ctx context.Context) error {
	var last error
	for wait := LeaseRenew; ; {
		l.mu.Lock()
		until := l.until
		l.mu.Unlock()
		if !pause(ctx, min(wait, time.Until(until))) {
			return nil
		}
		if !l.Valid() {
			return cmp.Or(last, errors.New("it was not renewed in time"))
		}
		wait = LeaseRenew
		switch last = l.renew(ctx, until); {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it is not lost but needed no more
		case errors.Is(last, ErrConflict):
			return last
		case last != nil:
			wait = leaseLook
		}
	}
}

// renew writes the next beat, within the time that is left. ErrConflict means that
// somebody else has the lease.
func (l *Lease) renew(ctx context.Context, until time.Time) error {
	ctx, cancel := context.WithDeadlineCause(ctx, until, errors.New("the store did not answer in time"))
	defer cancel()
	err := l.write(ctx)
	if !errors.Is(err, ErrConflict) {
		return err
	}
	r, h, readErr := l.read(ctx)
	if readErr != nil {
		return readErr
	}
	if h.ID != l.id {
		return fmt.Errorf("%w: %s", err, h.Owner)
	}
	l.at, l.value = r, h // the answer to an earlier write was lost
	return l.write(ctx)
}

// write puts our next beat over what was seen, and counts the length from before.
func (l *Lease) write(ctx context.Context) error {
	began := time.Now()
	if err := l.save(ctx, holder{l.id, l.owner, l.value.Beat + 1}); err != nil {
		return err
	}
	l.hold(began.Add(LeaseLength-leaseMargin), l.owner)
	return nil
}

func (l *Lease) hold(until time.Time, by string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case by != "":
		l.vacant = time.Time{}
	case l.vacant.IsZero():
		l.vacant = time.Now()
	}
	l.until, l.known = until, by
}

func (l *Lease) save(ctx context.Context, h holder) error {
	ctx, cancel := context.WithTimeoutCause(ctx, leaseCall, errors.New("the store did not answer in time"))
	defer cancel()
	value, err := json.Marshal(h)
	if err != nil {
		return err
	}
	r := Record{Table: Leases, Key: l.name, Value: value, Version: l.at.Version}
	saved, err := l.store.Save(ctx, []Record{r})
	if err == nil {
		err = saved[0].Err
	}
	if err != nil {
		return fmt.Errorf("write lease %s: %w", l.name, err)
	}
	r.Version = saved[0].Version
	l.at, l.value = r, h
	return nil
}

func (l *Lease) read(ctx context.Context) (Record, holder, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, leaseCall, errors.New("the store did not answer in time"))
	defer cancel()
	var h holder
	r, err := l.store.Read(ctx, Leases, l.name)
	if err != nil {
		return r, h, fmt.Errorf("read lease %s: %w", l.name, err)
	}
	if r.Version != 0 {
		if err := json.Unmarshal(r.Value, &h); err != nil { // none of ours: it runs out
			h = holder{ID: "?", Owner: "somebody unknown"}
		}
	}
	return r, h, nil
}

// pause waits for d, and answers false if ctx was done before.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
