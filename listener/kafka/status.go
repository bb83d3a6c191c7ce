package kafka

import (
	"cmp"
	"slices"

	"github.com/fresnel-search/fresnel/listener/stream"
)

// GroupStatus is what a group is doing in this process.
type GroupStatus struct {
	Running    bool // Consume runs
	Topics     []string
	Partitions []PartitionStatus // assigned to this process
}

// PartitionStatus is one assigned partition.
type PartitionStatus struct {
	stream.Partition
	Next      int64 // the first offset not handled
	HighWater int64 // as far as known from the last fetch
	Held      bool
	Err       error // why the batch at hand is being tried again
}

// Lag is how many records are not handled, as far as known.
func (p PartitionStatus) Lag() int64 { return max(0, p.HighWater-p.Next) }

// Status returns what a group is doing in this process. A group that runs without
// topics waits for one to appear.
func (c *Client) Status(groupID string) GroupStatus {
	c.mu.Lock()
	g, found := c.groups[groupID]
	c.mu.Unlock()
	if !found {
		return GroupStatus{}
	}
	return g.status()
}

func (g *group) status() GroupStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := GroupStatus{Running: true}
	for t := range g.topics {
		s.Topics = append(s.Topics, t)
	}
	slices.Sort(s.Topics)
	for _, w := range g.workers {
		s.Partitions = append(s.Partitions, w.status())
	}
	slices.SortFunc(s.Partitions, func(a, b PartitionStatus) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.ID, b.ID))
	})
	return s
}

func (w *worker) status() PartitionStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	return PartitionStatus{Partition: w.partition, Next: w.next, HighWater: w.high, Held: w.held, Err: w.trial}
}

// heldLag sums the lag of all partitions assigned to this process.
func (c *Client) heldLag() float64 {
	c.mu.Lock()
	groups := make([]*group, 0, len(c.groups))
	for _, g := range c.groups {
		groups = append(groups, g)
	}
	c.mu.Unlock()
	var sum int64
	for _, g := range groups {
		for _, p := range g.status().Partitions {
			sum += p.Lag()
		}
	}
	return float64(sum)
}
