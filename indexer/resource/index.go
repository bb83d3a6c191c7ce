package resource

import "errors"

// ErrServing says that a reindex cannot be undone: the new index serves already.
var ErrServing = errors.New("the new index serves already")

// Index is how a store keeps the documents of one resource type, beside what the
// catalogue wants. It is a noun, so that stores and the search API can speak it
// without knowing each other.
type Index struct {
	Name       string     `json:"name"` // the store's; where it is missing, what it will be called
	Type       string     `json:"type"`
	Generation int        `json:"generation,omitempty"`
	State      IndexState `json:"state"`
	Documents  int64      `json:"documents"`       // ghosts and tombstones among them
	Bytes      int64      `json:"bytes,omitempty"` // on disk; 0 where the store does not know
	// Differences are what the catalogue wants otherwise, in words, none if nothing.
	Differences []string `json:"differences,omitempty"`
	// Settings are what the configuration wants otherwise and the server can change
	// while the index is in use, in words.
	Settings []string `json:"settings,omitempty"`
	// Trouble is why the index does not take writes although it should.
	Trouble string `json:"trouble,omitempty"`
}

// IndexState is what an index is there for.
type IndexState string

// The states.
const (
	IndexServes  IndexState = "serving" // written and searched
	IndexMissing IndexState = "missing" // the catalogue has the type, the store nothing
	IndexIdle    IndexState = "idle"    // of another generation: neither written nor searched
	IndexStray   IndexState = "stray"   // of a type that the catalogue does not have
)
