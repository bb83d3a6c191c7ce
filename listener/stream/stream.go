// Package stream holds the nouns of Kafka, so that no subsystem imports a Kafka
// client: records, positions, and the contract between a consumer of partitions
// and the code that handles what it reads.
//
// It talks to no broker; listener/kafka does. Its invariant: an offset is committed
// only after Handle has returned nil for everything below it.
package stream

import (
	"context"
	"time"
)

// Record is one Kafka record. Value may be nil.
type Record struct {
	Topic     string
	Partition int // to produce: -1 lets the key decide, or chance if there is none
	Offset    int64
	Time      time.Time
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Header is one Kafka record header.
type Header struct {
	Key   string
	Value []byte
}

// Partition names one partition of a topic.
type Partition struct {
	Topic string
	ID    int
}

// Assignment is a partition handed to this process, with what its last owner left.
type Assignment struct {
	Partition
	// Offset is where reading starts: the committed offset, or the log's start.
	Offset int64
	// Metadata was committed together with Offset; empty if nothing was.
	Metadata string
	// Renewed says that the log ends before what was committed: it is another one than
	// the log that was read before, or has lost its end. A topic that was deleted and
	// made anew mostly shows in another way: its brokers forget what was committed.
	Renewed bool
}

// Batch is what arrived on one partition while the last batch was being handled:
// never empty, at most 1000 records or 5 MB.
type Batch struct {
	Partition
	Records []Record
	// HighWater is the offset after the partition's newest record.
	HighWater int64
	// Lost counts offsets that are missing before the first record although they
	// were never handled: the broker dropped them.
	Lost int64
}

// Handler handles the batches of one assigned partition, one at a time and in
// order. A new one is made for each assignment, so it may keep state.
type Handler interface {
	// Handle makes everything that follows from the batch durable and returns the
	// metadata to commit with it. The offset after the batch's last record is then
	// committed, atomically with the metadata. An error means that nothing is
	// committed: the same records come again after a pause. A crash between Handle
	// and the commit repeats the batch too, so handling must bear repetition.
	// ctx ends when the process stops; a rebalance does not cancel a batch.
	Handle(ctx context.Context, b Batch) (metadata string, err error)
}

// NewHandler makes the handler of a partition when it is assigned.
type NewHandler func(Assignment) Handler

// Producer appends records.
type Producer interface {
	// Produce appends all records and returns when every in-sync replica has them.
	// Records with equal keys keep their order. After an error some may have been
	// appended; producing them again is the caller's choice.
	Produce(ctx context.Context, records []Record) error
}

// Log reads a topic at chosen offsets, outside any consumer group.
type Log interface {
	// Partitions tells how many partitions the topic has.
	Partitions(ctx context.Context, topic string) (int, error)
	// Bounds returns the first offset kept and the offset after the newest record.
	Bounds(ctx context.Context, p Partition) (first, end int64, err error)
	// Read calls fn with batches from offset on, waiting for new records, until ctx
	// is done (nil) or fn fails (its error). ErrOffset if offset is outside Bounds.
	Read(ctx context.Context, p Partition, offset int64, fn func(Batch) error) error
}
