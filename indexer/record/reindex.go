package record

import (
	"encoding/json"
	"fmt"
	"time"
)

// Reindexes is the table of reindexes: one record for each resource type, under its
// name, with the last one asked for.
const Reindexes = "reindex"

// Reindex is one resource type's way to a new index: what was asked for, how far it
// is, and where to go on after a crash.
type Reindex struct {
	Type string `json:"type"`
	// Why is what the catalogue wants otherwise, in words.
	Why   []string     `json:"why,omitempty"`
	State ReindexState `json:"state"`
	// Abort says that somebody wants it ended and undone.
	Abort bool `json:"abort,omitempty"`
	// Rate limits the copying to so many documents a second; 0 does not.
	Rate int `json:"rate,omitempty"`
	// Keep leaves the old index where it is; else it is deleted after Grace, in which
	// nothing reads or writes it.
	Keep  bool          `json:"keep,omitempty"`
	Grace time.Duration `json:"grace_ns,omitempty"`
	// Old are the indices that are left.
	Old []string `json:"old,omitempty"`
	// Blocks says that writers wait for it, or soon will.
	Blocks bool `json:"blocks,omitempty"`
	// Ending is what it ends as when it has been undone; empty if it is not to be.
	Ending ReindexState `json:"ending,omitempty"`

	Requested time.Time `json:"requested"`
	Started   time.Time `json:"started,omitzero"`
	Ended     time.Time `json:"ended,omitzero"`
	// Error is why it failed or, while it runs, why it does not get on.
	Error string `json:"error,omitempty"`

	Progress
	// Checkpoint is the store's: where it goes on.
	Checkpoint json.RawMessage `json:"checkpoint,omitempty"`
}

// Progress is how far a reindex is.
type Progress struct {
	// Phase is what is done now, in words.
	Phase string `json:"phase"`
	// Pass counts the copies: the first copies all, each other what changed since.
	Pass   int   `json:"pass,omitempty"`
	Copied int64 `json:"copied"` // documents of this pass
	Total  int64 `json:"total"`  // documents of this pass, about
	// PerSecond is the rate of this pass, and Left about how long it still takes.
	PerSecond float64       `json:"per_second,omitempty"`
	Left      time.Duration `json:"left_ns,omitempty"`
	// Pauses is how often writers have been kept waiting, and Paused the longest of it.
	Pauses int           `json:"pauses,omitempty"`
	Paused time.Duration `json:"paused_ns,omitempty"`
	// Served says that the new index is the one in use: there is no way back.
	Served bool `json:"served,omitempty"`
}

// ReindexState is what has become of a reindex.
type ReindexState string

// The states.
const (
	ReindexWaits   ReindexState = "waiting"
	ReindexRuns    ReindexState = "running"
	ReindexServed  ReindexState = "served" // done, but the old index is still there
	ReindexDone    ReindexState = "done"
	ReindexFailed  ReindexState = "failed"
	ReindexAborted ReindexState = "aborted"
)

// Open reports whether there is something left to do.
func (r *Reindex) Open() bool { return r.State == ReindexWaits || r.State == ReindexRuns }

// Due reports whether old indices are to be deleted now: its own, or what it was left by
// one before it.
func (r *Reindex) Due(now time.Time) bool {
	left := len(r.Old) > 0 && !r.Keep && (r.State == ReindexFailed || r.State == ReindexAborted)
	return (left || r.State == ReindexServed) && now.Sub(r.Ended) >= r.Grace
}

// Record is the reindex as it is stored, written only over the version given.
func (r *Reindex) Record(version int64) (Record, error) {
	value, err := json.Marshal(r)
	if err != nil {
		return Record{}, fmt.Errorf("encode reindex of %s: %w", r.Type, err)
	}
	return Record{Table: Reindexes, Key: r.Type, Value: value, Version: version}, nil
}

// DecodeReindex is the reverse of Reindex.Record.
func DecodeReindex(rec Record) (*Reindex, error) {
	r := &Reindex{}
	if err := json.Unmarshal(rec.Value, r); err != nil {
		return nil, fmt.Errorf("decode reindex of %s: %w", rec.Key, err)
	}
	return r, nil
}
