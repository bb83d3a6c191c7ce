package bench

import (
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fresnel-search/fresnel/listener/kafka/embedded"
	"github.com/fresnel-search/fresnel/test/harness"
)

// starts is how often each start is measured; the median counts.
const starts = 3

// start measures from exec to ready, on an empty folder and on a used one.
func start(b *testing.B, r *report) {
	var empty, used, bare []time.Duration
	records, _ := ports(b, 0, 5000)
	for i := range starts {
		s := harness.New(b, plain)
		empty = append(empty, untilReady(b, s))
		if i == 0 {
			produce(b, client(b, s.Kafka), "", records)
			settled(b, s, len(records))
			for range starts {
				s.Stop()
				used = append(used, untilReady(b, s))
			}
		}
		s.Stop()
		begin := time.Now()
		s.MustRun("version")
		bare = append(bare, time.Since(begin))
	}
	r.took("cold start on an empty folder, to ready", centile(empty, 50), centile(bare, 50), "`fresnel version`", "3 s")
	r.took("cold start on a used folder, to ready", centile(used, 50), centile(bare, 50), "`fresnel version`", "3 s")
}

func untilReady(b *testing.B, s *harness.Server) time.Duration {
	b.Helper()
	begin := time.Now()
	s.Launch()
	until(b, 2*time.Millisecond, func() error { return s.Get("/readyz", nil) })
	return time.Since(begin)
}

// broker measures opening the embedded broker with as much on disk as it may have,
// in batches of some ten notifications.
func broker(b *testing.B, r *report) {
	cfg := embedded.DefaultConfig()
	cfg.Dir, cfg.Listen = filepath.Join(b.TempDir(), "kafka"), "127.0.0.1:0"
	cfg.Groups = []embedded.Reads{{Group: "slow", Topics: regexp.MustCompile("^notifications.*")}}
	empty := openBroker(b, cfg, func(string) {})
	records, _ := ports(b, 0, 500)
	full := 0
	openBroker(b, cfg, func(addr string) {
		cl := client(b, addr, kgo.ProducerBatchMaxBytes(25_000), kgo.ProducerBatchCompression(kgo.NoCompression()),
			kgo.RecordDeliveryTimeout(2*time.Second), kgo.RecordRetries(1))
		for {
			out := make([]*kgo.Record, len(records))
			for i, rec := range records {
				out[i] = &kgo.Record{Topic: rec.Topic, Value: rec.Value}
			}
			if err := cl.ProduceSync(b.Context(), out...).FirstErr(); err != nil {
				return // it is at the cap
			}
			full += len(out)
		}
	})
	var took []time.Duration
	for range starts {
		took = append(took, openBroker(b, cfg, func(string) {}))
	}
	slices.Sort(took)
	r.took("opening the embedded broker with its log at the cap", took[starts/2], empty, "with an empty log", "part of 3 s")
	b.Logf("%d records at the cap", full)
}

// openBroker opens a broker, uses it and closes it. It returns how long opening took.
func openBroker(b *testing.B, cfg embedded.Config, use func(addr string)) time.Duration {
	b.Helper()
	begin := time.Now()
	br, err := embedded.Start(cfg, nil)
	if err != nil {
		b.Fatal(err)
	}
	took := time.Since(begin)
	use(br.Addr())
	if err := br.Close(); err != nil {
		b.Fatal(err)
	}
	return took
}
