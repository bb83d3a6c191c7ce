package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/resource/wire"
)

// pageSize is how many hits one of the searches here asks for at most: servers give
// 10000.
const pageSize = 1000

type object = map[string]any

// Children returns at most q.N refs of a parent's children, by id.
func (s *Store) Children(ctx context.Context, q resource.ChildQuery) ([]resource.Ref, error) {
	if s.types[q.Child] == nil {
		return nil, nil
	}
	var refs []resource.Ref
	refresh := q.Refresh
	for after := q.After; len(refs) < q.N; refresh = false {
		size := min(q.N-len(refs), pageSize)
		page, err := s.page(ctx, slug(q.Child), refresh, paged(after, object{
			"size": size, "sort": []any{object{layout.ID: "asc"}}, "_source": false,
			"query": object{"bool": object{"filter": []any{
				object{"term": object{layout.Parents: q.Parent.Key()}}, object{"term": object{layout.Deleted: false}},
			}}},
		}))
		if err != nil {
			return nil, fmt.Errorf("children of %s: %w", q.Parent, err)
		}
		for _, h := range page {
			refs = append(refs, resource.Ref{Type: q.Child, ID: h.id})
			after = h.id
		}
		if len(page) < size {
			break
		}
	}
	return refs, nil
}

// paged makes a search go on after a sort value; none if that is empty.
func paged(after string, body object) object {
	if after != "" {
		body["search_after"] = []string{after}
	}
	return body
}

// found is one hit of a search of the store's own.
type found struct {
	ix      *index
	id      string
	version int64 // if the search asked for it
	source  json.RawMessage
}

// page searches the generation of a type that serves; with refresh set it sees all
// that was acknowledged before. It is never partial: then it is an error.
func (s *Store) page(ctx context.Context, slug string, refresh bool, body object) ([]found, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	ix, err := s.indices.current(ctx, slug)
	for round := 1; err == nil; round++ {
		var answer []byte
		if answer, err = s.searchOnce(ctx, ix, refresh, b); err == nil {
			return decodeFound(answer, ix)
		}
		if !gone(err) || round == rounds {
			return nil, err
		}
		ix, err = s.indices.again(ctx, slug, ix)
	}
	return nil, err
}

func (s *Store) searchOnce(ctx context.Context, ix *index, refresh bool, body []byte) ([]byte, error) {
	if refresh {
		if err := s.refreshes.do(ctx, ix.read, s.refresh); err != nil {
			return nil, err
		}
	}
	return s.c.do(ctx, esapi.SearchRequest{
		Index: []string{ix.read}, Body: bytes.NewReader(body), AllowPartialSearchResults: new(false), TrackTotalHits: false,
		FilterPath: []string{"timed_out,_shards.failed,hits.hits._id,hits.hits._seq_no,hits.hits._primary_term,hits.hits._source"},
	})
}

// decodeFound reads the hits of an answer.
func decodeFound(b []byte, ix *index) (out []found, err error) {
	r := wire.NewReader(b)
	r.Object(func(name string) bool {
		switch name {
		case "timed_out":
			if r.Bool() {
				r.Fail(errors.New("the search timed out"))
			}
		case "_shards":
			r.Object(func(name string) bool {
				if name == "failed" && r.Int() > 0 {
					r.Fail(errors.New("not all shards answered"))
				}
				return name == "failed"
			})
		case "hits":
			r.Object(func(name string) bool {
				if name == "hits" {
					r.Array(func() { out = append(out, readFound(r, ix)) })
				}
				return name == "hits"
			})
		default:
			return false
		}
		return true
	})
	if err := r.Close(); err != nil {
		return nil, fmt.Errorf("answer of a search: %w", err)
	}
	return out, nil
}

func readFound(r *wire.Reader, ix *index) found {
	f := found{ix: ix}
	p := place{mark: ix.mark, seq: -1}
	r.Object(func(name string) bool {
		switch name {
		case "_id":
			f.id = r.String()
		case "_seq_no":
			p.seq = r.Int()
		case "_primary_term":
			p.term = r.Int()
		case "_source":
			f.source = r.Raw()
		default:
			return false
		}
		return true
	})
	if p.seq >= 0 {
		var err error
		f.version, err = p.version()
		r.Fail(err)
	}
	return f
}

// Sweep removes at most n tombstones that were last written before the time, by the
// clock of those who wrote them, type by type.
func (s *Store) Sweep(ctx context.Context, before time.Time, n int) (int, error) {
	swept := 0
	for _, typ := range s.names {
		for swept < n {
			size := min(n-swept, pageSize)
			gone, all, err := s.sweep(ctx, slug(typ), before, size)
			swept += gone
			if err != nil {
				return swept, fmt.Errorf("sweep tombstones of %s: %w", typ, err)
			}
			if all < size || gone == 0 {
				break
			}
		}
	}
	return swept, nil
}

// sweep removes a page of a type's tombstones; all is how many it found.
func (s *Store) sweep(ctx context.Context, slug string, before time.Time, n int) (swept, all int, err error) {
	page, err := s.page(ctx, slug, true, object{
		"size": n, "sort": []any{object{layout.Written: "asc"}}, "_source": false, "seq_no_primary_term": true,
		"query": object{"bool": object{"filter": []any{
			object{"term": object{layout.Deleted: true}},
			object{"range": object{layout.Written: object{"lt": before.UnixMilli(), "format": "epoch_millis"}}},
		}}},
	})
	if err != nil || len(page) == 0 {
		return 0, 0, err
	}
	var b bulk
	for _, f := range page {
		b.action(drop, bulkItem{slug: slug, ix: f.ix}, f.id, f.version)
	}
	results, err := s.send(ctx, &b)
	if err != nil {
		return 0, len(page), err
	}
	for i, err := range s.judge(ctx, &b, results) {
		switch {
		case err == nil:
			swept++
		case results[i].outcome != conflict:
			return swept, len(page), err
		}
	}
	return swept, len(page), nil
}
