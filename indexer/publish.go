package indexer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/fresnel-search/fresnel/indexer/changelog"
	"github.com/fresnel-search/fresnel/indexer/fold"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// emission is an entry on its way into the change log.
type emission struct {
	offset int64
	entry  changelog.Entry
}

// publish appends the changes of the span to the change log, in the order of their
// mutations. What an earlier attempt may have appended already goes out again, with
// the same bytes: it is made of entries, which do not change.
func (h *handler) publish(ctx context.Context, ws *works, items []item, s span) error {
	var out []emission
	for _, w := range ws.list {
		out = h.transitions(out, w.doc, s)
	}
	for i := range items {
		if it := &items[i]; it.m != nil && it.m.Kind == resource.Event && it.dead == nil {
			out = append(out, emission{it.at.Offset, changelog.FromEvent(it.m, seenBy(ws.byRef[it.m.Ref].doc, it.at.Offset))})
		}
	}
	if len(out) == 0 {
		return nil
	}
	slices.SortStableFunc(out, func(a, b emission) int { return cmp.Compare(a.offset, b.offset) })
	recs := make([]stream.Record, len(out))
	for i := range out {
		recs[i] = changeRecord(&out[i].entry)
	}
	err := h.x.deps.Producer.Produce(ctx, recs)
	if errors.Is(err, stream.ErrTooLarge) {
		err = h.publishSingly(ctx, out, recs)
	}
	if err != nil {
		return fmt.Errorf("append %d changes: %w", len(recs), err)
	}
	h.x.metrics.changes.Add(float64(len(recs)))
	return nil
}

// transitions appends the document's entries of the span as they were shown.
func (h *handler) transitions(out []emission, d *resource.Document, s span) []emission {
	outbox, then := d.Outbox, d
	for i := len(outbox) - 1; i >= 0 && outbox[i].At.Offset >= s.first; i-- {
		e := &outbox[i]
		if h.in(s, e.At) && e.Action != "" {
			out = append(out, emission{e.At.Offset, changelog.FromDocument(then, e)})
		}
		if i > 0 {
			then = before(then, e)
		}
	}
	return out
}

// seenBy is what an event takes from the document: who could see it when the event
// came. It takes nothing that the event's change would show, no revision and no
// owner: the event may stand in the mutation log twice, and its change must have the
// same bytes however far the resource has come meanwhile.
func seenBy(d *resource.Document, offset int64) *resource.Document {
	then := d
	for i := len(d.Outbox) - 1; i >= 0 && d.Outbox[i].At.Offset > offset; i-- {
		then = before(then, &d.Outbox[i])
	}
	if then.Ghost() {
		return &resource.Document{Ref: d.Ref}
	}
	return &resource.Document{Ref: d.Ref, Readers: then.Readers, Deleted: then.Deleted}
}

// before returns what the document was shown as before e, its latest entry not yet
// undone. It changes nothing in place: entries of the change log are made of it.
func before(then *resource.Document, e *resource.Entry) *resource.Document {
	c := *then
	c.Fields = maps.Clone(then.Fields)
	if c.Fields == nil {
		c.Fields = make(map[string]json.RawMessage)
	}
	fold.Undo(&c, e)
	return &c
}

// changeRecord makes the change log's record of an entry. One that the log would
// not take goes without its values.
func changeRecord(e *changelog.Entry) stream.Record {
	value := changelog.Encode(e)
	if len(value) > changelog.MaxEntry {
		value = changelog.Encode(changelog.Truncate(e))
	}
	return stream.Record{Topic: ChangesTopic, Partition: -1, Key: []byte(e.Ref.Key()), Value: value}
}

// publishSingly appends changes one by one, those without their values that the
// broker finds too large all the same.
func (h *handler) publishSingly(ctx context.Context, out []emission, recs []stream.Record) error {
	for i := range recs {
		err := h.x.deps.Producer.Produce(ctx, recs[i:i+1])
		if errors.Is(err, stream.ErrTooLarge) {
			err = h.x.deps.Producer.Produce(ctx, []stream.Record{changeRecord(changelog.Truncate(&out[i].entry))})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
