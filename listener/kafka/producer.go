package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/fresnel-search/fresnel/listener/stream"
)

// A message set stays below the brokers' usual limit of 1 MiB, also where
// compression makes nothing smaller.
const (
	setBytes    = 900_000
	setRecords  = 10_000
	recordExtra = 64 // of framing, at most, but for headers
)

const (
	reasonFull     = "full"
	reasonTooLarge = "too_large"
	reasonOther    = "other"
)

// Produce implements stream.Producer. Keys choose partitions by murmur2, as Java's
// clients do. Records without a key go to one random partition per call. Partitions
// are written to in parallel, each one's records in order.
func (c *Client) Produce(ctx context.Context, records []stream.Record) error {
	if len(records) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.ProduceTimeout, fmt.Errorf("produce_timeout of %s", c.cfg.ProduceTimeout))
	defer cancel()
	began := time.Now()
	err := c.produce(ctx, records)
	c.metrics.produceSeconds.Observe(time.Since(began).Seconds())
	if err != nil {
		c.metrics.produceErrors.WithLabelValues(reason(err)).Inc()
		return err
	}
	c.metrics.produced.Add(float64(len(records)))
	return nil
}

func reason(err error) string {
	switch {
	case errors.Is(err, stream.ErrFull):
		return reasonFull
	case errors.Is(err, stream.ErrTooLarge):
		return reasonTooLarge
	}
	return reasonOther
}

func (c *Client) produce(ctx context.Context, records []stream.Record) error {
	sets, err := c.route(ctx, records)
	if err != nil {
		return err
	}
	if len(sets) == 1 {
		return c.appendAll(ctx, sets[0])
	}
	errs := make([]error, len(sets))
	var wg sync.WaitGroup
	for i, s := range sets {
		wg.Go(func() { errs[i] = c.appendAll(ctx, s) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// set is what goes to one partition, with times.
type set struct {
	stream.Partition
	records []stream.Record
}

// route sorts records by partition.
func (c *Client) route(ctx context.Context, records []stream.Record) ([]set, error) {
	var sets []set
	at := map[stream.Partition]int{}
	keyless := map[string]int{}
	now := time.Now()
	for _, r := range records {
		p := stream.Partition{Topic: r.Topic, ID: r.Partition}
		if p.ID < 0 {
			ids, err := c.partitionsToProduce(ctx, r.Topic)
			if err != nil {
				return nil, err
			}
			p.ID = choose(r, ids, keyless)
		}
		i, found := at[p]
		if !found {
			i = len(sets)
			at[p] = i
			sets = append(sets, set{Partition: p})
		}
		if r.Time.IsZero() {
			r.Time = now
		}
		sets[i].records = append(sets[i].records, r)
	}
	return sets, nil
}

// choose picks a record's partition by key, or one at random per topic.
func choose(r stream.Record, ids []int, keyless map[string]int) int {
	if r.Key != nil {
		return kafka.Murmur2Balancer{Consistent: true}.Balance(kafka.Message{Key: r.Key}, ids...)
	}
	id, found := keyless[r.Topic]
	if !found {
		id = ids[rand.IntN(len(ids))]
		keyless[r.Topic] = id
	}
	return id
}

// wired makes the client's records, for one attempt: they are readers, so what an
// attempt has sent is empty for the next one.
func wired(records []stream.Record) kafka.RecordReader {
	out := make([]kafka.Record, len(records))
	for i, r := range records {
		out[i] = kafka.Record{Time: r.Time, Key: kafka.NewBytes(r.Key), Value: kafka.NewBytes(r.Value)}
		for _, h := range r.Headers {
			out[i].Headers = append(out[i].Headers, kafka.Header{Key: h.Key, Value: h.Value})
		}
	}
	return kafka.NewRecordReader(out...)
}

func size(r stream.Record) int {
	n := recordExtra + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value) + 10
	}
	return n
}

// cut returns how many of the records make the next message set: at least one.
func cut(records []stream.Record) int {
	sum := 0
	for i, r := range records {
		sum += size(r)
		if i > 0 && (sum > setBytes || i == setRecords) {
			return i
		}
	}
	return len(records)
}

// appendAll appends a partition's records, one message set after the other.
func (c *Client) appendAll(ctx context.Context, s set) error {
	for rest := s.records; len(rest) > 0; {
		n := cut(rest)
		if err := c.appendSet(ctx, set{s.Partition, rest[:n]}); err != nil {
			return fmt.Errorf("produce %d records to %s/%d: %w", len(rest), s.Topic, s.ID, err)
		}
		rest = rest[n:]
	}
	return nil
}

// appendSet appends one message set, again and again while the trouble may pass.
// A retry whose first attempt did arrive repeats the set, in order.
func (c *Client) appendSet(ctx context.Context, s set) error {
	for wait := newBackoff(20*time.Millisecond, 2*time.Second); ; {
		err := c.tryAppend(ctx, s)
		if err == nil {
			return nil
		}
		if !retriable(err) {
			return classify(err)
		}
		if !wait.sleep(ctx) {
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

func (c *Client) tryAppend(ctx context.Context, s set) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	res, err := c.client.Produce(ctx, &kafka.ProduceRequest{
		Topic:        s.Topic,
		Partition:    s.ID,
		RequiredAcks: kafka.RequireAll,
		Compression:  c.codec,
		Records:      wired(s.records),
	})
	if err != nil {
		return err
	}
	return res.Error
}
