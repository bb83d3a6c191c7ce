package kafka

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
)

func members(topics []string, racks ...string) (ms []kafka.GroupMember) {
	for i, r := range racks {
		ms = append(ms, kafka.GroupMember{ID: string(rune('a' + i)), Topics: topics, UserData: []byte(r)})
	}
	return ms
}

func partitions(topic string, leaders ...string) (ps []kafka.Partition) {
	for i, r := range leaders {
		ps = append(ps, kafka.Partition{Topic: topic, ID: i, Leader: kafka.Broker{Rack: r}})
	}
	return ps
}

func TestPartitionsAreSharedOutEvenlyOverAllTopics(t *testing.T) {
	t.Parallel()
	all := append(append(partitions("n.error", ""), partitions("n.info", "")...), partitions("n.warn", "", "")...)
	got := (&balancer{}).AssignGroups(members([]string{"n.error", "n.info", "n.warn"}, "", ""), all)
	want := kafka.GroupMemberAssignments{
		"a": {"n.error": {0}, "n.warn": {0}},
		"b": {"n.info": {0}, "n.warn": {1}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("assignments (-want +got):\n%s", d)
	}
}

func TestPartitionsGoToTheRackOfTheirLeadersIfThatIsFair(t *testing.T) {
	t.Parallel()
	b := &balancer{rack: "r1"}
	got := b.AssignGroups(members([]string{"t"}, "r1", "r2", ""), partitions("t", "r2", "r1", "r2", "r2", "r1", "r9"))
	want := kafka.GroupMemberAssignments{"a": {"t": {1, 4}}, "b": {"t": {0, 2}}, "c": {"t": {3, 5}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("assignments (-want +got):\n%s", d)
	}
}

func TestAMemberGetsOnlyTopicsThatItJoinedFor(t *testing.T) {
	t.Parallel()
	ms := append(members([]string{"old"}, ""), kafka.GroupMember{ID: "z", Topics: []string{"old", "new"}})
	got := (&balancer{}).AssignGroups(ms, append(partitions("new", "", ""), partitions("old", "", "")...))
	if len(got["a"]["new"]) > 0 || len(got["z"]["new"]) != 2 || len(got["a"]["old"]) != 2 {
		t.Errorf("assignments = %v", got)
	}
}

func TestALeaderThatSharedOutTooLittleNoticesOnce(t *testing.T) {
	t.Parallel()
	b := &balancer{}
	joined := map[string]listed{"t": {partitions: 2}}
	if b.short(joined) {
		t.Error("a member that leads nothing found too little")
	}
	b.AssignGroups(members([]string{"t"}, ""), partitions("t", ""))
	if !b.short(joined) || b.short(joined) {
		t.Error("one of two partitions shared out: want noticed, and once")
	}
	b.AssignGroups(members([]string{"t"}, ""), partitions("t", "", ""))
	if b.short(joined) {
		t.Error("both were shared out")
	}
}
