package harness

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fresnel-search/fresnel/listener/stream"
)

// Produce appends the records in order, with a client that is not the server's.
// After an error some may have been appended.
func Produce(ctx context.Context, broker string, records []stream.Record) error {
	cl, err := kgo.NewClient(seeds(broker), kgo.AllowAutoTopicCreation(), kgo.DialTimeout(time.Second),
		kgo.DisableIdempotentWrite(), kgo.RecordDeliveryTimeout(30*time.Second), kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	context.AfterFunc(ctx, cl.Close) // a context alone does not end every wait of the client
	out := make([]*kgo.Record, len(records))
	for i, r := range records {
		out[i] = &kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			out[i].Headers = append(out[i].Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
	}
	return cl.ProduceSync(ctx, out...).FirstErr()
}
