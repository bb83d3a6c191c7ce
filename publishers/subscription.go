package publishers

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/filter"
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
	timeout  time.Duration // of one attempt
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
	last    attempt           // the last that did not succeed, for Status
	times   map[int]time.Time // by partition: when the last change offered was put into the log
	asked   int64             // changes of the state that somebody waits for
	kept    int64             // of them, durable
	keeping chan struct{}     // closed when kept grows; nil if nobody waits

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
	switch live := s.config.live(); {
	case l.offset < s.machine.Next(l.partition):
		return true
	case live && s.fenced:
		return true
	case !live && (s.fenced || !s.machine.Room()):
		return false
	}
	s.seen(l)
	if !wanted {
		s.machine.Pass(l.partition, l.offset, l.id)
		s.saver.wake(false)
		return true
	}
	s.machine.Take(c)
	s.changed()
	if s.config.live() {
		s.saver.wake(false) // it may have been dropped
	}
	return true
}

// seen notes how old the log is where the subscription stands. mu is held.
func (s *subscription) seen(l *logged) { s.times[l.partition] = l.time }

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
	c := lane.Change{
		ID: v.event.ID, Lane: l.lane, Partition: l.partition, Offset: l.offset, Event: *v.event,
		Urgent: filter.Urgent(v.change.Cause.Priority), At: l.time,
	}
	if v.change.Action != change.Event {
		c.Lineage, c.Revision = v.change.Lineage, v.change.Revision
	}
	if ttl := s.config.MessageTTL; ttl > 0 {
		c.Expires = l.time.Add(ttl)
	}
	return c, true
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

// durable waits until what the machine was told before is in the store.
func (s *subscription) durable(ctx context.Context) error {
	s.mu.Lock()
	s.asked++
	want := s.asked
	s.saver.wake(false)
	for s.kept < want {
		if s.fenced {
			s.mu.Unlock()
			return ErrElsewhere
		}
		if s.keeping == nil {
			s.keeping = make(chan struct{})
		}
		keeping := s.keeping
		s.mu.Unlock()
		select {
		case <-keeping:
		case <-ctx.Done():
			return fmt.Errorf("not stored yet: %w", context.Cause(ctx))
		}
		s.mu.Lock()
	}
	s.mu.Unlock()
	return nil
}

// keep says that the state is durable that was asked for until then.
func (s *subscription) keep(asked int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = max(s.kept, asked)
	s.told()
}

// told wakes those who wait for the state to be durable. mu is held.
func (s *subscription) told() {
	if s.keeping != nil {
		close(s.keeping)
		s.keeping = nil
	}
}

// fence stops a subscription whose state another process has written.
func (s *subscription) fence() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.fenced {
		s.fenced = true
		s.told()
		s.log.Error("subscription is served by another process; stopped here")
	}
}
