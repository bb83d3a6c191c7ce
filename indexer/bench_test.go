package indexer_test

import (
	"context"
	"slices"
	"testing"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// BenchmarkHandle measures what folding, publishing and counting cost per mutation,
// over a store in memory: the recorded day in batches of 1000.
func BenchmarkHandle(b *testing.B) {
	c, err := catalog.Builtin()
	if err != nil {
		b.Fatal(err)
	}
	said := newWorld(b, c, 1)
	said.tell(recorded(b, c, "day/*notifications*.jsonl.gz")...)
	log := said.log[0]
	handled := 0
	b.ReportAllocs()
	for b.Loop() {
		w := newWorld(b, c, 1)
		h := w.handler()
		for batch := range slices.Chunk(log, 1000) {
			if _, err := h.Handle(context.Background(), stream.Batch{
				Partition: stream.Partition{Topic: indexer.MutationsTopic}, Records: batch, HighWater: int64(len(log)),
			}); err != nil {
				b.Fatal(err)
			}
		}
		handled += len(log)
	}
	b.ReportMetric(float64(handled)/b.Elapsed().Seconds(), "mutations/s")
}
