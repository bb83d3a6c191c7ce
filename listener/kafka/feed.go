package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/fresnel-search/fresnel/listener/stream"
)

// batchRecords and Config.BatchBytes bound a batch handed to a handler.
const batchRecords = 1000

// feed reads one partition from an offset on, ahead of whoever takes from it, up
// to one full batch. What has arrived since the last take is the next batch.
type feed struct {
	partition stream.Partition
	limit     int // of a batch, in bytes
	reader    *kafka.Reader
	trouble   *trouble
	log       *slog.Logger
	done      chan struct{} // the pump has ended
	ready     chan struct{} // something can be taken
	space     chan struct{} // something was taken

	mu      sync.Mutex
	records []stream.Record
	bytes   int
	high    int64
	err     error // why the pump ended
}

// open begins to read p at offset. close must follow.
func (c *Client) open(ctx context.Context, p stream.Partition, offset int64) (*feed, error) {
	f := &feed{partition: p, limit: c.cfg.BatchBytes, trouble: &c.trouble, log: c.log, done: make(chan struct{}), ready: make(chan struct{}, 1), space: make(chan struct{}, 1)}
	f.reader = kafka.NewReader(kafka.ReaderConfig{
		Brokers: c.cfg.Brokers, Dialer: c.dialer, Topic: p.Topic, Partition: p.ID,
		MinBytes: 1, MaxBytes: 1 << 20, MaxWait: c.cfg.MaxWait, QueueCapacity: 100,
		ReadBackoffMax: time.Second, ReadLagInterval: -1, OffsetOutOfRangeError: true, ErrorLogger: c.kafkaLog(f.name()),
	})
	if err := f.reader.SetOffset(offset); err != nil {
		return nil, errors.Join(fmt.Errorf("read %s/%d at %d: %w", p.Topic, p.ID, offset, err), f.reader.Close())
	}
	go f.pump(ctx)
	return f, nil
}

// name is what troubles of reading are about.
func (f *feed) name() string { return fmt.Sprintf("%s/%d", f.partition.Topic, f.partition.ID) }

// pump fills the feed until ctx is done or reading fails for good.
func (f *feed) pump(ctx context.Context) {
	defer close(f.done)
	for {
		m, err := f.reader.FetchMessage(ctx)
		if err == nil {
			if f.trouble.over(f.name()) {
				f.log.Info("partition is read again", "topic", f.partition.Topic, "partition", f.partition.ID)
			}
			err = f.put(ctx, m)
		}
		if err != nil {
			f.mu.Lock()
			f.err = err
			f.mu.Unlock()
			signal(f.ready)
			return
		}
	}
}

// put adds a record, waiting while there is a full batch.
func (f *feed) put(ctx context.Context, m kafka.Message) error {
	n := len(m.Key) + len(m.Value)
	for {
		f.mu.Lock()
		if len(f.records) == 0 || len(f.records) < batchRecords && f.bytes+n <= f.limit {
			f.records = append(f.records, record(m))
			f.bytes += n
			f.high = max(f.high, m.HighWaterMark)
			f.mu.Unlock()
			signal(f.ready)
			return nil
		}
		f.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.space:
		}
	}
}

// take waits for records and returns all that have come. An error means that no
// more will come.
func (f *feed) take(ctx context.Context) ([]stream.Record, int64, error) {
	for {
		f.mu.Lock()
		records, high, err := f.records, f.high, f.err
		f.records, f.bytes = nil, 0
		f.mu.Unlock()
		if len(records) > 0 {
			signal(f.space)
			return records, high, nil
		}
		if err != nil {
			return nil, 0, err
		}
		select {
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-f.ready:
		}
	}
}

// head is the time of the first record not taken, zero if there is none.
func (f *feed) head() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.records) == 0 {
		return time.Time{}
	}
	return f.records[0].Time
}

// close stops reading; ctx of open must be done. kafka-go's Close has been seen to
// hang, so it is left alone after a while.
func (f *feed) close(c *Client) {
	done := make(chan error, 1)
	go func() { done <- f.reader.Close() }()
	select {
	case err := <-done:
		if err != nil {
			c.log.Warn("reader not closed", "topic", f.partition.Topic, "partition", f.partition.ID, "err", err)
		}
		<-f.done
	case <-time.After(closeLimit):
		c.log.Error("reader hangs on close", "topic", f.partition.Topic, "partition", f.partition.ID)
	}
}

const closeLimit = 10 * time.Second

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func record(m kafka.Message) stream.Record {
	r := stream.Record{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Time: m.Time, Key: m.Key, Value: m.Value}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, stream.Header{Key: h.Key, Value: h.Value})
	}
	return r
}

// split cuts records where an offset is missing, so that each part is contiguous.
func split(records []stream.Record) (parts [][]stream.Record) {
	start := 0
	for i := 1; i <= len(records); i++ {
		if i == len(records) || records[i].Offset != records[i-1].Offset+1 {
			parts = append(parts, records[start:i])
			start = i
		}
	}
	return parts
}
