package test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/test/acceptance"
	"github.com/fresnel-search/fresnel/test/harness"
)

// capped has an embedded broker with little room.
var capped = fmt.Sprintf(`
searchapi: {listen: SEARCH_ADDR, identity: {mode: none}}
listener: {kafka: {embedded: {listen: KAFKA_ADDR, cap_bytes: %d, trim_interval: 200ms}}}
`, floodCap)

// flood produces images with distinct ids until all are acknowledged, over refusals
// and restarts of the broker.
type flood struct {
	topic   string
	n       int
	padding int          // bytes, twice in a record
	acked   atomic.Int64 // records
	refused atomic.Int64 // attempts
	done    chan struct{}
}

func startFlood(t *testing.T, broker string, f *flood) *flood {
	t.Helper()
	f.done = make(chan struct{})
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.AllowAutoTopicCreation(), kgo.DialTimeout(time.Second),
		kgo.RecordDeliveryTimeout(2*time.Second), kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(f.done)
		f.run(ctx, cl)
	}()
	t.Cleanup(func() {
		cancel()
		<-f.done
		cl.Close()
	})
	return f
}

func (f *flood) run(ctx context.Context, cl *kgo.Client) {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // padding
	at := time.Now().Add(-time.Hour)
	for next := 0; next < f.n && ctx.Err() == nil; {
		var batch []*kgo.Record
		for ; next < f.n && len(batch) < 200; next++ {
			padding := make([]byte, f.padding) // that does not compress to nothing
			for i := range padding {
				padding[i] = byte(random.Uint32())
			}
			r := acceptance.Notify(f.topic, "image.create", at.Add(time.Duration(next)*time.Microsecond),
				acceptance.Image(fmt.Sprintf("flood-%d", next), "flood", map[string]any{"description": hex.EncodeToString(padding)}))
			batch = append(batch, &kgo.Record{Topic: r.Topic, Key: []byte(fmt.Sprint(next)), Value: r.Value})
		}
		f.send(ctx, cl, batch)
	}
}

// send produces a batch again and again, what is acknowledged left out.
func (f *flood) send(ctx context.Context, cl *kgo.Client, batch []*kgo.Record) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for len(batch) > 0 && ctx.Err() == nil {
		var left []*kgo.Record
		var refusal error
		for _, res := range cl.ProduceSync(ctx, batch...) {
			if res.Err == nil {
				f.acked.Add(1)
				continue
			}
			refusal = res.Err
			left = append(left, &kgo.Record{Topic: f.topic, Key: res.Record.Key, Value: res.Record.Value})
		}
		if refusal != nil && strings.Contains(refusal.Error(), "POLICY_VIOLATION") {
			f.refused.Add(1)
		}
		if batch = left; len(batch) > 0 {
			<-tick.C
		}
	}
}

// stuck is a condition: many attempts in a row were refused, and nothing else.
func (f *flood) stuck() func() error {
	acked, from := int64(-1), int64(0)
	return func() error {
		if now := f.acked.Load(); now != acked {
			acked, from = now, f.refused.Load()
		}
		if n := f.refused.Load() - from; n < 15 {
			return fmt.Errorf("%d records acknowledged, then %d refusals", acked, n)
		}
		return nil
	}
}

// gauge watches how large a folder gets.
type gauge struct {
	mu   sync.Mutex
	most int64
}

func watch(t *testing.T, dir string) *gauge {
	t.Helper()
	g, stop, done := &gauge{}, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			n := folderBytes(dir)
			g.mu.Lock()
			g.most = max(g.most, n)
			g.mu.Unlock()
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-done
	})
	return g
}

func (g *gauge) max() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.most
}

// folderBytes adds up the files; those that vanish meanwhile count nothing.
func folderBytes(dir string) (n int64) {
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil //nolint:nilerr // it vanished
		}
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	if err != nil {
		return 0
	}
	return n
}

// started is a command of the binary that runs beside the test.
type started struct {
	mu    sync.Mutex
	out   bytes.Buffer
	ended chan error
}

func (p *started) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *started) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

