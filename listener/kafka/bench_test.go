package kafka_test

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/listener/kafka"
	"github.com/fresnel-search/fresnel/listener/stream"
)

func kilobytes(n int) []stream.Record {
	rs := make([]stream.Record, n)
	for i := range rs {
		// Half of each value repeats, as in JSON.
		v := append(bytes.Repeat([]byte(`"key": "value", `), 32), fmt.Appendf(nil, "%0512d", i*7919)...)
		rs[i] = stream.Record{Topic: "a", Partition: -1, Key: fmt.Append(nil, i), Value: v}
	}
	return rs
}

func BenchmarkProduce(b *testing.B) {
	for _, codec := range []string{"none", "snappy", "lz4"} {
		for _, n := range []int{1, 100, 1000} {
			b.Run(fmt.Sprintf("%s/%d", codec, n), func(b *testing.B) {
				c := newClient(b, startBroker(b, b.TempDir()).Addr(), func(c *kafka.Config) { c.Compression = codec })
				ensure(b, c, "a", 4)
				rs := kilobytes(n)
				produce(b, c, rs...)
				for b.Loop() {
					produce(b, c, rs...)
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N), "µs/call")
				b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "rec/s")
			})
		}
	}
}

func BenchmarkConsume(b *testing.B) {
	for _, codec := range []string{"none", "snappy", "lz4"} {
		b.Run(codec, func(b *testing.B) {
			c := newClient(b, startBroker(b, b.TempDir()).Addr(), func(c *kafka.Config) { c.Compression = codec })
			ensure(b, c, "a", 4)
			const total = 100_000
			for range total / 1000 {
				produce(b, c, kilobytes(1000)...)
			}
			var rounds int
			for b.Loop() {
				rounds++
				var n atomic.Int64
				stop := consume(b, c, named(fmt.Sprint("g", rounds), "a"), always(func(_ context.Context, batch stream.Batch) (string, error) {
					n.Add(int64(len(batch.Records)))
					return "", nil
				}))
				eventually(b, 20*time.Second, "all read", func() bool { return n.Load() >= total })
				stop()
			}
			b.ReportMetric(float64(total*rounds)/b.Elapsed().Seconds(), "rec/s")
		})
	}
}
