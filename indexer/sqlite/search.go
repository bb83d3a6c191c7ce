package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/sqlite/compile"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// errTimeout ends a search that took longer than it may.
var errTimeout = errors.New("search timed out")

// Search answers a request that policy has restricted; without a scope it is
// refused. All of the answer is from one moment. A search that runs out of time
// answers with what it has and says so.
func (s *Store) Search(ctx context.Context, req query.Request) (res query.Result, err error) {
	start := time.Now()
	if req.Scope == nil {
		return res, compile.ErrUnrestricted
	}
	done, err := s.reading()
	if err != nil {
		return res, err
	}
	defer done()
	tx, err := s.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return res, fmt.Errorf("search: %w", err)
	}
	limit := req.Timeout
	if limit <= 0 {
		limit = s.cfg.SearchTimeout
	}
	bound, cancel := context.WithTimeoutCause(ctx, limit, errTimeout)
	defer cancel()
	res, err = s.search(bound, tx, &req)
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(bound), errTimeout) {
		res, err = query.Result{Partial: "the search ran out of time after " + limit.String()}, nil
	}
	res.Took = time.Since(start)
	return res, errors.Join(err, rollback(tx))
}

// rollback ends a transaction that only read.
func rollback(tx *sql.Tx) error {
	if err := tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
		return err
	}
	return nil
}

func (s *Store) search(ctx context.Context, tx *sql.Tx, req *query.Request) (res query.Result, err error) {
	st, err := s.schema.Compile(req, func(sql string, args []any, limit int) (n int, err error) {
		// The limit is a number of ours, and the text has no text of a caller.
		err = tx.QueryRowContext(ctx, fmt.Sprintf("SELECT count(*) FROM (%s LIMIT %d)", sql, limit), args...).Scan(&n)
		return n, err
	})
	if err != nil {
		return res, err
	}
	if req.Size <= 0 {
		err = tx.QueryRowContext(ctx, st.SQL, st.Args...).Scan(&res.Total)
		return res, err
	}
	top, err := s.scan(ctx, tx, req, st)
	if err != nil {
		return res, err
	}
	res.Total = top.total
	if len(st.Sort) == 0 && top.total > 0 {
		res.MaxScore = &top.best
	}
	res.Hits, err = s.hits(ctx, tx, req, top.page(req.From))
	return res, err
}

// scan looks at every match and keeps the first from+size.
func (s *Store) scan(ctx context.Context, tx *sql.Tx, req *query.Request, st *compile.Statement) (*top, error) {
	rows, err := tx.QueryContext(ctx, st.SQL, st.Args...)
	if err != nil {
		return nil, err
	}
	t := &top{keys: st.Sort, n: req.From + req.Size}
	for rows.Next() {
		m := found{score: st.Score}
		var keys, fields sql.RawBytes
		dest := []any{&m.doc, &m.typ, &keys}
		if st.Scored {
			dest = append(dest, &m.score)
		}
		if st.Flattened {
			dest = append(dest, &fields)
		}
		err := rows.Scan(dest...)
		if err == nil {
			err = s.sortValues(&m, st, keys, s.flatFields(st, m.typ, fields, req.Scope))
		}
		if err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		t.add(m)
	}
	return t, rows.Err()
}

// flatFields are a document's fields as far as the scope sees them, if the order
// asks for what stands nowhere else.
func (s *Store) flatFields(st *compile.Statement, typ string, raw []byte, scope *query.Scope) map[string]json.RawMessage {
	if !st.Flattened {
		return nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil { // stored by encodeFields
		return nil
	}
	return s.view.Fields(typ, fields, scope)
}

func (s *Store) sortValues(m *found, st *compile.Statement, keys []byte, fields map[string]json.RawMessage) error {
	p, err := compile.Unpack(keys)
	if err != nil {
		return err
	}
	m.id = p.ID
	m.values = make([]sortValue, len(st.Sort))
	for i, k := range st.Sort {
		v := &m.values[i]
		switch {
		case k.Score, k.ID, k.Type:
		case k.Flattened():
			v.Value, v.ok = k.FlatValue(fields)
		default:
			v.Value, v.ok = k.Value(p)
		}
	}
	return nil
}

// hits fetches the documents of a page.
func (s *Store) hits(ctx context.Context, tx *sql.Tx, req *query.Request, page []found) ([]query.Hit, error) {
	if len(page) == 0 {
		return nil, nil
	}
	docs := make([]int64, len(page))
	at := make(map[int64]int, len(page))
	for i, m := range page {
		docs[i], at[m.doc] = m.doc, i
	}
	list, err := json.Marshal(docs)
	if err != nil {
		return nil, err
	}
	rows, err := tx.QueryContext(ctx, "SELECT d.doc,d.revision,d.tenant_revision,d.fields "+
		"FROM json_each(?) j CROSS JOIN docs d ON d.doc=j.value", string(list))
	if err != nil {
		return nil, err
	}
	hits := make([]query.Hit, len(page))
	for rows.Next() {
		var doc, revision, tenant int64
		var fields []byte
		if err := rows.Scan(&doc, &revision, &tenant, &fields); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		m := page[at[doc]]
		d := resource.Document{Ref: resource.Ref{Type: m.typ, ID: m.id}, Revision: revision, TenantRevision: tenant}
		var h query.Hit
		if err = json.Unmarshal(fields, &d.Fields); err == nil {
			h, err = s.view.Hit(&d, req.Scope, req.Source)
		}
		if err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		if m.sorted(req, &h); h.Ref.Type == m.typ {
			hits[at[doc]] = h
		}
	}
	return hits, rows.Err()
}

// Get returns one resource as a scope sees it; query.ErrNotFound if it does not, be
// it that the resource is deleted, was never shown, is another's or is not at all.
func (s *Store) Get(ctx context.Context, ref resource.Ref, scope query.Scope) (h query.Hit, err error) {
	req := query.Request{
		Types: []string{ref.Type}, Query: query.IDs{Types: []string{ref.Type}, Values: []string{ref.ID}}, Size: 1, Scope: &scope,
	}
	res, err := s.Search(ctx, req)
	switch {
	case err != nil:
		return h, fmt.Errorf("get %s: %w", ref, err)
	case res.Partial != "":
		return h, fmt.Errorf("get %s: %w", ref, errTimeout)
	case len(res.Hits) == 0:
		return h, query.ErrNotFound
	}
	h = res.Hits[0]
	h.Score = nil
	return h, nil
}