func startCommand(t *testing.T, s *harness.Server, args ...string) *started {
	t.Helper()
	p := &started{ended: make(chan error, 1)}
	cmd := exec.CommandContext(t.Context(), s.Binary(), args...)
	cmd.Stdout, cmd.Stderr = p, p
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.ended <- cmd.Wait() }()
	return p
}

func TestFullBrokerRefusesInWordsAndLosesNothing(t *testing.T) {
	t.Parallel()
	for _, topic := range []string{"notifications.info", "notifications.error"} {
		t.Run(topic, func(t *testing.T) {
			t.Parallel()
			full(t, topic)
		})
	}
}

func full(t *testing.T, topic string) {
	t.Helper()
	s := harness.New(t, capped)
	hold := s.File("hold", "")
	s.Start("FRESNEL_HOLD_INDEXER=" + hold)
	disk := watch(t, filepath.Join(s.Data(), "kafka"))
	f := startFlood(t, s.Kafka, &flood{topic: topic, n: floodRecords, padding: floodPadding})
	s.Eventually("the broker is full", f.stuck())
	playing := startCommand(t, s, "play", "--brokers", s.Kafka, "notifications/glance.jsonl.gz")
	s.Eventually("play says so", func() error {
		if out := playing.text(); !strings.Contains(out, "refused, and waiting") || !strings.Contains(out, "is full") {
			return fmt.Errorf("it says %q", out)
		}
		return nil
	})
	if err := harness.Produce(t.Context(), s.Kafka, []stream.Record{{Topic: "fresnel.probe", Partition: -1, Value: []byte("x")}}); err != nil {
		t.Errorf("producing to a topic of our own: %v", err)
	}
	if err := s.Get("/readyz", nil); err != nil {
		t.Errorf("while the broker is full: %v", err)
	}
	s.Kill()
	s.Start("FRESNEL_HOLD_INDEXER=" + hold)
	s.Eventually("the broker is still full after kill -9", f.stuck())
	acked, held := f.acked.Load(), disk.max()
	if err := os.Remove(hold); err != nil {
		t.Fatal(err)
	}
	select {
	case <-f.done:
	case <-time.After(20 * time.Minute):
		t.Fatalf("%d of %d acknowledged", f.acked.Load(), floodRecords)
	}
	if err := <-playing.ended; err != nil {
		t.Logf("play did not outlive the broker: %v\n%s", err, playing.text())
	}
	searchable(t, s, floodRecords)
	n, err := harness.Ends(s.Kafka, topic)
	if err != nil {
		t.Fatal(err)
	}
	others, err := harness.Ends(s.Kafka, "notifications.info")
	if err != nil {
		t.Fatal(err)
	}
	if topic != "notifications.info" {
		n += others
	}
	acceptance.Settled(t, s, int(n), "")
	t.Logf("%d acknowledged while held, disk at most %d then and %d in all, cap %d", acked, held, disk.max(), int64(floodCap))
	if disk.max() > floodCap/10*11 {
		t.Errorf("the log took %d bytes, more than the cap of %d and a tenth", disk.max(), int64(floodCap))
	}
}

// searchable waits until n images of the flood are found, for as long as they get more.
func searchable(t *testing.T, s *harness.Server, n int) {
	t.Helper()
	for found := 0; found < n; {
		before := found
		s.Eventually("more of what was acknowledged is searchable", func() (err error) {
			found, err = hits(s, map[string]any{"type": acceptance.ImageType, "size": 0, "query": map[string]any{"term": map[string]any{"owner": acceptance.Owner}}})
			if err == nil && found <= before {
				err = fmt.Errorf("%d of %d", found, n)
			}
			return err
		})
		if found > n {
			t.Fatalf("%d images are found of %d", found, n)
		}
	}
}

// hits is how many documents a search finds.
func hits(s *harness.Server, body map[string]any) (int, error) {
	var a struct {
		Hits struct {
			Total int `json:"total"`
		} `json:"hits"`
	}
	body["all_projects"] = true
	err := s.Call("POST", "/v1/search", "", body, &a)
	return a.Hits.Total, err
}
