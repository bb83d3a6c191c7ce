package publishers

import (
	"context"
	"errors"

	"github.com/fresnel-search/fresnel/listener/stream"
)

// maxAhead bounds the resources that a reader remembers while it looks ahead. Of those
// beyond it every state is delivered.
const maxAhead = 200_000

// ahead is what a subscription that wants the latest states only knows of the stretch
// of the log that lies before it. It looks through that first, up to where the log
// then ends: so a state to which there is a later one is passed by, and is passed by
// again after a crash, however much was delivered before.
type ahead struct {
	at, end int64 // looked through up to here, of the stretch that ends there
	recent  *recent
	last    map[string]state // by lane
}

// state is the last state of a resource in the stretch.
type state struct {
	offset   int64
	id       string
	lineage  string
	revision int64
}

// lookAhead looks through the log from where the subscription stands to its end, a
// turn at a time. errTurn says that it is not through.
func (c *catchUp) lookAhead(ctx context.Context, next, end int64) error {
	if c.ahead == nil || next >= c.ahead.end {
		c.ahead = &ahead{at: next, end: end, recent: newRecent(), last: map[string]state{}}
	}
	a := c.ahead
	if a.at >= a.end {
		return nil
	}
	batches := 0
	err := c.e.read.log.Read(ctx, c.h.partition, a.at, func(b stream.Batch) error {
		for i := range b.Records {
			a.add(c.e.read.decode(ctx, &b.Records[i]), c.s)
		}
		if batches++; a.at < a.end && batches >= turnBatches {
			return errTurn
		}
		if a.at >= a.end {
			return errLooked
		}
		return nil
	})
	if errors.Is(err, errLooked) {
		return nil
	}
	if err == nil {
		return errTurn // ctx is done
	}
	return err
}

// errLooked ends a look ahead that is through.
var errLooked = errors.New("looked ahead")

// add takes note of one change. Only a first occurrence counts, and none of an older
// revision.
func (a *ahead) add(l *logged, s *subscription) {
	a.at = l.offset + 1
	if l.offset >= a.end || l.entry == nil || a.recent.repeats(l.entry) {
		return
	}
	a.recent.add(l.entry)
	c, wanted := s.wants(l)
	if !wanted || c.Revision == 0 {
		return
	}
	was, known := a.last[l.lane]
	if known && was.lineage == c.Lineage && (was.revision > c.Revision || was.id == c.ID) || !known && len(a.last) >= maxAhead {
		return
	}
	a.last[l.lane] = state{offset: l.offset, id: c.ID, lineage: c.Lineage, revision: c.Revision}
}

// passes accounts for a change to which there is a later state; false if there is
// none, or the change is no state that the subscription wants.
func (a *ahead) passes(l *logged, s *subscription) bool {
	if a == nil || l.offset >= a.last[l.lane].offset {
		return false
	}
	c, wanted := s.wants(l)
	if !wanted || c.Revision == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.offset >= s.machine.Next(l.partition) && !s.fenced {
		s.machine.Supersede(l.partition, l.offset, l.id)
		s.seen(l)
		s.saver.wake(false)
	}
	return true
}
