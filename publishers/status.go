package publishers

import (
	"errors"
	"fmt"
	"time"

	"github.com/fresnel-search/fresnel/publishers/lane"
)

var (
	// ErrUnknown says that there is no such subscription or dead letter.
	ErrUnknown = errors.New("not found")
	// ErrImpossible says that something cannot be delivered again, or not now.
	ErrImpossible = errors.New("cannot be delivered again")
	// ErrElsewhere says that another process serves the subscription, or that this one
	// has not loaded it yet.
	ErrElsewhere = errors.New("this process does not serve the subscription")
)

// The conditions of a subscription.
const (
	Working   = "working"
	Starting  = "starting"  // its state is not loaded: what is said of it counts nothing yet
	Probing   = "probing"   // its breaker is open: one delivery at a time looks whether the destination is back
	Suspended = "suspended" // its destination refused it for good; it waits for Resume
	Paused    = "paused"    // an operator stopped it; it waits for Resume
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
	// Lag counts the changes in the log that it was not offered yet, LagSeconds is how
	// old the oldest change is that is neither settled nor parked.
	Lag        int64   `json:"lag"`
	LagSeconds float64 `json:"lag_seconds"`
	// Behind counts the partitions that it reads apart from the others.
	Behind      int   `json:"behind,omitempty"`
	Open        int   `json:"open"`      // changes taken, not settled
	InFlight    int   `json:"in_flight"` // of them, with the publisher
	Parked      int   `json:"parked"`
	ParkedBytes int64 `json:"parked_bytes"`
	// Gaps counts the times that the log had dropped changes before they were read.
	Gaps int64 `json:"gaps"`
	// Tally is what became of the changes that it wanted, since it was made.
	Tally     lane.Tally    `json:"tally"`
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
			if lag := max(h.at()-next, 0); lag > 0 {
				st.Lag += lag
				st.LagSeconds = max(st.LagSeconds, s.age(h.partition.ID))
			}
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
	case s.machine.Paused():
		return Paused
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
		Gaps: s.gaps, Cursors: map[int]int64{}, LastAt: s.last.at, Tally: state.Tally,
	}
	if at := s.machine.Oldest(); !at.IsZero() {
		st.LagSeconds = max(time.Since(at).Seconds(), 0)
	}
	for id, c := range state.Cursors {
		st.Cursors[id] = c.Offset
	}
	if s.last.code != "" {
		st.LastError = s.last.code + ": " + s.last.detail
	}
	switch st.Condition {
	case Suspended, Paused:
		st.Code, st.Detail, st.Since = state.Suspension.Code, state.Suspension.Detail, state.Suspension.Since
	case Probing:
		b := state.Breaker
		st.Code, st.Detail, st.Since, st.NextProbe = b.Code, b.Detail, b.Since, b.Until
	}
	return st
}

// age is how long ago the last change that the subscription was offered was put into a
// partition: those that it was not offered are younger.
func (s *subscription) age(partition int) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.times[partition]
	if at.IsZero() {
		return 0
	}
	return max(time.Since(at).Seconds(), 0)
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
			if s.config.live() {
				continue // it begins at the end
			}
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
