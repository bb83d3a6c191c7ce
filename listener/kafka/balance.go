package kafka

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/segmentio/kafka-go"
)

// balancer shares partitions out among a group's members: as evenly as possible over
// all topics together (kafka-go's own begin with the same member for each topic), and
// to a member in the rack of the partition's leader where that costs no evenness. All
// members reckon alike, whoever leads.
type balancer struct {
	rack string

	mu   sync.Mutex
	seen map[string]int // partitions by topic that were last shared out here
}

var _ kafka.GroupBalancer = (*balancer)(nil)

// ProtocolName implements kafka.GroupBalancer.
func (*balancer) ProtocolName() string { return "fresnel" }

// UserData implements kafka.GroupBalancer: it is the member's rack.
func (b *balancer) UserData() ([]byte, error) { return []byte(b.rack), nil }

// AssignGroups implements kafka.GroupBalancer.
func (b *balancer) AssignGroups(members []kafka.GroupMember, partitions []kafka.Partition) kafka.GroupMemberAssignments {
	b.note(partitions)
	members, partitions = slices.Clone(members), slices.Clone(partitions)
	slices.SortFunc(members, func(x, y kafka.GroupMember) int { return cmp.Compare(x.ID, y.ID) })
	slices.SortFunc(partitions, func(x, y kafka.Partition) int {
		return cmp.Or(cmp.Compare(x.Topic, y.Topic), cmp.Compare(x.ID, y.ID))
	})
	out := kafka.GroupMemberAssignments{}
	for _, m := range members {
		out[m.ID] = map[string][]int{}
	}
	if len(members) == 0 {
		return out
	}
	s := sharing{members: members, out: out, load: map[string]int{}}
	fair := (len(partitions) + len(members) - 1) / len(members)
	partitions = slices.DeleteFunc(partitions, func(p kafka.Partition) bool {
		return p.Leader.Rack != "" && s.give(p, func(m kafka.GroupMember) bool {
			return string(m.UserData) == p.Leader.Rack && s.load[m.ID] < fair
		})
	})
	for _, p := range partitions {
		s.give(p, func(kafka.GroupMember) bool { return true })
	}
	return out
}

type sharing struct {
	members []kafka.GroupMember
	out     kafka.GroupMemberAssignments
	load    map[string]int
}

// give hands a partition to the least loaded of the members that will do.
func (s *sharing) give(p kafka.Partition, ok func(kafka.GroupMember) bool) bool {
	best := -1
	for i, m := range s.members {
		if slices.Contains(m.Topics, p.Topic) && ok(m) && (best < 0 || s.load[m.ID] < s.load[s.members[best].ID]) {
			best = i
		}
	}
	if best < 0 {
		return false
	}
	id := s.members[best].ID
	s.out[id][p.Topic] = append(s.out[id][p.Topic], p.ID)
	s.load[id]++
	return true
}

func (b *balancer) note(partitions []kafka.Partition) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen = map[string]int{}
	for _, p := range partitions {
		b.seen[p.Topic]++
	}
}

// short reports whether this member, as the leader, last shared out less than was
// joined for: the broker that it asked did not know a new topic yet. It forgets.
func (b *balancer) short(joined map[string]listed) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen := b.seen
	b.seen = nil
	if seen == nil {
		return false
	}
	for topic := range maps.Keys(joined) {
		if seen[topic] < joined[topic].partitions {
			return true
		}
	}
	return false
}
