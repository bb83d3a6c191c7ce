// Package query holds the typed form of a search: what the API accepts is parsed
// into it, policy acts on it, stores compile it. Nothing unparsed reaches a store.
//
// It knows no store and no caller. Its invariant: Parse refuses every clause,
// option and value that it does not know, with the path of the offending key, so
// that whatever a Request holds has been understood.
package query

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/fresnel-search/fresnel/indexer/resource"
)

// ErrNotFound says that there is no such resource in the scope; whether there is
// one outside of it is not told.
var ErrNotFound = errors.New("resource not found")

// Request is one search, parsed and, before it reaches a store, restricted.
type Request struct {
	// Types are the resource types searched, in catalogue order, never empty when
	// it reaches a store.
	Types []string
	Query Node
	From  int
	Size  int
	Sort  []Sort
	// Source selects the members of hits' documents; nil selects all.
	Source *Source
	// Version asks for the revision of each hit.
	Version bool
	// AllProjects asks for every project's resources; only admins get them.
	AllProjects bool
	// Timeout bounds the search; zero leaves it to the store.
	Timeout time.Duration

	// Scope is set by policy, never by parsing: what this caller may see. A store
	// refuses a Request without one.
	Scope *Scope
}

// Scope restricts a search to what a caller may see.
type Scope struct {
	// All sees every resource; else only those with one of Principals among
	// their readers.
	All        bool
	Principals []resource.Principal
	// Hidden shows fields for operators. Without it such fields do not exist: not
	// in hits, not for queries, not for sorting, not in revisions.
	Hidden bool
}

// Sees reports whether the scope sees what the readers may see.
func (s *Scope) Sees(readers []resource.Principal) bool {
	return s.All || slices.ContainsFunc(readers, func(p resource.Principal) bool { return slices.Contains(s.Principals, p) })
}

// Sort is one sort key. Ties are broken by type and id.
type Sort struct {
	Field   string // a field name, or _score, or _id
	Desc    bool
	Missing string // _last (the default) or _first
	Mode    string // min or max of several values; empty is min ascending, max descending
}

// Source selects members by dotted path; * stands for any characters.
type Source struct {
	Include, Exclude []string
}

// Result is what a store found.
type Result struct {
	Total    int
	MaxScore *float64
	Hits     []Hit
	Took     time.Duration
	// Partial says why the answer may lack hits; empty if it is whole.
	Partial string
}

// Hit is one document found, already without what the scope hides.
type Hit struct {
	Ref      resource.Ref
	Score    *float64 // nil when sorted by something else
	Revision int64    // as the scope counts
	Source   json.RawMessage
	Sort     []json.RawMessage
}
