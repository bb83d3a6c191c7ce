//go:build real

package real

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fresnel-search/fresnel/test/harness"
	"github.com/fresnel-search/fresnel/test/oracle"
)

func TestBrokersThatAreKilledOrHangLoseNothing(t *testing.T) { // F3
	each(t, func(t *testing.T, seed uint64) {
		w := newWorld(t, engines(t), seed, 2)
		lab := harness.SharedLab(t)
		broker := func() string { return strconv.Itoa(1 + w.random.IntN(3)) }
		w.pass(2 * time.Second)
		w.fault("the leaders of all partitions move", func() {
			for _, topic := range []string{"fresnel.mutations", "fresnel.changes", lifeTopics[0]} {
				if err := harness.Move(t.Context(), w.servers[0].Kafka, topic, -1); err != nil {
					t.Errorf("move %s: %v", topic, err)
				}
			}
		})
		b := broker()
		w.fault("broker "+b+" is killed", func() {
			lab.Run(t, nil, "kafka.sh", "kill9", b)
			w.pass(w.between(3*time.Second, 12*time.Second))
			lab.Run(t, nil, "kafka.sh", "restart", b)
		})
		b = broker()
		w.fault("broker "+b+" hangs", func() {
			before := w.changes.Count()
			lab.Run(t, nil, "kafka.sh", "pause", b)
			defer lab.Run(t, nil, "kafka.sh", "resume", b)
			w.pass(hang)
			if n := w.changes.Count() - before; n < 5**rate {
				t.Errorf("%d changes in %s with one of three brokers hanging: nobody went round it", n, hang)
			}
		})
		w.check()
	})
}

// setBack has both groups read again, from their beginning and from an old point: no
// change may come of that.
func (w *world) setBack() {
	w.Helper()
	for name, part := range map[string]float64{"its beginning": 0, "an old point": w.random.Float64()} {
		w.fault("both groups are set back to "+name, func() {
			w.rest()
			_, ids := oracle.Firsts(w.T, w.changes.Entries())
			for _, s := range w.servers {
				s.Kill()
			}
			skipped := w.rewind(part)
			for _, s := range w.servers {
				s.Start()
			}
			w.skipped = skipped
			w.rest()
			if _, now := oracle.Firsts(w.T, w.changes.Entries()); len(now) != len(ids) {
				w.Errorf("set back to %s, %d changes became %d", name, len(ids), len(now))
			}
		})
	}
}

// rewind sets both groups back to a part of what they have read, without their
// tallies, and returns how many records each step will not see again.
func (w *world) rewind(part float64) map[string]int64 {
	w.Helper()
	skipped := map[string]int64{}
	for role, group := range map[string]string{"listener": "fresnel-listener", "indexer": "fresnel-indexer"} {
		topics := w.topics
		if role == "indexer" {
			topics = []string{"fresnel.mutations"}
		}
		harness.Eventually(w.T, "group "+group+" is set back", func() error {
			n, err := commitBack(w.cl, group, part, topics)
			skipped[role] = n
			return err
		})
	}
	return skipped
}

// commitBack commits, for a group without members, a part of each partition's end, and
// returns the sum of what lies below.
func commitBack(cl *kgo.Client, group string, part float64, topics []string) (sum int64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = group, -1
	for _, topic := range topics {
		ends, err := harness.EndOf(ctx, cl, topic)
		if err != nil {
			return 0, err
		}
		rt := kmsg.NewOffsetCommitRequestTopic()
		rt.Topic = topic
		for p, end := range ends {
			rp := kmsg.NewOffsetCommitRequestTopicPartition()
			rp.Partition, rp.Offset = p, int64(float64(end)*part)
			sum += rp.Offset
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return 0, err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			err = errors.Join(err, kerr.ErrorForCode(p.ErrorCode))
		}
	}
	return sum, err
}

// makeAnew deletes a topic of the services and the log of mutations, each after it was
// read, and creates them again: time must not turn back.
func (w *world) makeAnew() {
	w.Helper()
	for _, topic := range []string{lifeTopics[0], "fresnel.mutations"} {
		w.rest()
		w.fault("topic "+topic+" is deleted and made anew", func() {
			w.remake(topic)
			if topic == "fresnel.mutations" {
				w.history.Mutations = w.mutations.Entries()
				w.mutations = harness.NewTail(w.T, w.servers[0].Kafka, topic)
			}
		})
		w.run(*rate)
		w.pass(3 * time.Second)
	}
}

// remake deletes a topic and creates it with as many partitions.
func (w *world) remake(topic string) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 30*time.Second)
	defer cancel()
	req := kmsg.NewPtrDeleteTopicsRequest()
	rt := kmsg.NewDeleteTopicsRequestTopic()
	rt.Topic = &topic
	req.Topics, req.TopicNames, req.TimeoutMillis = append(req.Topics, rt), []string{topic}, 15_000
	resp, err := req.RequestWith(ctx, w.cl)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		w.Fatalf("delete %s: %v", topic, err)
	}
	w.cl.PurgeTopicsFromClient(topic)
	harness.Eventually(w.T, topic+" is there again", func() error {
		if err := createTopics(w.cl, topic); err != nil {
			return err
		}
		ends, err := harness.EndOf(ctx, w.cl, topic)
		if err == nil && len(ends) != partitions {
			err = fmt.Errorf("%d partitions", len(ends))
		}
		return err
	})
}
