package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"

	"github.com/fresnel-search/fresnel/listener/stream"
)

// Read implements stream.Log. Falling off the log's start while reading is
// ErrOffset as well, so that the reader can say what it missed; offsets that are
// missing for another reason (transaction markers) are passed over.
func (c *Client) Read(ctx context.Context, p stream.Partition, offset int64, fn func(stream.Batch) error) error {
	if err := c.inBounds(ctx, p, offset); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	rctx, cancel := context.WithCancel(ctx)
	f, err := c.open(rctx, p, offset)
	if err != nil {
		cancel()
		return err
	}
	defer f.close(c)
	defer cancel()
	err = c.follow(ctx, f, offset, fn)
	switch {
	case ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
		return nil
	case errors.Is(err, kafka.OffsetOutOfRange):
		return fmt.Errorf("read %s/%d: %w: %w", p.Topic, p.ID, stream.ErrOffset, err)
	}
	return err
}

// inBounds fails with ErrOffset if nothing can be read at offset.
func (c *Client) inBounds(ctx context.Context, p stream.Partition, offset int64) error {
	first, end, err := c.Bounds(ctx, p)
	if err != nil {
		return fmt.Errorf("read %s/%d: %w", p.Topic, p.ID, err)
	}
	if offset < first || offset > end {
		return fmt.Errorf("read %s/%d at %d, log is %d..%d: %w", p.Topic, p.ID, offset, first, end, stream.ErrOffset)
	}
	return nil
}

func (c *Client) follow(ctx context.Context, f *feed, next int64, fn func(stream.Batch) error) error {
	for {
		records, high, err := f.take(ctx)
		if err != nil {
			return err
		}
		for _, part := range split(records) {
			if part[0].Offset > next {
				if err := c.inBounds(ctx, f.partition, next); err != nil {
					return err
				}
			}
			if err := fn(stream.Batch{Partition: f.partition, Records: part, HighWater: high}); err != nil {
				return err
			}
			next = part[len(part)-1].Offset + 1
		}
	}
}
