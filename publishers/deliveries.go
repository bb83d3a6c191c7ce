package publishers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/lane"
)

// Dead is the state of a delivery that was given up on; the others are lane.Standing.
const Dead = "dead"

// DeliveryStatus is what is to be said of a delivery that is not settled, or was given
// up on.
type DeliveryStatus struct {
	Subscription string    `json:"subscription"`
	ID           string    `json:"id"`
	State        string    `json:"state"`
	Resource     string    `json:"resource"` // type/id
	Lineage      string    `json:"lineage,omitempty"`
	Revision     int64     `json:"revision,omitempty"`
	Urgent       bool      `json:"urgent,omitempty"`
	Attempts     int       `json:"attempts"`
	Parked       bool      `json:"parked,omitempty"`
	Due          time.Time `json:"due,omitzero"` // when the next attempt may be made
	Expires      time.Time `json:"expires,omitzero"`
	Time         time.Time `json:"time,omitzero"` // when it was given up on
	// Code and Detail say why the last attempt failed, or it was given up on.
	Code      string `json:"code,omitempty"`
	Detail    string `json:"detail,omitempty"`
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
	Size      int64  `json:"size"`
}

// DeliveryQuery asks for a page of deliveries.
type DeliveryQuery struct {
	Subscription string // empty: of all
	State        string // empty: in any
	// After names the last one of the page before.
	AfterSubscription, AfterID string
	Limit                      int
}

// Deliveries lists what is not settled, or was given up on, by subscription and id.
func (e *Engine) Deliveries(ctx context.Context, q DeliveryQuery) ([]DeliveryStatus, error) {
	if q.Subscription != "" && e.find(q.Subscription) == nil {
		return nil, fmt.Errorf("subscription %q: %w", q.Subscription, ErrUnknown)
	}
	subs := slices.SortedFunc(slices.Values(e.subs), func(a, b *subscription) int {
		return strings.Compare(a.config.Name, b.config.Name)
	})
	all := []DeliveryStatus{}
	for _, s := range subs {
		name, after := s.config.Name, ""
		switch {
		case q.Subscription != "" && name != q.Subscription, name < q.AfterSubscription:
			continue
		case name == q.AfterSubscription:
			after = q.AfterID
		}
		page, err := e.page(ctx, s, q, after)
		if err != nil {
			return nil, err
		}
		if all = append(all, page...); len(all) >= q.Limit {
			return all[:q.Limit], nil
		}
	}
	return all, nil
}

// page is the first deliveries of one subscription after an id.
func (e *Engine) page(ctx context.Context, s *subscription, q DeliveryQuery, after string) ([]DeliveryStatus, error) {
	var all []DeliveryStatus
	s.mu.Lock()
	held := s.machine.Deliveries()
	s.mu.Unlock()
	for _, d := range held {
		if d.ID > after && (q.State == "" || q.State == string(d.Standing)) {
			all = append(all, heldStatus(s.config.Name, d))
		}
	}
	if q.State == "" || q.State == Dead {
		dead, err := e.dead(ctx, s.config.Name, after, q.Limit)
		if err != nil {
			return nil, err
		}
		all = append(all, dead...)
	}
	slices.SortFunc(all, func(a, b DeliveryStatus) int { return strings.Compare(a.ID, b.ID) })
	return all[:min(len(all), q.Limit)], nil
}

// dead lists dead letters of a subscription after an id.
func (e *Engine) dead(ctx context.Context, name, after string, n int) (all []DeliveryStatus, err error) {
	prefix := deadID(name, "")
	rs, err := e.records.Scan(ctx, record.DeadLetters, prefix+after, n)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	for _, r := range rs {
		if !strings.HasPrefix(r.Key, prefix) {
			break
		}
		var d record.DeadLetter
		if err := json.Unmarshal(r.Value, &d); err != nil {
			return nil, fmt.Errorf("dead letter %s: %w", r.Key, err)
		}
		all = append(all, deadStatus(name, strings.TrimPrefix(r.Key, prefix), d))
	}
	return all, nil
}

func heldStatus(name string, d lane.Held) DeliveryStatus {
	st := DeliveryStatus{
		Subscription: name, ID: d.ID, State: string(d.Standing), Resource: d.Lane, Lineage: d.Lineage, Revision: d.Revision,
		Urgent: d.Urgent, Attempts: d.Tries, Parked: d.Stored, Expires: d.Expires, Code: d.Code, Detail: d.Detail,
		Partition: d.Partition, Offset: d.Offset, Size: d.Size,
	}
	if d.Standing == lane.Waiting {
		st.Due = d.Due
	}
	return st
}

func deadStatus(name, id string, d record.DeadLetter) DeliveryStatus {
	m := missOf(id, d)
	return DeliveryStatus{
		Subscription: name, ID: id, State: Dead, Resource: m.Lane, Lineage: m.Lineage, Revision: m.Revision,
		Urgent: string(d.Headers[headerPriority]) == urgent, Attempts: d.Attempts, Time: d.Time, Code: d.Reason, Detail: d.Detail,
		Partition: d.Partition, Offset: d.Offset, Size: int64(len(d.Value)),
	}
}

// Delivery is one delivery with its event. The event is nil where its bytes are not
// there: a delivery settled meanwhile, or a dead letter that stands for a gap.
func (e *Engine) Delivery(ctx context.Context, subscription, id string) (DeliveryStatus, *delivery.Event, error) {
	s := e.find(subscription)
	if s == nil {
		return DeliveryStatus{}, nil, fmt.Errorf("subscription %q: %w", subscription, ErrUnknown)
	}
	s.mu.Lock()
	held, ok := s.machine.Delivery(id)
	ev := s.machine.Event(id)
	s.mu.Unlock()
	if ok {
		if ev == nil {
			parked, err := readParked(ctx, e.records, subscription, id)
			if err != nil && !errors.Is(err, errNotParked) {
				return DeliveryStatus{}, nil, err
			}
			ev = parked
		}
		return heldStatus(subscription, held), ev, nil
	}
	r, err := e.records.Read(ctx, record.DeadLetters, deadID(subscription, id))
	if err != nil {
		return DeliveryStatus{}, nil, fmt.Errorf("read dead letter: %w", err)
	}
	if r.Version == 0 {
		return DeliveryStatus{}, nil, fmt.Errorf("delivery %q of %s: %w; it may have been delivered", id, subscription, ErrUnknown)
	}
	var d record.DeadLetter
	if err := json.Unmarshal(r.Value, &d); err != nil {
		return DeliveryStatus{}, nil, fmt.Errorf("dead letter %s: %w", r.Key, err)
	}
	st := deadStatus(subscription, id, d)
	if d.Headers[headerID] == nil {
		return st, nil, nil
	}
	event, err := deadEvent(d)
	return st, &event, err
}

// States are the states that a delivery can be asked for by.
func States() []string {
	return []string{string(lane.Ready), string(lane.InFlight), string(lane.Waiting), string(lane.Behind), string(lane.Dying), Dead}
}
