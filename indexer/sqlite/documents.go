package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/resource/wire"
	"github.com/fresnel-search/fresnel/indexer/sqlite/compile"
)

const loadSQL = `SELECT j.key, d.version, d.lineage, d.revision, d.tenant_revision, d.deleted,
	d.owner, d.changed, d.fields, d.readers, d.parents, d.state, d.outbox
	FROM json_each(?) j CROSS JOIN docs d ON d.type = j.value->>0 AND d.id = j.value->>1`

// Load returns the documents in the order of refs.
func (s *Store) Load(ctx context.Context, refs []resource.Ref) ([]resource.Document, error) {
	done, err := s.reading()
	if err != nil {
		return nil, err
	}
	defer done()
	docs := make([]resource.Document, len(refs))
	pairs := make([][2]string, len(refs))
	for i, r := range refs {
		docs[i].Ref = r
		pairs[i] = [2]string{r.Type, r.ID}
	}
	list, err := json.Marshal(pairs)
	if err != nil {
		return nil, err
	}
	rows, err := s.load.QueryContext(ctx, string(list))
	if err != nil {
		return nil, fmt.Errorf("load %d documents: %w", len(refs), err)
	}
	for rows.Next() {
		if err := scanDocument(rows, docs); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
	}
	return docs, rows.Err()
}

// scanDocument reads one row into its place among docs.
func scanDocument(rows *sql.Rows, docs []resource.Document) error {
	var (
		at, changed              int64
		d                        resource.Document
		fields, readers, parents sql.RawBytes
		state, outbox            sql.RawBytes
	)
	if err := rows.Scan(&at, &d.Version, &d.Lineage, &d.Revision, &d.TenantRevision, &d.Deleted,
		&d.Owner, &changed, &fields, &readers, &parents, &state, &outbox); err != nil {
		return err
	}
	d.Ref = docs[at].Ref
	d.Changed = time.UnixMicro(changed).UTC()
	err := decodeParts(&d, fields, readers, parents)
	if err == nil {
		d.State, err = resource.DecodeState(state, d.Fields)
	}
	if err == nil {
		d.Outbox, err = resource.DecodeOutbox(outbox)
	}
	if err != nil {
		return fmt.Errorf("document %s: %w", d.Ref, err)
	}
	docs[at] = d
	return nil
}

func decodeParts(d *resource.Document, fields, readers, parents []byte) error {
	r := wire.NewReader(fields)
	d.Fields = r.Values()
	if err := r.Close(); err != nil {
		return fmt.Errorf("fields: %w", err)
	}
	if err := unlessNull(readers, &d.Readers); err != nil {
		return fmt.Errorf("readers: %w", err)
	}
	if err := unlessNull(parents, &d.Parents); err != nil {
		return fmt.Errorf("parents: %w", err)
	}
	return nil
}

func unlessNull(b []byte, v any) error {
	if string(b) == "null" {
		return nil
	}
	return json.Unmarshal(b, v)
}

// Write stores docs in one transaction, each only if it is still at the version
// that it was loaded with. Ghosts and tombstones are stored and not indexed.
func (s *Store) Write(ctx context.Context, docs []resource.Document) ([]resource.Written, error) {
	out := make([]resource.Written, len(docs))
	ready := make([]prepared, len(docs)) // by the caller, not by the one writer
	for i := range docs {
		ready[i], out[i].Err = s.prepare(&docs[i])
	}
	err := s.writer.do(ctx, func(ctx context.Context, w *writer) error {
		b := newBatch(w, s.schema)
		for i := range docs {
			if out[i].Err != nil {
				continue
			}
			version, err := b.write(ctx, &docs[i], ready[i])
			if err != nil && !errors.Is(err, resource.ErrConflict) {
				return err
			}
			out[i] = resource.Written{Version: version, Err: err}
		}
		return b.flush(ctx)
	})
	if err != nil {
		return nil, fmt.Errorf("write %d documents: %w", len(docs), err)
	}
	return out, nil
}

// prepared is what is stored of a document.
type prepared struct {
	cols []any
	rows []compile.Row
}

// prepare encodes a document; the error wraps ErrRejected.
func (s *Store) prepare(d *resource.Document) (p prepared, err error) {
	if p.cols, err = columns(d); err == nil {
		p.rows, err = s.schema.Rows(d)
	}
	if err != nil {
		return p, fmt.Errorf("%s: %w: %w", d.Ref, resource.ErrRejected, err)
	}
	return p, nil
}

