package publishers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fresnel-search/fresnel/indexer/changelog"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// reading is what all readers of the change log share.
type reading struct {
	log     stream.Log
	spoiled func(context.Context, *stream.Record, error)
}

// decode reads a record. One that is no entry is accounted for and passed by.
func (r *reading) decode(ctx context.Context, rec *stream.Record) *logged {
	l := &logged{partition: rec.Partition, offset: rec.Offset, time: rec.Time, lane: string(rec.Key)}
	e, err := changelog.Decode(rec.Value)
	if err != nil {
		r.spoiled(ctx, rec, err)
		return l
	}
	l.id, l.entry, l.lane = e.ID, e, e.Ref.Key()
	return l
}

// Reasons to stop reading that are no failures.
var (
	errJoined = errors.New("reached the head")
	errNoRoom = errors.New("no room")
	errTurn   = errors.New("another reader's turn")
	errGap    = errors.New("changes are missing")
)

const (
	// maxReaders is how many subscriptions' partitions are read beside the heads at a
	// time, turnBatches how many batches one reads before another's turn.
	maxReaders  = 4
	turnBatches = 32
	// roomWait is how long a reader keeps its turn without room.
	roomWait = 250 * time.Millisecond
)

// catchUp reads one partition for one subscription that is behind, until it has
// reached the head.
type catchUp struct {
	e      *Engine
	s      *subscription
	h      *head
	recent *recent
	looked bool // it has looked back and found the log that it knew
	ahead  *ahead
}

// run reads until the subscription has joined the head or ctx is done.
func (c *catchUp) run(ctx context.Context) {
	c.s.countBehind(1)
	defer c.s.countBehind(-1)
	select {
	case <-c.h.primed:
	case <-ctx.Done():
		return
	}
	if c.s.config.live() {
		c.h.enter(c.s)
		return
	}
	for wait := retryMin; ctx.Err() == nil; {
		if c.h.join(c.s, c.looked) {
			return
		}
		if !c.s.waitRoom(ctx, 0) {
			return
		}
		err := c.turn(ctx)
		switch {
		case ctx.Err() != nil || errors.Is(err, errJoined):
			return
		case errors.Is(err, errNoRoom) || errors.Is(err, errTurn) || errors.Is(err, errGap):
			wait = retryMin
			continue
		}
		c.s.log.Warn("change log not read", "err", err, "partition", c.h.partition.ID, "wait", wait)
		pause(ctx, wait)
		wait = min(2*wait, retryMax)
	}
}

// turn waits for its turn and reads for a while.
func (c *catchUp) turn(ctx context.Context) error {
	select {
	case c.e.readers <- struct{}{}:
		defer func() { <-c.e.readers }()
	case <-ctx.Done():
		return nil
	}
	p := c.h.partition
	next, id := c.s.next(p.ID)
	first, end, err := c.e.read.log.Bounds(ctx, p)
	switch {
	case err != nil:
		return err
	case next < first:
		return c.gap(ctx, gap{from: next, to: first, why: "the log had dropped them"})
	case next > end:
		return c.gap(ctx, gap{from: next, to: first, why: fmt.Sprintf("the log ends at %d: it is another log", end)})
	}
	if c.s.config.latest() {
		if err := c.lookAhead(ctx, next, end); err != nil {
			return err
		}
	}
	from := next
	if !c.looked {
		c.recent = newRecent()
		from = max(first, next-lookback)
	}
	batches := 0
	return c.e.read.log.Read(ctx, p, from, func(b stream.Batch) error {
		for i := range b.Records {
			l := c.e.read.decode(ctx, &b.Records[i])
			if l.offset == next-1 && id != "" && l.id != "" && l.id != id && !c.looked {
				return c.gap(ctx, gap{from: next, to: first, why: "there is another change before them: it is another log"})
			}
			if err := c.take(ctx, l); err != nil {
				return err
			}
		}
		c.looked = c.looked || b.Records[len(b.Records)-1].Offset >= next-1
		if batches++; c.h.join(c.s, c.looked) {
			return errJoined
		}
		if batches >= turnBatches {
			return errTurn
		}
		return nil
	})
}

// take offers one change, and waits a little if there is no room.
func (c *catchUp) take(ctx context.Context, l *logged) error {
	p := c.h.partition
	if next, _ := c.s.next(p.ID); l.offset > next {
		return c.gap(ctx, gap{from: next, to: l.offset, why: "the log has lost them"})
	}
	l.repeat = l.entry != nil && c.recent.repeats(l.entry)
	for !c.ahead.passes(l, c.s) && !c.s.offer(l) {
		if !c.s.waitRoom(ctx, roomWait) {
			return errNoRoom
		}
	}
	if l.entry != nil && !l.repeat {
		c.recent.add(l.entry)
	}
	return nil
}

// gap is a piece of the log that a subscription will never see.
type gap struct {
	from, to int64
	why      string
}

// gap accounts for what the subscription cannot read any more, and then moves on
// behind it: a record among the dead letters, a count, a line in the log. It returns
// errGap.
func (c *catchUp) gap(ctx context.Context, g gap) error {
	p := c.h.partition
	name := c.s.config.Name
	rec, err := deadRecord(record.DeadLetter{
		ID:   deadID(name, fmt.Sprintf("gap-%d-%d-%d", p.ID, g.from, g.to)),
		Kind: record.DeadDelivery, Reason: "gap", Time: time.Now().UTC(),
		Detail: fmt.Sprintf("changes from offset %d were not seen, the next is %d: %s", g.from, g.to, g.why),
		Topic:  p.Topic, Partition: p.ID, Offset: g.from, Subscription: name,
	})
	if err != nil {
		return err
	}
	if err := saveOne(ctx, c.e.records, rec); err != nil {
		return fmt.Errorf("record the gap: %w", err)
	}
	c.e.metrics.gaps.Inc()
	c.s.log.Error("changes are missing from the change log", "partition", p.ID, "offset", g.from, "next", g.to, "err", g.why)
	c.s.jump(p, g.to)
	return errGap
}

// saveOne saves a record on its own.
func saveOne(ctx context.Context, records record.Store, rec record.Record) error {
	saved, err := records.Save(ctx, []record.Record{rec})
	if err != nil {
		return err
	}
	return saved[0].Err
}
