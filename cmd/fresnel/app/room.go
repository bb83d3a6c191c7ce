package app

import (
	"context"
	"slices"
	"time"

	"github.com/fresnel-search/fresnel/listener/kafka/embedded"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// frugalChunk is how many mutations are appended at once while room is scarce.
const frugalChunk = 100

// room is what is left below the embedded broker's cap, which takes all that we
// append ourselves. Any other Kafka has room enough: usage is nil.
type room struct {
	usage   func() embedded.Usage
	waiting func() int64 // mutations that are appended but not handled
}

// scarce reports whether a few large batches could reach the cap.
func (r room) scarce() bool {
	if r.usage == nil {
		return false
	}
	u := r.usage()
	return u.Bytes >= u.Cap/2
}

// short reports whether the listener has to wait for the indexer. While no mutation
// waits to be handled it never has to: waiting would free nothing.
func (r room) short() bool {
	if r.usage == nil {
		return false
	}
	u := r.usage()
	return u.Bytes >= u.Cap/10*9 && r.waiting() > 0
}

// frugal appends in small steps while room is scarce, and waits while it is short.
type frugal struct {
	stream.Producer
	room room
}

// Produce implements stream.Producer.
func (f frugal) Produce(ctx context.Context, records []stream.Record) error {
	if !f.room.scarce() {
		return f.Producer.Produce(ctx, records)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for step := range slices.Chunk(records, frugalChunk) {
		for f.room.short() {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
		}
		if err := f.Producer.Produce(ctx, step); err != nil {
			return err
		}
	}
	return nil
}
