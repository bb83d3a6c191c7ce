package sqlite

import (
	"context"
	"maps"
	"slices"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/sqlite/compile"
)

// batch is the work of one call on the inverted table. Rows are inserted at its end,
// in the table's order.
type batch struct {
	w      *writer
	schema *compile.Schema
	add    map[int64][]termRow // by field
}

type termRow struct {
	compile.Row
	doc int64
}

func newBatch(w *writer, s *compile.Schema) *batch {
	return &batch{w: w, schema: s, add: map[int64][]termRow{}}
}

// indexed is a document that was written: as it was and as it is, with its rows.
type indexed struct {
	doc      int64
	old, new *resource.Document
	rows     []compile.Row
}

func visible(d *resource.Document) bool { return !d.Ghost() && !d.Deleted }

// index brings what searches see of a document from the old state to the new one;
// only rows that differ are touched.
func (b *batch) index(ctx context.Context, x indexed) error {
	was, err := b.schema.Rows(x.old)
	if err != nil {
		return err
	}
	changed := visible(x.old) != visible(x.new)
	is := x.rows
	for len(was) > 0 || len(is) > 0 {
		c := -1
		switch {
		case len(was) == 0:
			c = 1
		case len(is) > 0:
			c = was[0].Compare(is[0])
		}
		if c <= 0 {
			if c < 0 {
				changed = true
				if err := b.removeTerm(ctx, x.doc, was[0]); err != nil {
					return err
				}
			}
			was = was[1:]
		}
		if c >= 0 {
			if c > 0 {
				changed = true
				b.add[is[0].Field] = append(b.add[is[0].Field], termRow{is[0], x.doc})
			}
			is = is[1:]
		}
	}
	if !changed {
		return nil
	}
	return b.live(ctx, x)
}

func (b *batch) removeTerm(ctx context.Context, doc int64, r compile.Row) error {
	_, err := b.w.stmts.removeTerm.ExecContext(ctx, r.Field, r.Value.Arg(), doc, r.Elem, r.Pos)
	return err
}

// live writes or removes the row that makes a document visible.
func (b *batch) live(ctx context.Context, x indexed) error {
	if !visible(x.new) {
		_, err := b.w.stmts.removeLive.ExecContext(ctx, x.doc)
		return err
	}
	_, err := b.w.stmts.insertLive.ExecContext(ctx, x.doc, x.new.Ref.Type, b.schema.SortKeys(x.new.Ref.ID, x.rows))
	return err
}

// children brings the list of children from the old document to the new one.
func (b *batch) children(ctx context.Context, old, d *resource.Document) error {
	parents := func(d *resource.Document) []resource.Ref {
		if d.Deleted {
			return nil
		}
		return d.Parents
	}
	for _, p := range parents(old) {
		if !slices.Contains(parents(d), p) {
			if _, err := b.w.stmts.removeChild.ExecContext(ctx, p.Type, p.ID, d.Ref.Type, d.Ref.ID); err != nil {
				return err
			}
		}
	}
	for _, p := range parents(d) {
		if !slices.Contains(parents(old), p) {
			if _, err := b.w.stmts.insertChild.ExecContext(ctx, p.Type, p.ID, d.Ref.Type, d.Ref.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush inserts the rows that wait, values of a field in their order, so that
// neighbours go to the same page.
func (b *batch) flush(ctx context.Context) error {
	var all []termRow
	for _, field := range slices.Sorted(maps.Keys(b.add)) {
		rows := b.add[field]
		slices.SortFunc(rows, func(x, y termRow) int { return x.Value.Compare(y.Value) })
		all = append(all, rows...)
	}
	var args []any
	for _, t := range b.w.stmts.terms {
		for ; len(all) >= t.n; all = all[t.n:] {
			args = args[:0]
			for _, r := range all[:t.n] {
				args = append(args, r.Field, r.Value.Arg(), r.doc, r.Elem, r.Pos)
			}
			if _, err := t.stmt.ExecContext(ctx, args...); err != nil {
				return err
			}
		}
	}
	return nil
}
