// Package fold turns mutations into documents. It is pure: no clock, no store, no
// randomness; the same mutations in any order, in any batches and any number of
// times leave the same State, Fields, Owner, Readers and Deleted. Only the number
// of transitions, and so the revisions, depends on the order.
//
// It does not read or write stores and knows no catalogue: what it must know of a
// resource type comes as Rules. Its invariant: every visible difference that a
// mutation makes is exactly one entry in the outbox and one revision.
package fold

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
)

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
	// What is inherited. Members takes the parent's readers without Everyone. A
	// Deletion is final, as any is: a link that names another parent later, or a
	// parent that is revived, does not bring the child back.
	Readers, Members, Owner, Deletion bool
}

// Outcome is what became of a mutation. Each mutation has exactly one.
type Outcome string

// The outcomes, as they stand in the books. A Silent mutation that moved a
// tombstone leaves an entry without Action, so that the deletion can be shown again
// with the bytes that it had.
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
	if m.Ref != d.Ref || r.Type != d.Ref.Type {
		panic("fold: mutation, document and rules are not of one resource")
	}
	f := folding{r: r, d: d, m: m, was: phaseOf(&d.State), owner: d.Owner, readers: d.Readers}
	f.merge()
	if !f.moved {
		return Stale
	}
	d.State.Edition++
	if f.relink || len(f.changed) > 0 || f.fields != nil {
		f.derive()
	}
	return f.conclude(at)
}

// phase is what the world knows of a resource: nothing, that it is, or that it was.
type phase int

const (
	ghost phase = iota
	live
	deleted
)

func phaseOf(s *resource.State) phase {
	switch {
	case !s.Named:
		return ghost
	case !s.Deleted.IsZero() && !s.Revived.After(s.Deleted):
		return deleted
	}
	return live
}

// folding is one mutation on its way into a document.
type folding struct {
	r *Rules
	d *resource.Document
	m *resource.Mutation

	moved   bool                       // something in the state is news
	relink  bool                       // a heritage came
	changed []string                   // the fields that differ, each once
	before  map[string]json.RawMessage // the values of those that had one
	fields  map[string]json.RawMessage // all fields before, if a revival dropped some

	was     phase
	owner   string
	readers []resource.Principal
}

// set gives a field its value, or none, and notes the difference.
func (f *folding) set(name string, v json.RawMessage) {
	old, had := f.d.Fields[name]
	null := resource.IsNull(v)
	if null && !had || had && bytes.Equal(old, v) {
		return
	}
	f.changed = append(f.changed, name)
	if had {
		if f.before == nil {
			f.before = make(map[string]json.RawMessage)
		}
		f.before[name] = old
	}
	if null {
		delete(f.d.Fields, name)
		return
	}
	if f.d.Fields == nil {
		f.d.Fields = make(map[string]json.RawMessage, len(f.m.Fields)+len(f.m.Sets))
	}
	f.d.Fields[name] = v
}

// differ finds the changed fields anew after a revival had dropped some of them.
func (f *folding) differ() {
	was := f.fields
	f.changed, f.before, f.fields = nil, nil, nil
	for name, v := range was {
		if now, ok := f.d.Fields[name]; !ok || !bytes.Equal(v, now) {
			f.changed = append(f.changed, name)
			if f.before == nil {
				f.before = make(map[string]json.RawMessage)
			}
			f.before[name] = v
		}
	}
	for name := range f.d.Fields {
		if _, ok := was[name]; !ok {
			f.changed = append(f.changed, name)
		}
	}
}

// conclude turns the difference made into an entry, if anybody can see it.
func (f *folding) conclude(at resource.Position) Outcome {
	if f.fields != nil {
		f.differ()
	}
	d, now := f.d, phaseOf(&f.d.State)
	d.Deleted = now == deleted
	differs := len(f.changed) > 0 || f.owner != d.Owner || !slices.Equal(f.readers, d.Readers)
	if now == ghost || now == f.was && !differs {
		return Silent
	}
	e := resource.Entry{
		At: at, Time: f.m.Stamp.When(), Cause: f.m.Cause,
		WasDeleted: f.was == deleted, OwnerBefore: f.owner, ReadersBefore: f.readers,
	}
	if f.was != ghost {
		slices.Sort(f.changed)
		e.Changed, e.Before = f.changed, f.before
	}
	outcome := Applied
	switch {
	case now == deleted && f.was == deleted:
		outcome = Silent
	case now == deleted:
		e.Action, e.TenantVisible = change.Deleted, true
	case f.was != live:
		e.Action, e.TenantVisible = change.Created, true
	default:
		e.Action, e.TenantVisible = change.Updated, f.visible()
	}
	if outcome == Applied {
		f.count(&e)
	}
	e.Revision, e.TenantRevision = d.Revision, d.TenantRevision
	d.Outbox = append(d.Outbox, e)
	return outcome
}

// count makes the entry a revision.
func (f *folding) count(e *resource.Entry) {
	d, stamp := f.d, f.m.Stamp
	d.Revision++
	if e.TenantVisible {
		d.TenantRevision++
	}
	e.Late = d.State.Shown.After(stamp)
	if !e.Late {
		d.State.Shown = stamp
	}
	if e.Time.After(d.Changed) {
		d.Changed = e.Time
	}
}

// visible reports whether a tenant with sight of the resource can see a difference.
func (f *folding) visible() bool {
	for _, name := range f.changed {
		if f.r.Hidden == nil {
			return true
		}
		if f.r.Hidden(name) {
			continue
		}
		was, _ := resource.Strip(name, f.before[name], f.r.Hidden)
		now, _ := resource.Strip(name, f.d.Fields[name], f.r.Hidden)
		if !bytes.Equal(was, now) {
			return true
		}
	}
	return false
}
