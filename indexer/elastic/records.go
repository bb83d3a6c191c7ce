package elastic

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/resource/wire"
)

// maxRecord is the largest value of a record, in bytes.
const maxRecord = 1 << 20

// recordsMapping is the mapping of the index of records.
func recordsMapping() json.RawMessage {
	return json.RawMessage(`{"dynamic":"strict","properties":{"table":{"type":"keyword"},"key":{"type":"keyword"},` +
		`"value":{"type":"binary"}}}`)
}

// recordID is a record's id: its table and key, or a hash of the key where that is
// longer than ids may be. A table has neither / nor #.
func recordID(table, key string) string {
	if id := table + "/" + key; len(id) <= MaxID {
		return id
	}
	sum := sha256.Sum256([]byte(key))
	return table + "#" + hex.EncodeToString(sum[:])
}

// Read returns one record, realtime; Version 0 and a nil Value if there is none.
func (s *Store) Read(ctx context.Context, table, key string) (record.Record, error) {
	out := record.Record{Table: table, Key: key}
	want := []wanted{{slug: recordsSlug, id: recordID(table, key)}}
	err := s.get(ctx, want, func(_ int, r *wire.Reader) error {
		got, err := readRecord(r)
		if err == nil && (got.Table != table || got.Key != key) {
			err = errors.New("it says that it is another one")
		}
		out.Value = got.Value
		return err
	})
	if err != nil {
		return record.Record{}, fmt.Errorf("read record %s/%s: %w", table, key, err)
	}
	out.Version = want[0].version
	return out, nil
}

func readRecord(r *wire.Reader) (out record.Record, err error) {
	var value string
	r.Object(func(name string) bool {
		switch name {
		case "table":
			out.Table = r.String()
		case "key":
			out.Key = r.String()
		case "value":
			value = r.String()
		default:
			return false
		}
		return true
	})
	out.Value, err = base64.StdEncoding.DecodeString(value)
	return out, err
}

// Save writes the records in one bulk request, or in several if it would be larger
// than Config.BulkBytes, and answers for each in place. There are no transactions: of
// several records some may be stored and others not.
func (s *Store) Save(ctx context.Context, records []record.Record) ([]record.Saved, error) {
	out := make([]record.Saved, len(records))
	var b bulk
	var at []int
	for i := range records {
		added, err := s.addRecord(ctx, &b, &records[i], &out[i])
		if err != nil {
			return nil, fmt.Errorf("save %d records: %w", len(records), err)
		}
		if added {
			at = append(at, i)
		}
		if len(b.items) == 0 || len(b.body) < s.cfg.BulkBytes && i < len(records)-1 {
			continue
		}
		results, err := s.send(ctx, &b)
		if err != nil {
			return nil, fmt.Errorf("save %d records: %w", len(records), err)
		}
		for n, err := range s.judge(ctx, &b, results) {
			out[at[n]] = saved(&records[at[n]], &results[n], err)
		}
		b, at = bulk{}, at[:0]
	}
	return out, nil
}

// addRecord puts a record into the bulk, or answers for it.
func (s *Store) addRecord(ctx context.Context, b *bulk, r *record.Record, out *record.Saved) (bool, error) {
	ix, err := s.indices.current(ctx, recordsSlug)
	if err != nil {
		return false, err
	}
	it, id := bulkItem{slug: recordsSlug, ix: ix}, recordID(r.Table, r.Key)
	switch {
	case len(r.Value) > maxRecord:
		out.Err = fmt.Errorf("record %s/%s: its value has %d bytes, limit %d", r.Table, r.Key, len(r.Value), maxRecord)
		return false, nil
	case r.Version > 0 && !placeOf(r.Version).of(ix):
		out.Err = record.ErrConflict
		return false, nil
	case r.Value == nil && r.Version == 0: // deletes nothing, if there is nothing
		have, err := s.Read(ctx, r.Table, r.Key)
		if err == nil && have.Version != 0 {
			out.Err = record.ErrConflict
		}
		return false, err
	case r.Value == nil:
		b.action(drop, it, id, r.Version)
		return true, nil
	case r.Version == 0:
		b.action(create, it, id, 0)
	default:
		b.action(put, it, id, r.Version)
	}
	body := wire.AppendString(append(b.body, `{"table":`...), r.Table)
	body = wire.AppendString(append(body, `,"key":`...), r.Key)
	body = base64.StdEncoding.AppendEncode(append(body, `,"value":"`...), r.Value)
	b.source(append(body, '"', '}'))
	return true, nil
}

// saved is the outcome of one record, err what judge makes of it.
func saved(r *record.Record, res *result, err error) record.Saved {
	switch {
	case r.Value == nil && r.Version == record.Any && res.status == http.StatusNotFound && res.typ == "":
		return record.Saved{}
	case err == nil && r.Value == nil:
		return record.Saved{}
	case err == nil:
		return record.Saved{Version: res.version}
	case errors.Is(err, resource.ErrConflict) && r.Version != record.Any:
		return record.Saved{Err: record.ErrConflict}
	default:
		return record.Saved{Err: fmt.Errorf("record %s/%s: %w", r.Table, r.Key, err)}
	}
}

// scanBytes is about how much one request of a scan should answer.
const scanBytes = 8 << 20

// Scan returns at most n records of a table with keys after the given one, in key
// order. It sees all that was acknowledged before the call.
func (s *Store) Scan(ctx context.Context, table, after string, n int) ([]record.Record, error) {
	var out []record.Record
	size := 50
	for refresh := true; len(out) < n; refresh = false {
		size = min(size, n-len(out), pageSize)
		page, err := s.page(ctx, recordsSlug, refresh, paged(after, object{
			"size": size, "sort": []any{object{"key": "asc"}}, "seq_no_primary_term": true,
			"query": object{"bool": object{"filter": []any{object{"term": object{"table": table}}}}},
		}))
		if err != nil {
			return nil, fmt.Errorf("scan records of %s: %w", table, err)
		}
		bytes := 1
		for _, f := range page {
			bytes += len(f.source)
			r := wire.NewReader(f.source)
			rec, err := readRecord(r)
			if err = errors.Join(err, r.Close()); err != nil {
				return nil, fmt.Errorf("scan records of %s: %w", table, err)
			}
			rec.Version, after = f.version, rec.Key
			out = append(out, rec)
		}
		if len(page) < size {
			break
		}
		size = max(1, size*scanBytes/max(bytes, scanBytes/pageSize))
	}
	return out, nil
}
