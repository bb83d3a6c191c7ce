package kafka_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fresnel-search/fresnel/listener/kafka"
	"github.com/fresnel-search/fresnel/listener/kafka/embedded"
	"github.com/fresnel-search/fresnel/listener/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testLog goes nowhere unless a test is being looked into.
var testLog = newTestLog()

func startBroker(t testing.TB, dir string, change ...func(*embedded.Config)) *embedded.Broker {
	t.Helper()
	cfg := embedded.DefaultConfig()
	cfg.Dir, cfg.Listen = dir, "127.0.0.1:0"
	for _, f := range change {
		f(&cfg)
	}
	b, err := embedded.Start(cfg, testLog)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func newClient(t testing.TB, addr string, change ...func(*kafka.Config)) *kafka.Client {
	t.Helper()
	cfg := kafka.DefaultConfig()
	cfg.Brokers = []string{addr}
	cfg.HeartbeatInterval = 100 * time.Millisecond
	cfg.TopicsInterval = 200 * time.Millisecond
	cfg.MetadataTTL = 200 * time.Millisecond
	cfg.MaxWait = 100 * time.Millisecond
	for _, f := range change {
		f(&cfg)
	}
	c, err := kafka.New(cfg, testLog, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func ensure(t testing.TB, c *kafka.Client, topic string, partitions int) {
	t.Helper()
	if err := c.EnsureTopics(t.Context(), kafka.Topic{Name: topic, Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
}

// consume runs a group until the test ends or the returned function is called.
func consume(t testing.TB, c *kafka.Client, cfg kafka.GroupConfig, h stream.NewHandler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Consume(ctx, cfg, h) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Consume(%s) = %v", cfg.Group, err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func named(group string, topics ...string) kafka.GroupConfig {
	return kafka.GroupConfig{Group: group, Topics: topics}
}

func matching(group, pattern string) kafka.GroupConfig {
	return kafka.GroupConfig{Group: group, Patterns: []*regexp.Regexp{regexp.MustCompile(pattern)}}
}

// handle makes a handler of a function.
type handle func(context.Context, stream.Batch) (string, error)

func (f handle) Handle(ctx context.Context, b stream.Batch) (string, error) { return f(ctx, b) }

func always(f handle) stream.NewHandler {
	return func(stream.Assignment) stream.Handler { return f }
}

// seen collects values of records.
type seen struct {
	mu     sync.Mutex
	values []string
}

func (s *seen) add(b stream.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range b.Records {
		s.values = append(s.values, string(r.Value))
	}
}

func (s *seen) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.values)
}

func (s *seen) distinct() int {
	v := s.all()
	slices.Sort(v)
	return len(slices.Compact(v))
}

func (s *seen) handler() stream.NewHandler {
	return always(func(_ context.Context, b stream.Batch) (string, error) {
		s.add(b)
		return "", nil
	})
}

// eventually polls. Limits are meant for a quiet machine; a busy one gets more.
func eventually(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	limit *= 5
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

func numbered(topic string, from, to int) []stream.Record {
	var rs []stream.Record
	for i := from; i < to; i++ {
		rs = append(rs, stream.Record{Topic: topic, Partition: -1, Key: fmt.Append(nil, i%97), Value: fmt.Append(nil, i)})
	}
	return rs
}

func produce(t testing.TB, c *kafka.Client, rs ...stream.Record) {
	t.Helper()
	if err := c.Produce(t.Context(), rs); err != nil {
		t.Fatal(err)
	}
}

func committed(t testing.TB, c *kafka.Client, group string) map[stream.Partition]kafka.Committed {
	t.Helper()
	m, err := c.CommittedOffsets(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func newTestLog() *slog.Logger {
	if os.Getenv("KAFKA_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}
