package fold

import (
	"encoding/json"
	"slices"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
)

// Evict drops the entries that are settled: those of another mutation log, and
// those with offsets before the given one, the start of the batch about to be
// folded.
func Evict(d *resource.Document, log string, before int64) {
	d.Outbox = slices.DeleteFunc(d.Outbox, func(e resource.Entry) bool {
		return e.At.Log != log || e.At.Offset < before
	})
	if len(d.Outbox) == 0 {
		d.Outbox = nil
	}
}

// TooLarge reports whether the document has outgrown what a store takes. The
// mutation that made it so must be given up and the document loaded again.
func TooLarge(d *resource.Document) bool { return d.Size() > resource.MaxDocument }

// Undo takes back the latest entry that is not undone yet: d becomes what it was
// shown as before. State, Parents, Changed and Outbox stay as they are, so the
// result can be shown but not folded further. Before revision 1 nothing was shown.
func Undo(d *resource.Document, e *resource.Entry) {
	if d.Fields == nil && len(e.Before) > 0 {
		d.Fields = make(map[string]json.RawMessage, len(e.Before))
	}
	for _, name := range e.Changed {
		if v, ok := e.Before[name]; ok {
			d.Fields[name] = v
		} else {
			delete(d.Fields, name)
		}
	}
	d.Owner, d.Readers, d.Deleted = e.OwnerBefore, e.ReadersBefore, e.WasDeleted
	if e.Action == "" {
		return
	}
	d.Revision = e.Revision - 1
	d.TenantRevision = e.TenantRevision
	if e.TenantVisible {
		d.TenantRevision--
	}
	if d.Revision == 0 {
		clear(d.Fields)
		d.Owner, d.Readers, d.Deleted = "", nil, false
	}
}

// AsOf returns the document as of right after d.Outbox[i], to be shown only.
func AsOf(d *resource.Document, i int) *resource.Document {
	c := d.Clone()
	for j := len(d.Outbox) - 1; j > i; j-- {
		Undo(c, &d.Outbox[j])
	}
	return c
}

// HeritageOf is what a document hands to its children.
func HeritageOf(d *resource.Document) resource.Heritage {
	h := resource.Heritage{Parent: d.Ref, Stamp: d.State.Latest, Edition: d.State.Edition, Owner: d.Owner, Readers: d.Readers}
	if d.Deleted {
		h.Deleted = d.State.Deleted
	}
	return h
}

// CascadeNeeded reports whether one of d.Outbox[from:] changed something that
// children inherit: being there, the owner, or the readers.
func CascadeNeeded(r *Rules, d *resource.Document, from int) bool {
	if !r.Cascades {
		return false
	}
	owner, readers := d.Owner, d.Readers
	for i := len(d.Outbox) - 1; i >= from; i-- {
		e := &d.Outbox[i]
		if e.Action == change.Created || e.Action == change.Deleted || e.OwnerBefore != owner || !slices.Equal(e.ReadersBefore, readers) {
			return true
		}
		owner, readers = e.OwnerBefore, e.ReadersBefore
	}
	return false
}

// InheritNeeded reports whether parent has news for child: the child names it and
// has an older word of it, or none.
func InheritNeeded(child, parent *resource.Document) bool {
	if parent.State.Edition == 0 || !slices.Contains(child.Parents, parent.Ref) {
		return false
	}
	known, ok := child.State.Heritage[parent.Ref.Key()]
	return !ok || HeritageOf(parent).Newer(known)
}
