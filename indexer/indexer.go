// Package indexer folds the mutations of fresnel.mutations into documents and puts
// every visible transition into the change log fresnel.changes. What happens at a
// crash is written here, once, above a store that is dumb.
//
// It does not decode notifications (listener does), and does not know what a store
// or Kafka is made of. Its invariant: the offset of a mutation is committed only
// after its document is stored, its changes are in the change log, and what it
// means for children is in the mutation log.
package indexer

import (
	"context"
	"time"

	"github.com/fresnel-search/fresnel/indexer/resource"
)

// The topics that this package owns, both keyed by resource.
const (
	MutationsTopic = "fresnel.mutations"
	ChangesTopic   = "fresnel.changes"
)

// Outcomes of Store.Write for one document.
var (
	// ErrConflict says that the stored document is not at the version loaded.
	ErrConflict = resource.ErrConflict
	// ErrRejected says that the store will never take this document: the wrapped
	// text tells why, without values.
	ErrRejected = resource.ErrRejected
	// ErrAgain says that nothing was stored and that the same write may succeed later.
	ErrAgain = resource.ErrAgain
)

// Store keeps documents. It is dumb: it folds nothing and retries nothing.
type Store interface {
	// Load returns the documents in the order of refs, realtime: what Write
	// acknowledged is seen. One that is not stored has Version 0 and only its Ref.
	Load(ctx context.Context, refs []resource.Ref) ([]resource.Document, error)
	// Write stores docs, each only if it is still at the version it was loaded
	// with (0: it must not exist). It answers for each document in place; a nil Err
	// comes with the new version. The error is for the request as a whole; no
	// outcome is then known, and writing again is safe. No ref stands twice in docs.
	Write(ctx context.Context, docs []resource.Document) ([]Written, error)
	// Children returns at most n refs, by id, of documents of type child that have
	// parent among their Parents and ids after the given one; tombstones are left
	// out, ghosts are not. It sees what was written before the last refresh: with
	// refresh set, everything acknowledged before the call.
	Children(ctx context.Context, q ChildQuery) ([]resource.Ref, error)
	// Sweep removes at most n tombstones that were last written before the time, by
	// the store's clock: what a source says of a deletion's time may be long past when
	// it is heard, and its late notifications are yet to come.
	Sweep(ctx context.Context, before time.Time, n int) (int, error)
}

// ChildQuery asks for a page of a parent's children.
type ChildQuery = resource.ChildQuery

// Written is the outcome of one document's write.
type Written = resource.Written
