package resource

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/fresnel-search/fresnel/plugins/change"
)

// MaxDocument is the largest document, without State and Outbox, in bytes.
const MaxDocument = 256 << 10

// Document is what is known of one resource: what searches see, what the fold
// needs, and the transitions not yet settled. A store keeps it whole.
type Document struct {
	Ref Ref
	// Version is the store's, for conditional writes: 0 if it is not stored.
	Version int64
	// Lineage is a random id, given when the document is first stored.
	Lineage string
	// Revision counts visible transitions, TenantRevision those of fields that
	// every tenant with sight of the resource may see. Revision 0 is a ghost:
	// nothing that names the resource has come yet, and no search finds it.
	Revision       int64
	TenantRevision int64
	// Deleted marks a tombstone: hidden unless deleted documents are asked for.
	Deleted bool
	// Owner is the id of the owning project; empty if there is none.
	Owner string
	// Readers are the principals that may see it, sorted, without duplicates.
	Readers []Principal
	// Parents are the resources that it inherits from and that it is listed under.
	Parents []Ref
	// Fields are the values by catalogue name, canonical JSON, never null. Sets
	// stand here as arrays of their elements in key order. Names under "other."
	// are fields that the catalogue does not know.
	Fields map[string]json.RawMessage
	// Changed is the time of the latest transition, by the source's clock.
	Changed time.Time
	State   State
	// Outbox holds one entry for each transition that may not be in the change log
	// yet, oldest first.
	Outbox []Entry
}

// Ghost reports whether the resource was never shown.
func (d *Document) Ghost() bool { return d.Revision == 0 }

// Size is about how many bytes the document takes when shown, without state and
// outbox: what MaxDocument limits.
func (d *Document) Size() int {
	n := 128 + len(d.Ref.Type) + len(d.Ref.ID) + len(d.Owner)
	for name, v := range d.Fields {
		n += len(name) + len(v) + 4
	}
	for _, p := range d.Readers {
		n += len(p) + 3
	}
	for _, p := range d.Parents {
		n += len(p.Type) + len(p.ID) + 4
	}
	return n
}

// OutboxSize is about how many bytes the outbox takes when stored.
func (d *Document) OutboxSize() int {
	n := 0
	for i := range d.Outbox {
		e := &d.Outbox[i]
		n += 512
		for _, name := range e.Changed {
			n += len(name) + 3
		}
		for name, v := range e.Before {
			n += len(name) + len(v) + 4
		}
		for _, p := range e.ReadersBefore {
			n += len(p) + 3
		}
	}
	return n
}

// Clone returns a copy that shares nothing that is ever written to: JSON values
// are shared, since nobody changes them in place.
func (d *Document) Clone() *Document {
	c := *d
	c.Readers = slices.Clone(d.Readers)
	c.Parents = slices.Clone(d.Parents)
	c.Fields = maps.Clone(d.Fields)
	c.Outbox = slices.Clone(d.Outbox)
	c.State.Fields = maps.Clone(d.State.Fields)
	c.State.Deletions = slices.Clone(d.State.Deletions)
	c.State.Heritage = maps.Clone(d.State.Heritage)
	c.State.Sets = maps.Clone(d.State.Sets)
	for name, s := range c.State.Sets {
		s.Elements = maps.Clone(s.Elements)
		c.State.Sets[name] = s
	}
	return &c
}

// State is the replicated part of a document: registers and sets with the stamps
// that set them. Folding is a join on it, so it depends on no order.
type State struct {
	Fields map[string]Stamp // the stamp of each register; values are in Document.Fields
	Sets   map[string]Set
	// Named says that a full, partial or delete mutation has come.
	Named bool
	// Deleted and Revived are the latest stamps of a deletion and of a mutation
	// that revives; the resource is deleted while Deleted is not before Revived.
	Deleted, Revived Stamp
	// Horizon is, for types whose ids are used again, the latest deletion before
	// Revived: no register, put or drop up to it counts any more. Deletions are the
	// deletions not before Revived, sorted: a later revival moves Horizon to the
	// latest of them before it. Both stay empty for other types.
	Horizon   Stamp
	Deletions []Stamp
	// Heritage is the latest word of each parent, by the parent's Ref.Key: a link
	// may name another parent later, whose word must not lose to the first one's.
	Heritage map[string]Heritage
	// Latest is the latest stamp of all that was folded.
	Latest Stamp
	// Edition counts mutations folded in; with Latest it orders heritages.
	Edition int64
	// Shown is the latest stamp of all transitions shown: one before it is late.
	Shown Stamp
}

// Set is a collection whose elements come and go one by one. An element is present
// if and only if its put is later than its drop and not before Cleared.
type Set struct {
	Cleared  Stamp
	Elements map[string]Element
}

// Element is one element of a set, with the later of its put and its drop; Value is
// nil if that was the drop.
type Element struct {
	Put, Drop Stamp
	Value     json.RawMessage
}

// Present reports whether the element is in a set cleared at the given stamp.
func (e Element) Present(cleared Stamp) bool {
	return e.Put.After(e.Drop) && e.Put.Compare(cleared) >= 0
}

// Entry is one transition in a document's outbox. Undoing the entries from the
// last to n+1 gives the document as of revision n. An entry without Action is no
// transition: it undoes what moved a tombstone silently, and is never shown.
type Entry struct {
	At             Position      `json:"at"`
	Action         change.Action `json:"action,omitempty"` // as operators see it
	Revision       int64         `json:"revision"`
	TenantRevision int64         `json:"tenant_revision"`
	// TenantVisible says that TenantRevision went up with this transition.
	TenantVisible bool      `json:"tenant_visible,omitempty"`
	Time          time.Time `json:"time"`
	Late          bool      `json:"late,omitempty"`
	// Changed lists the fields that changed, sorted; Before holds those of them
	// that had a value.
	Changed []string                   `json:"changed,omitempty"`
	Before  map[string]json.RawMessage `json:"before,omitempty"`
	// What the document was before: shown at all, its owner and readers.
	WasDeleted    bool         `json:"was_deleted,omitempty"`
	OwnerBefore   string       `json:"owner_before,omitempty"`
	ReadersBefore []Principal  `json:"readers_before,omitempty"`
	Cause         change.Cause `json:"cause"`
}
