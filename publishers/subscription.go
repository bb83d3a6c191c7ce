package publishers

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/lane"
)

// subscription is one subscription at work: its machine, and the goroutines that
// wait for it. Every call of the machine is made with mu held, for as long as the
// call takes and no longer.
type subscription struct {
	config   Subscription
	audience audience
	to       delivery.Destination
	plugin   Plugin
	project  Project
	metrics  *pluginMetrics
	log      *slog.Logger
	saver    *saver

	kick chan struct{} // wakes the dispatcher

	mu      sync.Mutex
	machine *lane.Machine
	room    chan struct{} // closed when readers that wait for room may go on; nil if none waits
	calls   int           // of the plugin, running
	heavy   int           // of them, those with many deliveries outstanding
	gaps    int64
	behind  int // partitions that it reads for itself
	fenced  bool
	last    attempt // the last that did not succeed, for Status

	// Only the saver uses these, or open before it runs.
	saved   []byte // the state record as it is stored
	version int64
	created time.Time
	unsaved []lane.Write // handed out by the machine, not durable yet
}

type attempt struct {
	at           time.Time
	code, detail string
}

// changed wakes whoever may have to act after the machine was told something. mu is
// held.
func (s *subscription) changed() {
	wake(s.kick)
	s.saver.wake(s.machine.Dirty())
	if s.room != nil && s.machine.Drained() {
		close(s.room)
		s.room = nil
	}
}

// wake makes the receiver of a channel of capacity one look again.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// offer gives the subscription a change, wanted or not. It answers false if there is
// no room now: the change was not taken and comes again. It never waits.
func (s *subscription) offer(l *logged) bool {
	c, wanted := s.wants(l)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case l.offset < s.machine.Next(l.partition):
		return true
	case s.fenced || !s.machine.Room():
		return false
	case !wanted:
		s.machine.Pass(l.partition, l.offset, l.id)
		s.saver.wake(false)
		return true
	}
	s.machine.Take(c)
	s.changed()
	return true
}

// wants projects the change for the subscription's audience and applies its filter
// to that.
func (s *subscription) wants(l *logged) (lane.Change, bool) {
	if l.entry == nil || l.repeat || !s.config.Filter.WantsType(l.entry.Ref.Type) {
		return lane.Change{}, false
	}
	v, err := l.view(s.project, s.audience)
	if err != nil {
		s.log.Error("change cannot be encoded", "err", err, "partition", l.partition, "offset", l.offset)
		return lane.Change{}, false
	}
	if v.event == nil || !s.config.Filter.Match(v.change) {
		return lane.Change{}, false
	}
	return lane.Change{ID: v.event.ID, Lane: l.lane, Partition: l.partition, Offset: l.offset, Event: *v.event}, true
}

// next is the offset that the subscription reads next.
func (s *subscription) next(partition int) (offset int64, lastID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.machine.Position(partition)
}

// waitRoom waits until there is room for a good while, at most d if d is not 0.
func (s *subscription) waitRoom(ctx context.Context, d time.Duration) bool {
	s.mu.Lock()
	if s.machine.Drained() && !s.fenced {
		s.mu.Unlock()
		return true
	}
	if s.room == nil {
		s.room = make(chan struct{})
	}
	room := s.room
	s.mu.Unlock()
	var timeout <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timeout = t.C
	}
	select {
	case <-room:
		return true
	case <-timeout:
		return false
	case <-ctx.Done():
		return false
	}
}

// jump moves on in the log after a gap that is accounted for.
func (s *subscription) jump(p stream.Partition, to int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.machine.Jump(p.ID, to)
	s.gaps++
	s.changed()
}

// countBehind notes that the subscription reads one partition more, or less, for
// itself.
func (s *subscription) countBehind(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behind += n
}

// rest gets it ready for a last save.
func (s *subscription) rest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.fenced {
		s.machine.Rest()
	}
}

// dirty reports whether there is more to save.
func (s *subscription) dirty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.fenced && s.machine.Dirty()
}

// fence stops a subscription whose state another process has written.
func (s *subscription) fence() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.fenced {
		s.fenced = true
		s.log.Error("subscription is served by another process; stopped here")
	}
}
