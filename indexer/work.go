package indexer

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/fresnel-search/fresnel/indexer/fold"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
)

// maxOutbox is the size that an outbox does not pass: a step ends before.
const maxOutbox = 256 << 10

// work is one document of a step, with the mutations folded into it.
type work struct {
	doc   *resource.Document
	items []*item
	dirty bool // differs from what is stored
	// broken says that a mutation left the document in an unknown state: it must be
	// loaded and folded again without that one.
	broken bool
	// guessed says that the document was taken for a new one without being looked up.
	guessed bool
}

// works are the documents of a step.
type works struct {
	first int64 // the first offset of the step: entries below are settled
	list  []*work
	byRef map[resource.Ref]*work
}

// load gathers the documents that the items fold into or speak of.
func (h *handler) load(ctx context.Context, items []item, first int64) (*works, error) {
	ws := &works{first: first, byRef: make(map[resource.Ref]*work)}
	var missing []*work
	var refs []resource.Ref
	for i := range items {
		it := &items[i]
		if it.m == nil || it.m.Kind == resource.Cascade || ws.byRef[it.m.Ref] != nil {
			continue
		}
		w := &work{doc: h.cache.take(it.m.Ref)}
		ws.list = append(ws.list, w)
		ws.byRef[it.m.Ref] = w
		switch {
		case w.doc != nil:
		case it.folds() && h.newcomers.likely():
			w.doc, w.guessed = &resource.Document{Ref: it.m.Ref}, true
		default:
			missing, refs = append(missing, w), append(refs, it.m.Ref)
		}
	}
	if err := h.fetch(ctx, missing, refs); err != nil {
		return nil, err
	}
	h.newcomers.note(unstored(missing), len(missing))
	for _, w := range ws.list {
		fold.Evict(w.doc, h.log, first)
	}
	return ws, nil
}

// fetch loads the stored documents into ws, whose refs are given.
func (h *handler) fetch(ctx context.Context, ws []*work, refs []resource.Ref) error {
	if len(ws) == 0 {
		return nil
	}
	docs, err := h.x.deps.Store.Load(ctx, refs)
	if err == nil && len(docs) != len(refs) {
		err = fmt.Errorf("store answered for %d", len(docs))
	}
	if err != nil {
		return fmt.Errorf("load %d documents: %w", len(refs), err)
	}
	for i, w := range ws {
		d := docs[i]
		w.doc, w.dirty, w.broken, w.guessed = &d, false, false, false
	}
	return nil
}

// unstored counts the documents that are not stored.
func unstored(ws []*work) (n int) {
	for _, w := range ws {
		if w.doc.Version == 0 {
			n++
		}
	}
	return n
}

// fold folds the items in order and returns how many it took: it stops before the
// one that could make an outbox too large which would be smaller in a new step.
func (ws *works) fold(h *handler, items []item) int {
	for i := range items {
		it := &items[i]
		if !it.folds() {
			continue
		}
		w := ws.byRef[it.m.Ref]
		if i > 0 && w.full(it) {
			return i
		}
		w.items = append(w.items, it)
		if !w.broken {
			w.apply(h, it)
		}
	}
	return len(items)
}

// full reports whether the outbox might pass its limit with this item's entry,
// which holds at most the whole document and something of the mutation.
func (w *work) full(it *item) bool {
	if len(w.doc.Outbox) == 0 || w.doc.Outbox[0].At.Offset >= it.at.Offset {
		return false
	}
	return w.doc.OutboxSize()+w.doc.Size()+len(it.rec.Value) > maxOutbox
}

// apply folds one item. A mutation that makes the document too large is undone and
// given up on; so is one that makes the fold panic, since it would come back with
// every replay and hold up the partition for good.
func (w *work) apply(h *handler, it *item) {
	defer func() {
		if recover() != nil {
			h.x.log.Error("mutation made the fold panic", "resource_type", it.m.Ref.Type, "resource_id", it.m.Ref.ID,
				"partition", it.at.Partition, "offset", it.at.Offset, "stack", string(debug.Stack()))
			it.kill("panic", "the fold panicked: a defect of Fresnel")
			w.broken = true
		}
	}()
	d := w.doc
	if d.Version == 0 && d.Lineage == "" {
		d.Lineage = h.x.deps.Lineage()
	}
	var undo *resource.Document
	size := d.Size()
	if size+len(it.rec.Value) > resource.MaxDocument {
		undo = d.Clone()
	}
	it.dead, it.outcome = nil, fold.Apply(it.rules, d, it.m, it.at)
	switch {
	case it.outcome == fold.Stale:
		it.outcome = replayed(d, it.at)
	case undo != nil && d.Size() > max(size, resource.MaxDocument):
		it.dead = &death{"too_large", fmt.Sprintf("the document would have %d bytes of %d", d.Size(), resource.MaxDocument)}
		w.doc = undo
	default:
		w.dirty = true
	}
}

// replayed is the outcome of a stale mutation: what it was when it was folded for
// the first time, if its entry is still there.
func replayed(d *resource.Document, at resource.Position) fold.Outcome {
	for i := range d.Outbox {
		switch e := &d.Outbox[i]; {
		case e.At != at:
		case e.Action == change.Action(""):
			return fold.Silent
		default:
			return fold.Applied
		}
	}
	return fold.Stale
}

// refold loads documents again and folds their items into what is stored now. A
// mutation that is stored already is stale by then, and has its entry there.
func (h *handler) refold(ctx context.Context, first int64, ws []*work) error {
	for len(ws) > 0 {
		refs := make([]resource.Ref, len(ws))
		for i, w := range ws {
			refs[i] = w.doc.Ref
		}
		if err := h.fetch(ctx, ws, refs); err != nil {
			return err
		}
		var broken []*work
		for _, w := range ws {
			fold.Evict(w.doc, h.log, first)
			for _, it := range w.items {
				if !w.broken && it.folds() {
					w.apply(h, it)
				}
			}
			if w.broken {
				broken = append(broken, w)
			}
		}
		ws = broken
	}
	return nil
}
