package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	segmentio "github.com/segmentio/kafka-go"

	"github.com/fresnel-search/fresnel/listener/kafka"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// gauges are the values of a metric by its labels.
func gauges(t *testing.T, reg *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			out[strings.Join(labels, " ")] = m.GetGauge().GetValue()
		}
	}
	return out
}

func TestLagAndAgeAreShownPerTopicOtherMembersIncluded(t *testing.T) {
	t.Parallel()
	addr := startBroker(t, t.TempDir()).Addr()
	reg := prometheus.NewRegistry()
	cfg := kafka.DefaultConfig()
	cfg.Brokers, cfg.HeartbeatInterval, cfg.TopicsInterval, cfg.MaxWait = []string{addr}, 100*time.Millisecond, 50*time.Millisecond, 100*time.Millisecond
	cfg.StuckAfter = 200 * time.Millisecond
	c, err := kafka.New(cfg, testLog, reg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	ensure(t, c, "a", 2)
	var stuck atomic.Bool
	stuck.Store(true)
	sick := always(func(context.Context, stream.Batch) (string, error) {
		if stuck.Load() {
			return "", errors.New("index is away")
		}
		return "", nil
	})
	consume(t, c, named("g", "a"), sick)
	consume(t, newClient(t, addr), named("g", "a"), sick)
	eventually(t, 5*time.Second, "each has one partition", func() bool { return len(c.Status("g").Partitions) == 1 })
	old := time.Now().Add(-time.Hour)
	produce(t, c, stream.Record{Topic: "a", Partition: 0, Time: old}, stream.Record{Topic: "a", Partition: 1, Time: old}, stream.Record{Topic: "a", Partition: 1})
	eventually(t, 5*time.Second, "lag of both partitions shown", func() bool {
		return gauges(t, reg, "fresnel_kafka_lag_records")["g 0 a"] == 1 && gauges(t, reg, "fresnel_kafka_lag_records")["g 1 a"] == 2
	})
	eventually(t, 5*time.Second, "age shown", func() bool { return gauges(t, reg, "fresnel_kafka_oldest_unhandled_seconds")["g a"] >= 3600 })
	eventually(t, 5*time.Second, "stuck, with reason and place", func() bool {
		st := c.Status("g")
		own := st.Partitions[0].ID
		return st.Stuck != nil && strings.Contains(st.Stuck.Error(), "index is away") &&
			strings.HasPrefix(st.Stuck.Error(), fmt.Sprintf("a/%d stands at offset 0", own))
	})
	if text := c.Status("g").Lags(time.Now()); !strings.HasPrefix(text, "a 3 behind, oldest 1h0m") {
		t.Errorf("Lags = %q", text)
	}
	stuck.Store(false)
	eventually(t, 10*time.Second, "nothing waits", func() bool {
		st := c.Status("g")
		return st.Stuck == nil && st.Lags(time.Now()) == "" && gauges(t, reg, "fresnel_kafka_oldest_unhandled_seconds")["g a"] == 0
	})
}

func TestATopicMadeAnewWithAnOlderCommitIsRenewed(t *testing.T) {
	t.Parallel()
	addr := startBroker(t, t.TempDir()).Addr()
	c := newClient(t, addr)
	ensure(t, c, "a", 1)
	produce(t, c, stream.Record{Topic: "a", Value: []byte("new")})
	commitAsStranger(t, addr, "g", "a", 7, "tally")
	got, s := make(chan stream.Assignment, 9), &seen{}
	consume(t, c, named("g", "a"), func(a stream.Assignment) stream.Handler {
		got <- a
		return s.handler()(a)
	})
	want := stream.Assignment{Partition: stream.Partition{Topic: "a"}, Metadata: "tally", Renewed: true}
	if d := cmp.Diff(want, <-got); d != "" {
		t.Errorf("assignment (-want +got):\n%s", d)
	}
	eventually(t, 5*time.Second, "read from its start", func() bool { return slices.Equal(s.all(), []string{"new"}) })
}

// commitAsStranger commits without being a member, as tools that reset offsets do.
func commitAsStranger(t *testing.T, broker string, group, topic string, offset int64, metadata string) {
	t.Helper()
	transport := &segmentio.Transport{}
	defer transport.CloseIdleConnections()
	k := segmentio.Client{Addr: segmentio.TCP(broker), Transport: transport}
	res, err := k.OffsetCommit(t.Context(), &segmentio.OffsetCommitRequest{
		GroupID: group, GenerationID: -1,
		Topics: map[string][]segmentio.OffsetCommit{topic: {{Offset: offset, Metadata: metadata}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Topics[topic][0].Error; err != nil {
		t.Fatal(err)
	}
}
