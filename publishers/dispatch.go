package publishers

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/lane"
)

const (
	maxBatch = 100
	// maxBatchBytes bounds the deliveries handed to a plugin in one call.
	maxBatchBytes = 1 << 20
	// maxHeavy and maxCalls bound the calls in flight to one destination. A call of
	// which only a few slow deliveries are outstanding is not heavy, so that those do
	// not hold up the others.
	maxHeavy, maxCalls = 4, 16
	heavyFrom          = 8
	// margin is what a call may take longer than its attempts.
	margin = 500 * time.Millisecond
)

// dispatch hands out what the machine wants to send, as soon as it may, until ctx is
// done; then it waits for the calls in flight. calls ends those.
func (s *subscription) dispatch(ctx, calls context.Context, e *Engine) {
	var running sync.WaitGroup
	defer running.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		for {
			c := s.pick()
			if c == nil {
				break
			}
			running.Go(func() { c.run(calls, e) })
		}
		timer.Stop()
		if at, ok := s.wakeAt(); ok {
			timer.Reset(time.Until(at))
		}
		select {
		case <-s.kick:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// wakeAt is when the machine has something to send by itself.
func (s *subscription) wakeAt() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.machine.Wake()
	return at, ok && !s.fenced && !s.busy()
}

// busy reports whether no further call may start now. mu is held.
func (s *subscription) busy() bool { return s.heavy >= maxHeavy || s.calls >= maxCalls }

func (s *subscription) pick() *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fenced || s.busy() {
		return nil
	}
	sends := s.machine.Pick(time.Now(), maxBatch, maxBatchBytes)
	if s.machine.Dirty() { // some have expired
		s.saver.wake(true)
	}
	if len(sends) == 0 {
		return nil
	}
	c := &call{s: s, sends: sends, left: make(map[string]bool, len(sends)), heavy: len(sends) >= heavyFrom}
	for _, d := range sends {
		c.left[d.ID] = true
	}
	s.calls++
	if c.heavy {
		s.heavy++
	}
	return c
}

// call is one call of the plugin. What it has not answered for is in left, guarded
// by the subscription's mu.
type call struct {
	s     *subscription
	sends []lane.Send
	left  map[string]bool
	heavy bool
}

func (c *call) run(ctx context.Context, e *Engine) {
	ds, err := c.load(ctx, e)
	if err == nil && !e.valid() {
		err = errors.Join(delivery.ErrUnavailable, errInvalid)
	}
	if err == nil && len(ds) > 0 {
		timeout := c.s.timeout + margin
		ctx, cancel := context.WithTimeoutCause(ctx, timeout, errors.New("attempt timed out"))
		err = c.s.plugin.Publish(ctx, c.s.to, ds, c.ack)
		cancel()
	}
	c.end(err)
}

// load makes deliveries of what is to be sent and reads from the store what was
// parked there. The error says that the store did not answer.
func (c *call) load(ctx context.Context, e *Engine) ([]delivery.Delivery, error) {
	ds := make([]delivery.Delivery, 0, len(c.sends))
	for _, d := range c.sends {
		ev := d.Event
		if ev == nil {
			parked, err := readParked(ctx, e.records, c.s.config.Name, d.ID)
			switch {
			case errors.Is(err, errNotParked):
				c.ack(delivery.Outcome{ID: d.ID, Kind: delivery.Rejected, Code: "record_lost", Message: err.Error()})
				continue
			case err != nil:
				c.s.log.Warn("parked delivery not read", "err", err)
				return nil, errors.Join(delivery.ErrUnavailable, err)
			}
			ev = parked
		}
		ds = append(ds, delivery.Delivery{ID: d.ID, Attempt: d.Attempt, Expires: d.Expires, Event: naming(*ev, d)})
	}
	return ds, nil
}

// ack passes one outcome on.
func (c *call) ack(o delivery.Outcome) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.left[o.ID] {
		return
	}
	delete(c.left, o.ID)
	if c.heavy && len(c.left) < heavyFrom {
		c.heavy = false
		s.heavy--
	}
	s.settle(o)
}

// settle tells the machine an outcome. mu is held.
func (s *subscription) settle(o delivery.Outcome) {
	now := time.Now()
	s.metrics.attempt(o)
	if o.Kind != delivery.Delivered && o.Kind != delivery.Deferred {
		s.last = attempt{at: now, code: o.Code, detail: o.Message}
	}
	was := s.condition()
	s.machine.Ack(now, o)
	s.changed()
	if is := s.condition(); is != was {
		s.log.Warn("subscription changed state", "state", is, "before", was, "code", o.Code, "detail", o.Message)
	}
}

// end closes the call and settles what it left open: nothing is known of it, unless
// the plugin says that no attempt was made.
func (c *call) end(err error) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls--
	if c.heavy {
		s.heavy--
	}
	if err != nil {
		s.log.Debug("publisher call broke", "err", err, "count", len(c.left))
	}
	var none []string
	for _, d := range c.sends {
		switch {
		case !c.left[d.ID]:
		case errors.Is(err, delivery.ErrUnavailable):
			none = append(none, d.ID)
		default:
			s.settle(delivery.Outcome{ID: d.ID, Kind: delivery.Unknown, Code: "no_answer", Message: text(err)})
		}
	}
	if len(none) > 0 {
		s.metrics.unavailable(len(none))
		s.last = attempt{at: time.Now(), code: "publisher_unavailable", detail: text(err)}
		s.machine.Unavailable(time.Now(), none)
	}
	s.changed()
}

// text is an error fit for a record: plugins have a say in it.
func text(err error) string {
	if err == nil {
		return "the publisher did not answer for the delivery"
	}
	const longest = 512
	s := err.Error()
	return strings.ToValidUTF8(s[:min(len(s), longest)], "�")
}
