package kafka_test

import (
	"context"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/listener/kafka"
	"github.com/fresnel-search/fresnel/listener/stream"
)

func TestBatchHasAtMostSoManyBytes(t *testing.T) {
	t.Parallel()
	const limit, each, total = 64 << 10, 10_000, 60
	c := newClient(t, startBroker(t, t.TempDir()).Addr(), func(c *kafka.Config) { c.BatchBytes = limit })
	ensure(t, c, "a", 1)
	records := numbered("a", 0, total)
	for i := range records {
		records[i].Value = make([]byte, each)
	}
	produce(t, c, records...)
	sizes := make(chan int, total)
	consume(t, c, named("g", "a"), always(func(_ context.Context, b stream.Batch) (string, error) {
		n := 0
		for _, r := range b.Records {
			n += len(r.Key) + len(r.Value)
		}
		sizes <- n
		return "", nil
	}))
	sum := 0
	eventually(t, 10*time.Second, "all records handled", func() bool {
		for {
			select {
			case n := <-sizes:
				if n > limit {
					t.Fatalf("a batch of %d bytes, want at most %d", n, limit)
				}
				sum += n
			default:
				return sum >= total*each
			}
		}
	})
}
