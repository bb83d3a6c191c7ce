// Package fold turns mutations into documents. It is pure: no clock, no store, no
// randomness; the same mutations in any order, in any batches and any number of
// times leave the same State, Fields, Owner, Readers and Deleted. Only the number
// of transitions, and so the revisions, depends on the order.
//
// It does not read or write stores and knows no catalogue: what it must know of a
// resource type comes as Rules. Its invariant: every visible difference that a
// mutation makes is exactly one entry in the outbox and one revision.
package fold

import "github.com/fresnel-search/fresnel/indexer/resource"

// Rules is what the fold must know of one resource type. The catalogue makes it.
type Rules struct {
	Type string
	// Reusable says that ids are used again (flavors, keypairs), so that fields
	// from before a deletion do not come back with a revival. Either way only a
	// mutation with Revives brings a deleted resource back.
	Reusable bool
	// Owner is the field that holds the owning project; empty if none does.
	Owner string
	// Readers say who may see a resource. Without any, only admins do.
	Readers []Reader
	// Parents are the links along which a resource inherits.
	Parents []Parent
	// Cascades reports whether other types name this one as their parent: a
	// transition of owner, readers or deletion must then be carried to them.
	Cascades bool
	// Hidden reports whether a field is for operators only. It must be pure.
	Hidden func(field string) bool
}

// Reader gives principals sight of a resource.
type Reader struct {
	// As is project, user, domain or everyone.
	As string
	// Field holds the id, or a list of ids, of the principals; "*" in it means
	// everyone. With Set, it is a member of each element instead. Empty for everyone.
	Field string
	// Set names a set whose present elements are looked at one by one.
	Set string
	// When holds conditions that must all be met, by field (or element member):
	// the value, as canonical JSON, must be one of those listed.
	When map[string][]string
	// If holds conditions on the document's own fields, in the form of When, for a
	// Reader with Set: image members count only while the image is shared.
	If map[string][]string
}

// Parent is a link to a parent resource.
type Parent struct {
	Type  string // the parent's type
	Field string // the field that holds the parent's id
	// What is inherited. Members takes the parent's readers without Everyone.
	Readers, Members, Owner, Deletion bool
}

// Outcome is what became of a mutation. Each mutation has exactly one.
type Outcome string

// The outcomes, as they stand in the books.
const (
	Applied Outcome = "applied" // a visible transition: one revision, one outbox entry
	Silent  Outcome = "silent"  // the state moved without visible effect
	Stale   Outcome = "stale"   // nothing in it was news
)

// Apply folds m, read at the given position, into d and says what came of it. An
// Applied mutation leaves one new entry at the end of d.Outbox. A document that is
// not stored yet has only its Ref, and must be given its Lineage by the caller.
// Events, cascades and mutations of another resource are programmer errors.
func Apply(r *Rules, d *resource.Document, m *resource.Mutation, at resource.Position) Outcome {
	panic("to be written")
}
