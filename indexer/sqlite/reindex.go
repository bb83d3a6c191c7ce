package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
)

// indexAgain writes the rows of all documents of a type anew, and what they were
// written for, in one transaction: after a crash the old rows are there, whole.
func (s *Store) indexAgain(ctx context.Context, typ string) (n int, err error) {
	w := s.writer
	if err := w.prepare(ctx); err != nil {
		return 0, err
	}
	j := &job{run: func(ctx context.Context, _ *writer) (err error) {
		n, err = s.rebuild(ctx, typ, func() error { return nil })
		return err
	}}
	err = errors.Join(w.commit(ctx, []*job{j}), j.err, w.stmts.close())
	w.stmts = statements{} // prepared anew for the next type, and for good by Open
	return n, err
}

// rebuild is indexAgain as part of a transaction. It ends early when goOn fails.
func (s *Store) rebuild(ctx context.Context, typ string, goOn func() error) (n int, err error) {
	w := s.writer
	for _, sql := range []string{
		"DELETE FROM terms WHERE doc IN (SELECT doc FROM docs WHERE type=?)",
		"DELETE FROM live WHERE type=?",
	} {
		if _, err := w.conn.ExecContext(ctx, sql, typ); err != nil {
			return 0, err
		}
	}
	for after := int64(0); ; {
		if err := goOn(); err != nil {
			return n, err
		}
		page, err := s.page(ctx, typ, after)
		if err != nil {
			return n, err
		}
		if len(page) == 0 {
			return n, w.setMeta(ctx, "shape:"+typ, s.schema.Shape(typ))
		}
		if err := s.indexPage(ctx, page); err != nil {
			return n, err
		}
		n += len(page)
		after = page[len(page)-1].doc
	}
}

// page reads the next documents of a type, as far as indexing needs them.
func (s *Store) page(ctx context.Context, typ string, after int64) (page []indexed, err error) {
	rows, err := s.writer.conn.QueryContext(ctx, "SELECT doc,id,deleted,revision,fields,readers,parents FROM docs "+
		"WHERE type=? AND doc>? ORDER BY doc LIMIT 500", typ, after)
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		x := indexed{new: &resource.Document{Ref: resource.Ref{Type: typ}}}
		var fields, readers, parents sql.RawBytes
		err := rows.Scan(&x.doc, &x.new.Ref.ID, &x.new.Deleted, &x.new.Revision, &fields, &readers, &parents)
		if err == nil {
			err = decodeParts(x.new, fields, readers, parents)
		}
		if err == nil {
			x.rows, err = s.schema.Rows(x.new)
		}
		if err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		x.old = &resource.Document{Ref: x.new.Ref}
		page = append(page, x)
	}
	return page, rows.Err()
}

func (s *Store) indexPage(ctx context.Context, page []indexed) error {
	b := newBatch(s.writer, s.schema)
	for _, x := range page {
		if err := b.index(ctx, x); err != nil {
			return err
		}
	}
	return b.flush(ctx)
}

// stray begins the names of what is kept of types that the catalogue does not have.
const stray = "stray:"

// Indices tells how many documents of each type there are. None differs from the
// catalogue: Open has indexed again what did.
func (s *Store) Indices(ctx context.Context) ([]resource.Index, error) {
	done, err := s.reading()
	if err != nil {
		return nil, err
	}
	defer done()
	counts, err := s.counts(ctx)
	if err != nil {
		return nil, fmt.Errorf("count documents: %w", err)
	}
	var list []resource.Index
	for _, typ := range s.schema.Types() {
		list = append(list, resource.Index{Name: typ, Type: typ, State: resource.IndexServes, Documents: counts[typ]})
		delete(counts, typ)
	}
	for _, typ := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, resource.Index{Name: stray + typ, Type: typ, State: resource.IndexStray, Documents: counts[typ]})
	}
	return list, nil
}

func (s *Store) counts(ctx context.Context) (map[string]int64, error) {
	rows, err := s.readers.QueryContext(ctx, "SELECT type, count(*) FROM docs GROUP BY type")
	if err != nil {
		return nil, err
	}
	counts := map[string]int64{}
	for rows.Next() {
		var typ string
		var n int64
		if err := rows.Scan(&typ, &n); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		counts[typ] = n
	}
	return counts, rows.Err()
}

// CreateIndices does nothing: there is nothing to make before the first document.
func (s *Store) CreateIndices(context.Context) ([]string, error) { return nil, nil }

// DropIndex removes all documents of a type that the catalogue does not have.
func (s *Store) DropIndex(ctx context.Context, name string) error {
	typ, ok := strings.CutPrefix(name, stray)
	if !ok || s.schema.Shape(typ) != "" {
		return fmt.Errorf("%s: %w: only documents of a type that the catalogue does not have can be dropped", name, resource.ErrRejected)
	}
	return s.writer.do(ctx, func(ctx context.Context, w *writer) error {
		for _, sql := range []string{
			"DELETE FROM terms WHERE doc IN (SELECT doc FROM docs WHERE type=?)",
			"DELETE FROM live WHERE type=?",
			"DELETE FROM children WHERE type=?",
			"DELETE FROM docs WHERE type=?",
			"DELETE FROM meta WHERE name='shape:'||?",
		} {
			if _, err := w.conn.ExecContext(ctx, sql, typ); err != nil {
				return err
			}
		}
		return nil
	})
}

// Rebuild indexes all documents of a type again, in one transaction. Searches see the
// old rows until then; writers wait for as long as it takes.
func (s *Store) Rebuild(ctx context.Context, job *record.Reindex, report func(context.Context) error) error {
	job.Phase, job.Pass = "indexing in one transaction; writers wait", 1
	if err := report(ctx); err != nil {
		return err
	}
	var n int
	began := time.Now()
	err := s.writer.do(ctx, func(inner context.Context, _ *writer) (err error) {
		began = time.Now()
		n, err = s.rebuild(inner, job.Type, func() error { return context.Cause(ctx) })
		return err
	})
	if err != nil {
		return fmt.Errorf("index documents of %s again: %w", job.Type, err)
	}
	job.Paused, job.Copied, job.Total, job.Served = time.Since(began), int64(n), int64(n), true
	return report(ctx)
}

// Undo does nothing: what was not committed has left no trace.
func (s *Store) Undo(context.Context, *record.Reindex) error { return nil }

// Release does nothing: no other process has the store.
func (s *Store) Release(context.Context, *record.Reindex) error { return nil }

// Clean does nothing: nothing is left.
func (s *Store) Clean(context.Context, *record.Reindex) error { return nil }
