package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Leases is the table of leases.
const Leases = "leases"

// How long a lease lasts after it was renewed, and how often its holder renews it.
const (
	LeaseLength = 10 * time.Second
	LeaseRenew  = 2 * time.Second
)

// ErrLeaseLost is the cause of a context that ended because its lease was lost.
var ErrLeaseLost = errors.New("the lease was lost")

// Lease is the right to do something that one process at a time may do. Whoever
// wants it must see that the holder has not renewed it for LeaseLength, by a clock of
// its own; the holder counts from before it asked to renew. So no two clocks are ever
// compared, and a process that was paused finds its lease invalid when it wakes up.
//
// Only one goroutine may call Acquire, Renew, Hold and Release; Valid any.
type Lease struct {
	store Store
	name  string
	owner string
	now   func() time.Time

	seen    int64     // the version of somebody else's lease
	since   time.Time // when seen was seen first
	version int64     // of our own; 0 while we have none

	mu    sync.Mutex
	until time.Time // our own is valid before
}

// holder is a lease's value.
type holder struct {
	Owner string `json:"owner"`
}

// NewLease returns the lease of that name, not held. The owner is for people, and
// should tell one process from another.
func NewLease(store Store, name, owner string) *Lease {
	return &Lease{store: store, name: name, owner: owner, now: time.Now}
}

// Valid reports whether the lease is held now. Check it before each step that another
// holder must not see.
func (l *Lease) Valid() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now().Before(l.until)
}

// Owner is who holds the lease as far as the store knows; empty if nobody.
func (l *Lease) Owner(ctx context.Context) (string, error) {
	r, err := l.store.Read(ctx, Leases, l.name)
	if err != nil || r.Version == 0 {
		return "", err
	}
	var h holder
	if err := json.Unmarshal(r.Value, &h); err != nil {
		return "", fmt.Errorf("lease %s: %w", l.name, err)
	}
	return h.Owner, nil
}

// Acquire takes the lease if nobody has it, or if its holder has not renewed it while
// this Lease watched for LeaseLength: so call it again and again. It reports whether
// the lease is held now.
func (l *Lease) Acquire(ctx context.Context) (bool, error) {
	if l.version != 0 {
		return l.Renew(ctx)
	}
	asked := l.now()
	r, err := l.store.Read(ctx, Leases, l.name)
	if err != nil {
		return false, fmt.Errorf("read lease %s: %w", l.name, err)
	}
	if r.Version != 0 {
		if r.Version != l.seen {
			l.seen, l.since = r.Version, l.now() // after the answer: it may have waited
		}
		if l.now().Sub(l.since) < LeaseLength {
			return false, nil
		}
	}
	return l.write(ctx, r.Version, asked)
}

// Renew makes the lease last LeaseLength from now; false means that somebody else has
// it. After an error it is unknown who has it: it stays valid as long as it was.
func (l *Lease) Renew(ctx context.Context) (bool, error) {
	if l.version == 0 {
		return false, nil
	}
	return l.write(ctx, l.version, l.now())
}

// write puts our name into the lease if it is at the version given.
func (l *Lease) write(ctx context.Context, version int64, asked time.Time) (bool, error) {
	value, err := json.Marshal(holder{l.owner})
	if err != nil {
		return false, err
	}
	saved, err := l.store.Save(ctx, []Record{{Table: Leases, Key: l.name, Value: value, Version: version}})
	if err == nil {
		err = saved[0].Err
	}
	switch {
	case errors.Is(err, ErrConflict):
		l.lose()
		return false, nil
	case err != nil:
		// It may have been written: then our version is another one, and the next
		// try ends as a conflict. Waiting LeaseLength for ourselves is safe.
		return false, fmt.Errorf("write lease %s: %w", l.name, err)
	}
	l.version, l.seen = saved[0].Version, 0
	l.mu.Lock()
	l.until = asked.Add(LeaseLength)
	l.mu.Unlock()
	return true, nil
}

func (l *Lease) lose() {
	l.version = 0
	l.mu.Lock()
	l.until = time.Time{}
	l.mu.Unlock()
}

// Release gives the lease up, so that the next holder need not wait. It does nothing
// if it is not held.
func (l *Lease) Release(ctx context.Context) error {
	version := l.version
	l.lose()
	if version == 0 {
		return nil
	}
	saved, err := l.store.Save(ctx, []Record{{Table: Leases, Key: l.name, Version: version}})
	if err == nil && !errors.Is(saved[0].Err, ErrConflict) {
		err = saved[0].Err
	}
	if err != nil {
		return fmt.Errorf("release lease %s: %w", l.name, err)
	}
	return nil
}

// Hold runs what a held lease is for and renews it meanwhile. The context given to
// run ends when ctx does, or with ErrLeaseLost as its cause when the lease is lost or
// could not be renewed in time. Hold returns after run has, with its error; the lease
// is released then if it is still held.
func (l *Lease) Hold(ctx context.Context, run func(context.Context) error) error {
	held, end := context.WithCancelCause(ctx)
	defer end(nil)
	done := make(chan error, 1)
	go func() { done <- run(held) }()
	tick := time.NewTicker(LeaseRenew)
	defer tick.Stop()
	renewing := context.WithoutCancel(ctx) // run may need the lease to finish what it took
	for {
		select {
		case err := <-done:
			bounded, cancel := context.WithTimeout(renewing, LeaseRenew)
			defer cancel()
			return errors.Join(err, l.Release(bounded))
		case <-tick.C:
			l.keep(renewing, end)
		}
	}
}

// keep renews once, and calls end if the lease is lost.
func (l *Lease) keep(ctx context.Context, end context.CancelCauseFunc) {
	bounded, cancel := context.WithTimeout(ctx, LeaseRenew)
	defer cancel()
	ok, err := l.Renew(bounded)
	if err == nil && !ok || !l.Valid() {
		end(ErrLeaseLost)
	}
}
