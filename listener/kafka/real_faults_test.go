//go:build real

package kafka_test

import (
	"strconv"
	"testing"
	"time"

	segmentio "github.com/segmentio/kafka-go"

	"github.com/fresnel-search/fresnel/listener/kafka"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// A cluster that loses a broker is silent for 9 s until it believes it, and busy for
// some more.
const failover = 25 * time.Second

// testBrokenBrokers breaks brokers one after the other under one load that two members
// read.
func (c *realCluster) testBrokenBrokers(t *testing.T) {
	log, loud := newLoudLog()
	f := c.startFlow(t, "broken", 6)
	k1, k2 := c.client(t, log), c.client(t, log)
	consume(t, k1, named("broken", "broken"), f.handler())
	consume(t, k2, named("broken", "broken"), f.handler())
	f.flows(t, time.Minute, 10)
	phase := func(name string, limit time.Duration, breakIt func(t *testing.T)) {
		if t.Failed() { // the cluster may not be whole
			return
		}
		t.Run(name, func(t *testing.T) {
			f.pauses()
			before := len(loud.all())
			breakIt(t)
			f.flows(t, 2*time.Minute, 20)
			p, lines := f.pauses(), loud.all()[before:]
			t.Logf("longest pauses %v; %d lines of warnings", p, len(lines))
			if longest(p) > limit {
				t.Errorf("longest pauses %v, want at most %s", p, limit)
			}
			if len(lines) > 40 {
				t.Errorf("%d lines logged, the first of them: %q", len(lines), lines[:40])
			}
			for _, k := range []*kafka.Client{k1, k2} {
				if st := k.Status("broken"); st.Err != nil || st.Stuck != nil || len(st.Partitions) != 3 {
					t.Errorf("status afterwards = %+v", st)
				}
			}
		})
	}
	phase("leaders move", 10*time.Second, func(t *testing.T) { c.moveLeaders(t, "broken", 6) })
	phase("the coordinator hangs for 40s", failover, func(t *testing.T) {
		coordinator := c.coordinator(t, "broken")
		resumed := time.After(40 * time.Second)
		c.Run(t, nil, "kafka.sh", "pause", coordinator)
		t.Cleanup(func() { c.Run(t, nil, "kafka.sh", "resume", coordinator) })
		began := time.Now()
		f.flows(t, 39*time.Second, 1)
		t.Logf("all partitions are read %s after it hangs", time.Since(began).Round(100*time.Millisecond))
		<-resumed
		c.Run(t, nil, "kafka.sh", "resume", coordinator)
	})
	phase("the coordinator is killed and comes back", failover, func(t *testing.T) {
		coordinator := c.coordinator(t, "broken")
		began := time.Now()
		c.Run(t, nil, "kafka.sh", "kill9", coordinator)
		f.flows(t, 2*time.Minute, 1)
		t.Logf("all partitions are read %s after it is killed", time.Since(began).Round(100*time.Millisecond))
		c.Run(t, nil, "kafka.sh", "restart", coordinator)
	})
	f.account(t)
	if lag, err := k1.Lag(t.Context(), "broken", "broken"); err != nil || lag[stream.Partition{Topic: "broken"}] != 0 {
		t.Errorf("lag afterwards = %v, %v", lag, err)
	}
}

// coordinator is the number of the broker that coordinates a group.
func (c *realCluster) coordinator(t *testing.T, group string) string {
	t.Helper()
	res, err := c.admin.FindCoordinator(t.Context(), &segmentio.FindCoordinatorRequest{
		Addr: c.admin.Addr, Key: group, KeyType: segmentio.CoordinatorKeyTypeConsumer,
	})
	if err != nil || res.Error != nil {
		t.Fatal(err, res)
	}
	return strconv.Itoa(res.Coordinator.NodeID)
}

// moveLeaders gives every partition of a topic another leader.
func (c *realCluster) moveLeaders(t *testing.T, topic string, partitions int) {
	t.Helper()
	var meta *segmentio.MetadataResponse
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-tick.C { // a broker may hear of a topic late
		var err error
		meta, err = c.admin.Metadata(t.Context(), &segmentio.MetadataRequest{Topics: []string{topic}})
		if err == nil && len(meta.Topics) == 1 && len(meta.Topics[0].Partitions) == partitions {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("partitions of %s: %v, %+v", topic, err, meta)
		}
	}
	req := &segmentio.AlterPartitionReassignmentsRequest{Topic: topic, Timeout: 10 * time.Second}
	var ids []int
	for _, p := range meta.Topics[0].Partitions {
		var order []int
		for i := range p.Replicas {
			order = append(order, p.Replicas[(i+1)%len(p.Replicas)].ID)
		}
		req.Assignments = append(req.Assignments, segmentio.AlterPartitionReassignmentsRequestAssignment{PartitionID: p.ID, BrokerIDs: order})
		ids = append(ids, p.ID)
	}
	if res, err := c.admin.AlterPartitionReassignments(t.Context(), req); err != nil || res.Error != nil {
		t.Fatal(err, res)
	}
	res, err := c.admin.ElectLeaders(t.Context(), &segmentio.ElectLeadersRequest{Topic: topic, Partitions: ids, Timeout: 10 * time.Second})
	if err != nil || res.Error != nil {
		t.Fatal(err, res)
	}
}
