//go:build real

package kafka_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	segmentio "github.com/segmentio/kafka-go"

	"github.com/fresnel-search/fresnel/listener/kafka"
	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/test/harness"
)

// realShift keeps the ports of this package's cluster from those of the shared lab.
const realShift = 12000

// realCluster is three secured brokers of the test's own, to break.
type realCluster struct {
	*harness.Lab
	env   map[string]string // as the lab names it: KAFKA, KAFKA_SASL_SSL, ...
	admin *segmentio.Client
}

func startCluster(t *testing.T) *realCluster {
	t.Helper()
	c := &realCluster{Lab: harness.NewLab(t, realShift), env: map[string]string{}}
	c.Run(t, nil, "kafka.sh", "start", "3", "--secure")
	for line := range strings.Lines(c.Run(t, nil, "kafka.sh", "env")) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		c.env[key] = value
	}
	transport := &segmentio.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c.admin = &segmentio.Client{Addr: segmentio.TCP(c.brokers("KAFKA")...), Transport: transport, Timeout: 30 * time.Second}
	return c
}

func (c *realCluster) brokers(listener string) []string { return strings.Split(c.env[listener], ",") }

// client is one as an operator would configure it, but for where the brokers are.
func (c *realCluster) client(t *testing.T, log *slog.Logger, change ...func(*kafka.Config)) *kafka.Client {
	t.Helper()
	cfg := kafka.DefaultConfig()
	cfg.Brokers = c.brokers("KAFKA")
	for _, f := range change {
		f(&cfg)
	}
	k, err := kafka.New(cfg, log, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// loudLog counts what is logged at level warn and above.
type loudLog struct {
	slog.Handler
	mu    *sync.Mutex
	lines *[]string
}

func newLoudLog() (*slog.Logger, *loudLog) {
	h := &loudLog{Handler: testLog.Handler(), mu: &sync.Mutex{}, lines: &[]string{}}
	return slog.New(h), h
}

func (h *loudLog) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn || h.Handler.Enabled(ctx, l)
}

func (h *loudLog) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		line := r.Message
		r.Attrs(func(a slog.Attr) bool {
			line += " " + a.String()
			return true
		})
		h.mu.Lock()
		*h.lines = append(*h.lines, line)
		h.mu.Unlock()
	}
	if h.Handler.Enabled(ctx, r.Level) {
		return h.Handler.Handle(ctx, r)
	}
	return nil
}

// WithAttrs implements slog.Handler; what is counted does not need them.
func (h *loudLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &loudLog{h.Handler.WithAttrs(attrs), h.mu, h.lines}
}

func (h *loudLog) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), *h.lines...)
}

// flow is a topic under a steady load with a group that reads it: what went in, what
// came out, and how long each partition heard nothing.
type flow struct {
	topic string
	width int // partitions
	stop  context.CancelFunc
	done  chan struct{}

	mu        sync.Mutex
	sent      int // numbers below this were acknowledged
	got       map[int]int
	last      map[int]time.Time // by partition: the last batch
	next      map[int]int64
	pause     map[int]time.Duration // the longest since it was last asked
	back      int                   // batches that began before what was read
	cancelled int                   // handlers whose context had ended while the group ran
	failed    []error
}

// startFlow makes the topic and appends to each of its partitions ten times a second.
func (c *realCluster) startFlow(t *testing.T, topic string, partitions int) *flow {
	t.Helper()
	k := c.client(t, testLog, func(c *kafka.Config) { c.ProduceTimeout = time.Minute })
	if err := k.EnsureTopics(t.Context(), kafka.Topic{Name: topic, Partitions: partitions, Replication: 3, MinInsync: 2}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &flow{
		topic: topic, width: partitions, stop: cancel, done: make(chan struct{}), got: map[int]int{}, last: map[int]time.Time{},
		next: map[int]int64{}, pause: map[int]time.Duration{},
	}
	go f.feed(ctx, k, partitions)
	t.Cleanup(f.end)
	return f
}

// feed sends one record per partition at a time; partitions do not wait for each other.
func (f *flow) feed(ctx context.Context, k *kafka.Client, partitions int) {
	defer close(f.done)
	var wg sync.WaitGroup
	for p := range partitions {
		wg.Go(func() {
			for ctx.Err() == nil {
				f.mu.Lock()
				n := f.sent
				f.sent++
				f.mu.Unlock()
				err := k.Produce(context.WithoutCancel(ctx), []stream.Record{{Topic: f.topic, Partition: p, Value: strconv.AppendInt(nil, int64(n), 10)}})
				if err != nil {
					f.mu.Lock()
					f.failed = append(f.failed, err)
					f.mu.Unlock()
				}
				<-time.After(100 * time.Millisecond)
			}
		})
	}
	wg.Wait()
}

func (f *flow) end() {
	f.stop()
	<-f.done
}

func (f *flow) handler() stream.NewHandler {
	return always(func(ctx context.Context, b stream.Batch) (string, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		now := time.Now()
		if last, found := f.last[b.ID]; found {
			f.pause[b.ID] = max(f.pause[b.ID], now.Sub(last))
		}
		f.last[b.ID] = now
		if b.Records[0].Offset < f.next[b.ID] {
			f.back++
		}
		if ctx.Err() != nil {
			f.cancelled++
		}
		for _, r := range b.Records {
			n, err := strconv.Atoi(string(r.Value))
			if err != nil {
				f.failed = append(f.failed, err)
			}
			f.got[n]++
			f.next[b.ID] = r.Offset + 1
		}
		return fmt.Sprint(f.next[b.ID]), nil
	})
}

// pauses are the longest silences of each partition since it was last called.
func (f *flow) pauses() map[int]time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.pause
	f.pause = map[int]time.Duration{}
	for p, d := range out {
		out[p] = d.Round(10 * time.Millisecond)
	}
	return out
}

// flows waits until every partition has been read n times more.
func (f *flow) flows(t *testing.T, limit time.Duration, n int) {
	t.Helper()
	f.mu.Lock()
	want := map[int]int64{}
	for p, at := range f.next {
		want[p] = at + int64(n)
	}
	f.mu.Unlock()
	eventually(t, limit/5, "all partitions are read on", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		for p := range f.width {
			if f.next[p] < want[p] || f.next[p] == 0 {
				return false
			}
		}
		return true
	})
}

// account ends the load and fails if something was lost.
func (f *flow) account(t *testing.T) {
	t.Helper()
	f.end()
	eventually(t, 6*time.Second, "all that was sent was handled", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.got) == f.sent
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	twice := 0
	for _, n := range f.got {
		twice += n - 1
	}
	t.Logf("%d records: 0 lost, %d handled more than once, %d steps back", f.sent, twice, f.back)
	if f.cancelled > 0 || len(f.failed) > 0 {
		t.Errorf("%d handlers were cancelled; errors of producing: %v", f.cancelled, f.failed)
	}
}

func longest(pauses map[int]time.Duration) (most time.Duration) {
	for _, d := range pauses {
		most = max(most, d)
	}
	return most
}
