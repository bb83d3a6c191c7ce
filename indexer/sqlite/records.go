package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/fresnel-search/fresnel/indexer/record"
)

// Read returns one record; Version 0 if there is none.
func (s *Store) Read(ctx context.Context, table, key string) (record.Record, error) {
	done, err := s.reading()
	if err != nil {
		return record.Record{}, err
	}
	defer done()
	r := record.Record{Table: table, Key: key}
	err = s.readers.QueryRowContext(ctx, "SELECT value,version FROM records WHERE tbl=? AND key=?", table, key).
		Scan(&r.Value, &r.Version)
	if errors.Is(err, sql.ErrNoRows) {
		return record.Record{Table: table, Key: key}, nil
	}
	return r, err
}

// Save writes records in one transaction, each only if it is at the version given.
func (s *Store) Save(ctx context.Context, records []record.Record) ([]record.Saved, error) {
	out := make([]record.Saved, len(records))
	err := s.writer.do(ctx, func(ctx context.Context, w *writer) error {
		for i, r := range records {
			version, err := w.save(ctx, r)
			if err != nil && !errors.Is(err, record.ErrConflict) {
				return err
			}
			out[i] = record.Saved{Version: version, Err: err}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("save %d records: %w", len(records), err)
	}
	return out, nil
}

func (w *writer) save(ctx context.Context, r record.Record) (int64, error) {
	var have int64
	err := w.stmts.readRecord.QueryRowContext(ctx, r.Table, r.Key).Scan(&have)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, err
	}
	if r.Version != record.Any && r.Version != have {
		return 0, record.ErrConflict
	}
	if r.Value == nil {
		_, err = w.stmts.dropRecord.ExecContext(ctx, r.Table, r.Key)
		return 0, err
	}
	version := w.next()
	_, err = w.stmts.putRecord.ExecContext(ctx, r.Table, r.Key, r.Value, version)
	return version, err
}

// Scan returns at most n records of a table after the key, in key order.
func (s *Store) Scan(ctx context.Context, table, after string, n int) ([]record.Record, error) {
	done, err := s.reading()
	if err != nil {
		return nil, err
	}
	defer done()
	rows, err := s.readers.QueryContext(ctx, "SELECT key,value,version FROM records WHERE tbl=? AND key>? ORDER BY key LIMIT ?",
		table, after, n)
	if err != nil {
		return nil, fmt.Errorf("scan records of %s: %w", table, err)
	}
	var out []record.Record
	for rows.Next() {
		r := record.Record{Table: table}
		if err := rows.Scan(&r.Key, &r.Value, &r.Version); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		out = append(out, r)
	}
	return out, rows.Err()
}
