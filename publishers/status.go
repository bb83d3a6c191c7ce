package publishers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/publishers/lane"
)

var (
	// ErrUnknown says that there is no such subscription or dead letter.
	ErrUnknown = errors.New("not found")
	// ErrImpossible says that a dead letter cannot be delivered again.
	ErrImpossible = errors.New("cannot be delivered again")
)

// The conditions of a subscription.
const (
	Working   = "working"
	Starting  = "starting"  // its state is not loaded: what is said of it counts nothing yet
	Probing   = "probing"   // its breaker is open: one delivery at a time looks whether the destination is back
	Suspended = "suspended" // it waits for Resume
	Fenced    = "fenced"    // another process serves it
)

// SubscriptionStatus is what is to be said of a subscription.
type SubscriptionStatus struct {
	Name      string `json:"name"`
	Publisher string `json:"publisher"`
	Condition string `json:"condition"`
	// Code and Detail say why it is not working.
	Code   string    `json:"code,omitempty"`
	Detail string    `json:"detail,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	// NextProbe is when an open breaker lets the next delivery through.
	NextProbe time.Time `json:"next_probe,omitzero"`
	// Lag counts the changes in the log that it was not offered yet.
	Lag int64 `json:"lag"`
	// Behind counts the partitions that it reads apart from the others.
	Behind      int   `json:"behind,omitempty"`
	Open        int   `json:"open"`      // changes taken, not settled
	InFlight    int   `json:"in_flight"` // of them, with the publisher
	Parked      int   `json:"parked"`
	ParkedBytes int64 `json:"parked_bytes"`
	// Gaps counts the times that the log had dropped changes before they were read.
	Gaps      int64         `json:"gaps"`
	Cursors   map[int]int64 `json:"cursors,omitempty"`
	LastError string        `json:"last_error,omitempty"`
	LastAt    time.Time     `json:"last_error_at,omitzero"`
}

// Status tells how each subscription does, in the order of the configuration.
func (e *Engine) Status() []SubscriptionStatus {
	e.mu.Lock()
	heads := e.heads
	e.mu.Unlock()
	all := make([]SubscriptionStatus, 0, len(e.subs))
	for _, s := range e.subs {
		st := s.status()
		if heads == nil { // or what it was before another process took over
			st = SubscriptionStatus{Name: st.Name, Publisher: st.Publisher, Condition: Starting, Cursors: map[int]int64{}}
		}
		for _, h := range heads {
			next, _ := s.next(h.partition.ID)
			st.Lag += max(h.at()-next, 0)
		}
		all = append(all, st)
	}
	return all
}

// condition is in one word how the subscription does. mu is held.
func (s *subscription) condition() string {
	switch {
	case s.fenced:
		return Fenced
	case s.machine.Suspended():
		return Suspended
	case s.machine.Breaking():
		return Probing
	}
	return Working
}

func (s *subscription) status() SubscriptionStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, state := s.machine.Counts(), s.machine.State()
	st := SubscriptionStatus{
		Name: s.config.Name, Publisher: s.config.Publisher, Condition: s.condition(),
		Behind: s.behind, Open: n.Open, InFlight: n.InFlight, Parked: n.Parked, ParkedBytes: n.ParkedBytes,
		Gaps: s.gaps, Cursors: map[int]int64{}, LastAt: s.last.at,
	}
	for id, c := range state.Cursors {
		st.Cursors[id] = c.Offset
	}
	if s.last.code != "" {
		st.LastError = s.last.code + ": " + s.last.detail
	}
	switch st.Condition {
	case Suspended:
		st.Code, st.Detail, st.Since = state.Suspension.Code, state.Suspension.Detail, state.Suspension.Since
	case Probing:
		b := state.Breaker
		st.Code, st.Detail, st.Since, st.NextProbe = b.Code, b.Detail, b.Since, b.Until
	}
	return st
}

// Ready returns nil when every subscription is loaded and the change log is being
// read; else what is missing. A destination that is down is no reason.
func (e *Engine) Ready() error {
	e.mu.Lock()
	heads := e.heads
	e.mu.Unlock()
	if heads == nil {
		return errors.New("subscriptions are not loaded yet")
	}
	for _, h := range heads {
		if !h.isPrimed() {
			return fmt.Errorf("partition %d of the change log is not read yet", h.partition.ID)
		}
	}
	return nil
}

// Floor returns, for each partition of a topic, the lowest offset that a
// subscription still needs; -1 if nobody needs any, or before that is known.
func (e *Engine) Floor(topic string) func(partition int) int64 {
	return func(partition int) int64 {
		e.mu.Lock()
		loaded := e.heads != nil
		e.mu.Unlock()
		if topic != e.config.Topic || len(e.subs) == 0 {
			return -1
		}
		if !loaded {
			return 0
		}
		low := int64(-1)
		for _, s := range e.subs {
			s.mu.Lock()
			at := max(s.machine.State().Cursors[partition].Offset-1, 0) // the one before tells the log from another
			s.mu.Unlock()
			if low < 0 || at < low {
				low = at
			}
		}
		return low
	}
}

// Resume makes a suspended subscription work again, and tries at once what waits.
func (e *Engine) Resume(name string) error {
	s := e.find(name)
	if s == nil {
		return fmt.Errorf("subscription %q: %w", name, ErrUnknown)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.machine.Resume()
	s.changed()
	s.saver.wake(false)
	s.log.Info("subscription resumed")
	return nil
}

func (e *Engine) find(name string) *subscription {
	for _, s := range e.subs {
		if s.config.Name == name {
			return s
		}
	}
	return nil
}

// Redeliver takes a delivery out of the dead letters and tries it again, with the
// same id and bytes and all its attempts. It joins its resource's lane at once, so
// later changes may have been delivered before it.
func (e *Engine) Redeliver(ctx context.Context, id string) error {
	r, err := e.records.Read(ctx, record.DeadLetters, id)
	if err != nil {
		return fmt.Errorf("read dead letter: %w", err)
	}
	var d record.DeadLetter
	if r.Version == 0 {
		return fmt.Errorf("dead letter %q: %w", id, ErrUnknown)
	}
	if err := json.Unmarshal(r.Value, &d); err != nil {
		return fmt.Errorf("dead letter %q: %w", id, err)
	}
	s := e.find(d.Subscription)
	switch {
	case d.Kind != record.DeadDelivery || d.Headers[headerID] == nil:
		return fmt.Errorf("dead letter %q holds no delivery: %w", id, ErrImpossible)
	case s == nil:
		return fmt.Errorf("subscription %q of the dead letter: %w", d.Subscription, ErrUnknown)
	case d.Oversize:
		return fmt.Errorf("dead letter %q was too large to be kept whole: %w", id, ErrImpossible)
	}
	if err := e.redeliver(ctx, s, d); err != nil {
		return fmt.Errorf("dead letter %q: %w", id, err)
	}
	r.Value = nil
	if err := saveOne(ctx, e.records, r); err != nil {
		return fmt.Errorf("remove dead letter: %w", err)
	}
	return nil
}

func (e *Engine) redeliver(ctx context.Context, s *subscription, d record.DeadLetter) error {
	ev, err := deadEvent(d)
	if err != nil {
		return err
	}
	p := lane.Parked{
		ID: ev.ID, Lane: string(d.Key), Partition: d.Partition, Offset: d.Offset, Size: int64(len(ev.Data)),
		Tries: d.Attempts,
	}
	rec, err := encodeParked(s.config.Name, p, ev)
	if err != nil {
		return err
	}
	s.mu.Lock()
	holds := s.machine.Holds(p.ID)
	s.mu.Unlock()
	if holds {
		return fmt.Errorf("it is being delivered already: %w", ErrImpossible)
	}
	if err := saveOne(ctx, e.records, rec); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.machine.Adopt(p)
	s.changed()
	return nil
}
