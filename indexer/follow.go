package indexer

import (
	"context"
	"fmt"

	"github.com/fresnel-search/fresnel/indexer/fold"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/plugins/change"
)

// follow appends to the mutation log what the step means for other resources: the
// cascades of parents that changed, what cascades hand to children, and what
// children have yet to learn from their parents. Either the scan of a cascade sees
// a child, or the child's writer, who looks here after its write, sees the parent.
func (h *handler) follow(ctx context.Context, ws *works, items []item, s span) error {
	out := h.cascades(ws, s)
	handed, err := h.handDown(ctx, ws, items)
	if err != nil {
		return err
	}
	learned, err := h.learn(ctx, ws)
	if err != nil {
		return err
	}
	out = append(append(out, handed...), learned...)
	if len(out) == 0 {
		return nil
	}
	recs := make([]stream.Record, len(out))
	for i := range out {
		recs[i] = stream.Record{
			Topic: MutationsTopic, Partition: -1, Key: []byte(out[i].Ref.Key()), Value: resource.EncodeMutation(&out[i]),
		}
	}
	if err := h.x.deps.Producer.Produce(ctx, recs); err != nil {
		return fmt.Errorf("append %d cascades and heritages: %w", len(recs), err)
	}
	h.x.metrics.followups.Add(float64(len(recs)))
	return nil
}

// cascades starts one for each parent with a transition that concerns children. It
// looks at entries, so that a replay does the same.
func (h *handler) cascades(ws *works, s span) (out []resource.Mutation) {
	for _, w := range ws.list {
		for i := range w.doc.Outbox {
			e := &w.doc.Outbox[i]
			if !h.in(s, e.At) {
				continue
			}
			if rules := w.rules(h); rules != nil && fold.CascadeNeeded(rules, w.doc, i) {
				out = append(out, resource.Mutation{
					Ref: w.doc.Ref, Kind: resource.Cascade, Stamp: w.doc.State.Latest,
					Cascade: &resource.CascadePage{}, Cause: byCascade(e.Cause),
				})
			}
			break
		}
	}
	return out
}

// rules are those of the document's type; nil if the catalogue has lost it.
func (w *work) rules(h *handler) *fold.Rules {
	if t := h.x.deps.Catalog.Type(w.doc.Ref.Type); t != nil {
		return &t.Rules
	}
	return nil
}

// handDown handles the cascades among the items. Two that begin at the first child
// find the same parent and the same children, so one of them does.
func (h *handler) handDown(ctx context.Context, ws *works, items []item) (out []resource.Mutation, err error) {
	begun := make(map[resource.Ref]bool)
	for i := range items {
		it := &items[i]
		if it.m == nil || it.m.Kind != resource.Cascade || it.dead != nil {
			continue
		}
		if *it.m.Cascade == (resource.CascadePage{}) {
			if begun[it.m.Ref] {
				continue
			}
			begun[it.m.Ref] = true
		}
		page, err := h.page(ctx, ws, it.m)
		if err != nil {
			return nil, fmt.Errorf("cascade of %s: %w", it.m.Ref, err)
		}
		out = append(out, page...)
	}
	return out, nil
}

// page hands the parent's state to the next children, at most CascadePage of them,
// and to the rest by another cascade. The parent's as it is now, not as it was when
// the cascade began: later is never less.
func (h *handler) page(ctx context.Context, ws *works, m *resource.Mutation) (out []resource.Mutation, err error) {
	parents, err := h.current(ctx, ws, []resource.Ref{m.Ref})
	if err != nil {
		return nil, err
	}
	parent := parents[m.Ref]
	if parent == nil || parent.Ghost() {
		return nil, nil
	}
	heritage := fold.HeritageOf(parent)
	at := *m.Cascade
	room := h.x.config.CascadePage
	for _, child := range h.x.deps.Catalog.Children(m.Ref.Type) {
		if child < at.Child {
			continue
		}
		if child != at.Child {
			at = resource.CascadePage{Child: child}
		}
		if room == 0 {
			next := *m
			next.Cascade = &at
			return append(out, next), nil
		}
		refs, err := h.x.deps.Store.Children(ctx, resource.ChildQuery{
			Parent: m.Ref, Child: child, After: at.After, N: room, Refresh: at.After == "",
		})
		if err != nil {
			return nil, err
		}
		for _, ref := range refs {
			out = append(out, inherit(ref, heritage, m.Cause))
		}
		if len(refs) == room {
			next := *m
			next.Cascade = &resource.CascadePage{Child: child, After: refs[len(refs)-1].ID}
			return append(out, next), nil
		}
		room -= len(refs)
	}
	return out, nil
}

// learn looks at the parents of the documents that the step wrote, or found written
// by an earlier attempt, and returns what those have not inherited yet.
func (h *handler) learn(ctx context.Context, ws *works) (out []resource.Mutation, err error) {
	var refs []resource.Ref
	for _, w := range ws.list {
		if len(w.items) > 0 && w.doc.Version > 0 {
			refs = append(refs, w.doc.Parents...)
		}
	}
	parents, err := h.current(ctx, ws, refs)
	if err != nil {
		return nil, fmt.Errorf("look at %d parents: %w", len(refs), err)
	}
	for _, w := range ws.list {
		if len(w.items) == 0 || w.doc.Version == 0 {
			continue
		}
		for _, ref := range w.doc.Parents {
			parent := parents[ref]
			if parent == nil || parent.Ghost() || !fold.InheritNeeded(w.doc, parent) {
				continue
			}
			heritage := fold.HeritageOf(parent)
			out = append(out, inherit(w.doc.Ref, heritage, change.Cause{
				Kind: change.ByCascade, Timestamp: heritage.Stamp.When(), MessageID: heritage.Stamp.Message,
			}))
		}
	}
	return out, nil
}

// current returns the documents as they are stored: those of this partition from
// memory, the others from the store. What is not stored is not in the map.
func (h *handler) current(ctx context.Context, ws *works, refs []resource.Ref) (map[resource.Ref]*resource.Document, error) {
	found := make(map[resource.Ref]*resource.Document, len(refs))
	var missing []resource.Ref
	for _, ref := range refs {
		if _, seen := found[ref]; seen {
			continue
		}
		found[ref] = h.cache.peek(ref)
		if w := ws.byRef[ref]; w != nil {
			found[ref] = w.doc
		}
		if found[ref] == nil {
			missing = append(missing, ref)
		}
	}
	if len(missing) == 0 {
		return found, nil
	}
	docs, err := h.x.deps.Store.Load(ctx, missing)
	if err == nil && len(docs) != len(missing) {
		err = fmt.Errorf("store answered for %d of %d documents", len(docs), len(missing))
	}
	if err != nil {
		return nil, err
	}
	for i := range docs {
		if docs[i].Version > 0 {
			found[missing[i]] = &docs[i]
		}
	}
	return found, nil
}

func inherit(child resource.Ref, heritage resource.Heritage, cause change.Cause) resource.Mutation {
	return resource.Mutation{
		Ref: child, Kind: resource.Inherit, Stamp: heritage.Stamp, Inherit: &heritage, Cause: byCascade(cause),
	}
}

func byCascade(c change.Cause) change.Cause {
	c.Kind = change.ByCascade
	return c
}