// write stores one document; the rows of the inverted table wait for flush.
func (b *batch) write(ctx context.Context, d *resource.Document, p prepared) (int64, error) {
	old, doc, err := b.find(ctx, d.Ref)
	if err != nil {
		return 0, err
	}
	if old.Version != d.Version {
		return 0, fmt.Errorf("%s: %w", d.Ref, resource.ErrConflict)
	}
	version := b.w.next()
	p.cols[0] = version
	if doc == 0 {
		b.w.doc++
		doc = b.w.doc
		_, err = b.w.stmts.insert.ExecContext(ctx, append(p.cols, doc, d.Ref.Type, d.Ref.ID)...)
	} else {
		_, err = b.w.stmts.update.ExecContext(ctx, append(p.cols, doc)...)
	}
	if err != nil {
		return 0, err
	}
	if err := b.children(ctx, &old, d); err != nil {
		return 0, err
	}
	return version, b.index(ctx, indexed{doc: doc, old: &old, new: d, rows: p.rows})
}

// find reads what a write must know of the stored document.
func (b *batch) find(ctx context.Context, ref resource.Ref) (d resource.Document, doc int64, err error) {
	d.Ref = ref
	var fields, readers, parents []byte
	err = b.w.stmts.find.QueryRowContext(ctx, ref.Type, ref.ID).
		Scan(&doc, &d.Version, &d.Deleted, &d.Revision, &fields, &readers, &parents)
	if errors.Is(err, sql.ErrNoRows) {
		return d, 0, nil
	}
	if err == nil {
		err = decodeParts(&d, fields, readers, parents)
	}
	return d, doc, err
}

// columns are those of a document from version to deleted_at.
func columns(d *resource.Document) ([]any, error) {
	fields, err := encodeFields(d.Fields)
	if err != nil {
		return nil, err
	}
	readers, err := json.Marshal(d.Readers)
	if err != nil {
		return nil, err
	}
	parents, err := json.Marshal(d.Parents)
	if err != nil {
		return nil, err
	}
	var deletedAt any
	if d.Deleted {
		deletedAt = time.Now().UnixMicro()
	}
	return []any{
		nil, d.Lineage, d.Revision, d.TenantRevision, d.Deleted, d.Owner, d.Changed.UnixMicro(), string(fields),
		string(readers), string(parents), resource.EncodeState(&d.State), resource.EncodeOutbox(d.Outbox), deletedAt,
	}, nil
}

// encodeFields keeps every value's bytes as they are.
func encodeFields(fields map[string]json.RawMessage) ([]byte, error) {
	size := 2
	for name, v := range fields {
		size += len(name) + len(v) + 4
	}
	b := append(make([]byte, 0, size), '{')
	for i, name := range slices.Sorted(maps.Keys(fields)) {
		if i > 0 {
			b = append(b, ',')
		}
		if !wire.Valid(fields[name]) || bytes.IndexByte(fields[name], 0) >= 0 {
			return nil, errors.New("field " + strconv.Quote(name) + " is no JSON")
		}
		b = append(append(wire.AppendString(b, name), ':'), fields[name]...)
	}
	return append(b, '}'), nil
}

// Children returns refs of a parent's children by id. What is written is seen at
// once, so a refresh is nothing.
func (s *Store) Children(ctx context.Context, q resource.ChildQuery) ([]resource.Ref, error) {
	done, err := s.reading()
	if err != nil {
		return nil, err
	}
	defer done()
	rows, err := s.readers.QueryContext(ctx, "SELECT id FROM children WHERE parent_type=? AND parent_id=? AND type=? AND id>? "+
		"ORDER BY id LIMIT ?", q.Parent.Type, q.Parent.ID, q.Child, q.After, q.N)
	if err != nil {
		return nil, fmt.Errorf("children of %s: %w", q.Parent, err)
	}
	var refs []resource.Ref
	for rows.Next() {
		ref := resource.Ref{Type: q.Child}
		if err := rows.Scan(&ref.ID); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		refs = append(refs, ref)
	}
	return refs, rows.Err()
}

// Sweep removes at most n tombstones last written before the time, by the clock of
// this machine.
func (s *Store) Sweep(ctx context.Context, before time.Time, n int) (int, error) {
	var swept int64
	err := s.writer.do(ctx, func(ctx context.Context, w *writer) error {
		res, err := w.conn.ExecContext(ctx, "DELETE FROM docs WHERE doc IN "+
			"(SELECT doc FROM docs WHERE deleted_at IS NOT NULL AND deleted_at<? ORDER BY deleted_at LIMIT ?)", before.UnixMicro(), n)
		if err != nil {
			return err
		}
		swept, err = res.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("sweep tombstones: %w", err)
	}
	return int(swept), nil
}
