package publishers

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/publishers/lane"
)

// Pause stops a subscription until Resume, over restarts too; what is with the
// publisher is still answered for. It returns when that is stored. One that is
// suspended stays as it is.
func (e *Engine) Pause(ctx context.Context, name string) error {
	s, err := e.served(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.machine.Pause(time.Now().UTC(), "by an operator")
	s.changed()
	s.mu.Unlock()
	s.log.Info("subscription paused")
	return s.durable(ctx)
}

// Resume makes a paused or suspended subscription work again, and tries at once what
// waits. It returns when that is stored.
func (e *Engine) Resume(ctx context.Context, name string) error {
	s, err := e.served(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.machine.Resume()
	s.changed()
	s.mu.Unlock()
	s.log.Info("subscription resumed")
	return s.durable(ctx)
}

// served finds a subscription that is loaded and that no other process has taken over.
func (e *Engine) served(name string) (*subscription, error) {
	s := e.find(name)
	if s == nil {
		return nil, fmt.Errorf("subscription %q: %w", name, ErrUnknown)
	}
	e.mu.Lock()
	loaded := e.heads != nil
	e.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !loaded || s.fenced || !e.valid() {
		return nil, fmt.Errorf("subscription %q: %w", name, ErrElsewhere)
	}
	return s, nil
}

func (e *Engine) find(name string) *subscription {
	for _, s := range e.subs {
		if s.config.Name == name {
			return s
		}
	}
	return nil
}

// RedeliverNow tries a delivery again at once, with the same id and bytes: one that
// waits for its next attempt, or one that is a dead letter.
func (e *Engine) RedeliverNow(ctx context.Context, subscription, id string) error {
	s, err := e.served(subscription)
	if err != nil {
		return err
	}
	s.mu.Lock()
	held, ok := s.machine.Delivery(id)
	hurried := ok && s.machine.Hurry(id)
	s.changed()
	s.mu.Unlock()
	switch {
	case hurried:
		return nil
	case !ok:
		return e.Redeliver(ctx, deadID(subscription, id))
	case held.Standing == lane.Behind:
		return fmt.Errorf("it waits for an earlier change of %s: %w", held.Lane, ErrImpossible)
	default:
		return fmt.Errorf("it is %s: %w", held.Standing, ErrImpossible)
	}
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
	if d.Kind != record.DeadDelivery || len(d.Headers[headerID]) == 0 {
		return fmt.Errorf("dead letter %q holds no delivery: %w", id, ErrImpossible)
	}
	s, err := e.served(d.Subscription)
	switch {
	case err != nil:
		return err
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
		Tries: d.Attempts, Urgent: string(d.Headers[headerPriority]) == urgent,
	}
	if n, err := strconv.ParseInt(string(d.Headers[headerRevision]), 10, 64); err == nil {
		p.Lineage, p.Revision = string(d.Headers[headerLineage]), n
	}
	if ttl := s.config.MessageTTL; ttl > 0 {
		p.Expires = time.Now().UTC().Add(ttl)
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
