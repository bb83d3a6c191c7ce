// Package record holds small pieces of state that must survive a crash: cursors,
// parked deliveries, dead letters, the books. They live in the same store as the
// documents, under a table and a key, and change by compare-and-set.
//
// It does not store anything itself: indexer/sqlite and indexer/elastic do. Its
// invariant: a write succeeds only if the record is still at the version that the
// writer had read.
package record

import (
	"context"
	"errors"
)

// ErrConflict says that somebody else wrote the record first; nothing was stored.
var ErrConflict = errors.New("record was changed by somebody else")

// Record is one piece of state. Value is opaque to the store, at most 1 MiB.
type Record struct {
	Table string // lower-case letters and underscores
	Key   string // at most 512 bytes
	Value []byte // nil, when written, deletes the record
	// Version is the store's: 0 means that the record does not exist. When
	// written, it must equal the stored one; Any writes whatever is there.
	Version int64
}

// Any as a Record's version makes a write unconditional.
const Any int64 = -1

// Store keeps records. All its methods are safe for concurrent use.
type Store interface {
	// Read returns one record; Version 0 and a nil Value if there is none.
	Read(ctx context.Context, table, key string) (Record, error)
	// Save writes the records, in one transaction where the store has them, and
	// answers for each in place: its new version, or ErrConflict. The error is for
	// the request as a whole; no outcome is then known and saving again is safe.
	Save(ctx context.Context, records []Record) ([]Saved, error)
	// Scan returns at most n records of a table with keys after the given one, in
	// key order.
	Scan(ctx context.Context, table, after string, n int) ([]Record, error)
}

// Saved is the outcome of one write.
type Saved struct {
	Version int64
	Err     error
}
