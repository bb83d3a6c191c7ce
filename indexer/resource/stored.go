package resource

import "errors"

// Outcomes of a conditional write of one document. They and the two structs below
// are nouns, so that stores can speak them without knowing the indexer.
var (
	// ErrConflict says that the stored document is not at the version loaded.
	ErrConflict = errors.New("document was changed by somebody else")
	// ErrRejected says that the store will never take this document: the wrapped
	// text tells why, without values.
	ErrRejected = errors.New("store rejects the document")
	// ErrAgain says that nothing was stored and that the same write may succeed later.
	ErrAgain = errors.New("store is busy")
)

// ChildQuery asks for a page of a parent's children.
type ChildQuery struct {
	Parent  Ref
	Child   string // the type of the children
	After   string // the last id of the page before
	N       int
	Refresh bool
}

// Written is the outcome of one document's write.
type Written struct {
	Version int64
	Err     error // nil, or wraps ErrConflict, ErrRejected or ErrAgain
}
