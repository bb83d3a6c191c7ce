package kafka

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/listener/stream"
)

// GroupStatus is what a group is doing.
type GroupStatus struct {
	Running    bool // Consume runs
	Idle       bool // none of its topics is there, or may be seen by this user
	Topics     []string
	Partitions []PartitionStatus // assigned to this process
	// Behind tells by topic how far the whole group is behind, other processes
	// included.
	Behind []TopicStatus
	// Err is why this process has had no say in the group for longer than
	// session_timeout, or nil. A cluster that loses a broker is silent for less.
	Err error
	// Stuck names the partitions of this process that have not moved for stuck_after
	// although records wait, and why; nil if there are none. Lag alone is no fault.
	Stuck error

	lags map[stream.Partition]int64 // all members'
}

// TopicStatus is how far a group is behind in one topic.
type TopicStatus struct {
	Topic string
	Lag   int64 // records not handled, by all members, as far as known
	// Oldest is the time of the oldest record that this process has yet to handle;
	// zero if none waits in its partitions.
	Oldest time.Time
}

// Lags says in words how far the group is behind, "" if it is not.
func (s GroupStatus) Lags(now time.Time) string {
	var out []string
	for _, t := range s.Behind {
		if t.Lag == 0 {
			continue
		}
		text := fmt.Sprintf("%s %d behind", t.Topic, t.Lag)
		if !t.Oldest.IsZero() {
			text += fmt.Sprintf(", oldest %s ago", max(0, now.Sub(t.Oldest)).Round(time.Second))
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

// PartitionStatus is one assigned partition.
type PartitionStatus struct {
	stream.Partition
	Next      int64 // the first offset not handled
	HighWater int64 // as far as known
	Held      bool
	Err       error // why the batch at hand is being tried again
	// Oldest is the time of the oldest record not handled; if that record could not
	// be read yet, when it was first known to be there. Zero if none waits.
	Oldest time.Time
	// Since is since when the partition has not moved although records wait; zero if
	// none waits.
	Since time.Time
}

// Lag is how many records are not handled, as far as known.
func (p PartitionStatus) Lag() int64 { return max(0, p.HighWater-p.Next) }

// Status returns what a group is doing. A group that runs without topics waits for
// one to appear.
func (c *Client) Status(groupID string) GroupStatus {
	c.mu.Lock()
	g, found := c.groups[groupID]
	c.mu.Unlock()
	if !found {
		return GroupStatus{}
	}
	return g.status(time.Now())
}

func (g *group) status(now time.Time) GroupStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := GroupStatus{Running: true, Idle: g.idle, Topics: slices.Sorted(maps.Keys(g.topics))}
	lags := maps.Clone(g.lags)
	if lags == nil {
		lags = map[stream.Partition]int64{}
	}
	oldest := map[string]time.Time{}
	var stuck []error
	for _, w := range g.workers {
		p := w.status()
		s.Partitions = append(s.Partitions, p)
		lags[p.Partition] = p.Lag()
		if o := oldest[p.Topic]; !p.Oldest.IsZero() && (o.IsZero() || p.Oldest.Before(o)) {
			oldest[p.Topic] = p.Oldest
		}
		if !p.Since.IsZero() && now.Sub(p.Since) > g.c.cfg.StuckAfter {
			stuck = append(stuck, p.stuck(now))
		}
	}
	slices.SortFunc(s.Partitions, func(a, b PartitionStatus) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.ID, b.ID))
	})
	s.lags = lags
	s.Behind = behind(s.Topics, lags, oldest)
	s.Stuck = errors.Join(stuck...)
	if g.outside.err != nil && now.Sub(g.outside.since) > g.c.cfg.SessionTimeout {
		s.Err = fmt.Errorf("no say in consumer group %s for %s: %w", g.cfg.Group, now.Sub(g.outside.since).Round(time.Second), g.outside.err)
	}
	return s
}

func behind(topics []string, lags map[stream.Partition]int64, oldest map[string]time.Time) []TopicStatus {
	sums := map[string]int64{}
	for p, n := range lags {
		sums[p.Topic] += n
	}
	out := make([]TopicStatus, 0, len(topics))
	for _, t := range topics {
		out = append(out, TopicStatus{Topic: t, Lag: sums[t], Oldest: oldest[t]})
	}
	return out
}

func (p PartitionStatus) stuck(now time.Time) error {
	why := errors.New("no records come from its broker")
	switch {
	case p.Err != nil:
		why = p.Err
	case p.Held:
		why = errors.New("held back")
	case !p.Oldest.IsZero() && p.Oldest.Before(p.Since):
		why = errors.New("a batch is being handled")
	}
	return fmt.Errorf("%s/%d stands at offset %d for %s, %d behind: %w",
		p.Topic, p.ID, p.Next, now.Sub(p.Since).Round(time.Second), p.Lag(), why)
}

func (w *worker) status() PartitionStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := PartitionStatus{Partition: w.partition, Next: w.next, HighWater: w.high, Held: !w.heldSince.IsZero(), Err: w.trial}
	var head time.Time
	if w.feed != nil {
		head = w.feed.head()
	}
	switch {
	case !w.took.IsZero():
		p.Oldest, p.Since = w.oldest, w.took
	case !head.IsZero():
		p.Oldest, p.Since = head, w.heldSince
	default:
		p.Oldest, p.Since = w.unread, w.unread
	}
	return p
}

// everywhere is the status of every group that runs here.
func (c *Client) everywhere() map[string]GroupStatus {
	c.mu.Lock()
	groups := maps.Clone(c.groups)
	c.mu.Unlock()
	out := map[string]GroupStatus{}
	for id, g := range groups {
		out[id] = g.status(time.Now())
	}
	return out
}
