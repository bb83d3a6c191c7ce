package resource

import (
	"encoding/json"

	"github.com/fresnel-search/fresnel/plugins/change"
)

// Kind is the kind of a mutation.
type Kind string

// The kinds. Full and Partial name the resource; Put, Drop, Inherit and Cascade
// never make one visible.
const (
	Full    Kind = "full"    // the source showed the resource: fields, and whole sets
	Partial Kind = "partial" // the source showed some fields of it
	Delete  Kind = "delete"  // the source deleted it
	Put     Kind = "put"     // an element of a set was added or replaced
	Drop    Kind = "drop"    // an element of a set was removed
	Inherit Kind = "inherit" // what the resource has from its parent
	Cascade Kind = "cascade" // carry this parent's state to its children, a page at a time
	Event   Kind = "event"   // the service said something that changes no state
)

// Mutation is what one source says about one resource. It is immutable once it is
// in the log, and folding it twice is the same as folding it once.
type Mutation struct {
	Ref   Ref   `json:"ref"`
	Kind  Kind  `json:"kind"`
	Stamp Stamp `json:"stamp"`

	// Fields holds the fields that the source showed, by catalogue name, values as
	// canonical JSON; null says that the field has no value. A field that is not
	// here is not spoken of. Names under "other." are fields that the catalogue
	// does not know. In an Event it is the stripped payload.
	Fields map[string]json.RawMessage `json:"fields,omitempty"`
	// Sets holds whole sets as the source showed them, elements by key: what is not
	// in it had been removed by the time of Stamp. For Full and Partial, and for a
	// Put that tells of a whole set but does not name the resource.
	Sets map[string]map[string]json.RawMessage `json:"sets,omitempty"`
	// Elements holds single elements to put (the value) or to drop (null), by set
	// and key. For Put and Drop, which may mix both; Full and Partial may carry them
	// as well, of sets that are not in Sets.
	Elements map[string]map[string]json.RawMessage `json:"elements,omitempty"`

	// Revives says that this mutation makes a deleted resource visible again if its
	// stamp is later than the deletion's: a create of a type whose ids are used
	// again, or a reading from an API.
	Revives bool `json:"revives,omitempty"`

	Inherit *Heritage    `json:"inherit,omitempty"` // for Inherit
	Cascade *CascadePage `json:"cascade,omitempty"` // for Cascade

	Cause change.Cause `json:"cause"`
}

// Heritage is what a child has from its parent. Heritages of one parent are
// ordered by Stamp and then by Edition, never by arrival.
type Heritage struct {
	Parent Ref `json:"parent"`
	// Stamp is the latest stamp in the parent's state.
	Stamp Stamp `json:"stamp"`
	// Edition counts the mutations that the parent's state has taken in.
	Edition int64       `json:"edition"`
	Owner   string      `json:"owner,omitempty"`
	Readers []Principal `json:"readers,omitempty"`
	// Deleted is the stamp of the parent's deletion; zero while it lives.
	Deleted Stamp `json:"deleted,omitzero"`
}

// Newer reports whether h says more than o about the same parent.
func (h Heritage) Newer(o Heritage) bool {
	if c := h.Stamp.Compare(o.Stamp); c != 0 {
		return c > 0
	}
	return h.Edition > o.Edition
}

// CascadePage is how far a cascade has come through the children of a parent.
type CascadePage struct {
	// Child is the child type scanned now; empty before the first.
	Child string `json:"child,omitempty"`
	// After is the last child id handled.
	After string `json:"after,omitempty"`
}
