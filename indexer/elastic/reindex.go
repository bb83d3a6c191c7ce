package elastic

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
	"github.com/fresnel-search/fresnel/indexer/resource"
)

// Indices returns every index of this prefix but the records', and the types of the
// catalogue that have none, with what the catalogue wants otherwise.
func (s *Store) Indices(ctx context.Context) ([]resource.Index, error) {
	found, err := s.indices.list(ctx, "")
	if err != nil {
		return nil, err
	}
	sizes, err := s.sizes(ctx)
	if err != nil {
		return nil, err
	}
	var out []resource.Index
	for slug, list := range found {
		if slug == recordsSlug {
			continue
		}
		for i := range list {
			x := s.described(slug, &list[i])
			x.Documents, x.Bytes = sizes[x.Name].documents, sizes[x.Name].bytes
			out = append(out, x)
		}
	}
	for typ := range s.want {
		if len(found[slug(typ)]) == 0 {
			out = append(out, resource.Index{Name: s.cfg.indexName(slug(typ), 1), Type: typ, Generation: 1, State: resource.IndexMissing})
		}
	}
	slices.SortFunc(out, func(a, b resource.Index) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// described says how an index stands beside the catalogue.
func (s *Store) described(slug string, st *standing) resource.Index {
	x := resource.Index{Name: st.name, Type: st.typ, Generation: st.generation, State: resource.IndexIdle, Trouble: strings.Join(st.trouble, "; ")}
	want := s.want[st.typ]
	switch {
	case want == nil:
		x.State, x.Type = resource.IndexStray, slug
		if st.layout != nil {
			x.Type = st.layout.Type
		}
	case !st.serves:
		x.Trouble = ""
	case st.unfit != nil:
		x.State, x.Differences = resource.IndexServes, []string{st.unfit.Error()}
	default:
		x.State, x.Differences = resource.IndexServes, layout.Diff(st.layout, want)
	}
	if x.State == resource.IndexServes {
		s.compareSettings(&x, st)
	}
	return x
}

// compareSettings says where an index has other numbers than the configuration: another
// number of shards takes a reindex.
func (s *Store) compareSettings(x *resource.Index, st *standing) {
	if want := strconv.Itoa(s.cfg.Shards); st.shards != "" && st.shards != want {
		x.Differences = append(x.Differences, "shards: "+cut(st.shards)+", the configuration says "+want)
	}
	if want := strconv.Itoa(s.cfg.Replicas); st.replicas != "" && st.replicas != want {
		x.Settings = append(x.Settings, "replicas: "+cut(st.replicas)+", the configuration says "+want+
			"; set number_of_replicas of index "+st.name+" on the server, no reindex is needed")
	}
}

// size is how much an index holds.
type size struct{ documents, bytes int64 }

func (s *Store) sizes(ctx context.Context) (map[string]size, error) {
	out := map[string]size{}
	var counts struct {
		Aggregations struct {
			Indices struct {
				Buckets []struct {
					Key   string `json:"key"`
					Count int64  `json:"doc_count"`
				} `json:"buckets"`
			} `json:"indices"`
		} `json:"aggregations"`
	}
	all := []string{s.cfg.Prefix + "-*"}
	err := s.ask(ctx, esapi.SearchRequest{
		Index: all, ExpandWildcards: "open", AllowNoIndices: new(true), IgnoreUnavailable: new(true),
		Body: strings.NewReader(`{"size":0,"track_total_hits":false,"aggs":{"indices":{"terms":{"field":"_index","size":10000}}}}`),
	}, &counts)
	if err != nil {
		return nil, fmt.Errorf("count documents: %w", err)
	}
	for _, b := range counts.Aggregations.Indices.Buckets {
		out[b.Key] = size{documents: b.Count}
	}
	var stats struct {
		Indices map[string]struct {
			Total struct {
				Store struct {
					Bytes int64 `json:"size_in_bytes"`
				} `json:"store"`
			} `json:"total"`
		} `json:"indices"`
	}
	if err := s.ask(ctx, esapi.IndicesStatsRequest{
		Index: all, Metric: []string{"store"}, ExpandWildcards: "open", FilterPath: []string{"indices.*.total.store.size_in_bytes"},
	}, &stats); err != nil {
		return nil, fmt.Errorf("measure indices: %w", err)
	}
	for name, x := range stats.Indices {
		out[name] = size{out[name].documents, x.Total.Store.Bytes}
	}
	return out, nil
}

// ask sends a request and decodes the answer.
func (s *Store) ask(ctx context.Context, q esapi.Request, into any) error {
	body, err := s.c.do(ctx, q)
	if err == nil && into != nil {
		err = json.Unmarshal(body, into)
	}
	return err
}

// CreateIndices makes an index for each type that has none, and returns their names.
func (s *Store) CreateIndices(ctx context.Context) ([]string, error) {
	before, err := s.indices.list(ctx, "")
	if err != nil {
		return nil, err
	}
	if err := s.indices.ensure(ctx, s.want); err != nil {
		return nil, err
	}
	var made []string
	for _, slug := range slices.Sorted(maps.Keys(s.indices.types)) {
		if len(before[slug]) == 0 {
			made = append(made, s.cfg.indexName(slug, 1))
		}
	}
	return made, nil
}

// DropIndex removes an index of ours that no alias of ours stands on, or whose type
// the catalogue does not have. The error wraps ErrRejected for any other.
func (s *Store) DropIndex(ctx context.Context, name string) error {
	slug, _, ok := s.cfg.parseIndex(name)
	if !ok || slug == recordsSlug {
		return fmt.Errorf("%s: %w: no index of documents has this name", cut(name), resource.ErrRejected)
	}
	found, err := s.indices.list(ctx, slug)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(found[slug], func(st standing) bool { return st.name == name })
	if at < 0 {
		return fmt.Errorf("%s: %w: there is no such index", name, resource.ErrRejected)
	}
	st := found[slug][at]
	if _, ours := s.want[st.typ]; ours && st.serves {
		return fmt.Errorf("%s: %w: it is in use", name, resource.ErrRejected)
	}
	return s.deleteIndex(ctx, name)
}

func (s *Store) deleteIndex(ctx context.Context, name string) error {
	if _, err := s.c.do(ctx, esapi.IndicesDeleteRequest{Index: []string{name}}); err != nil && !gone(err) {
		return fmt.Errorf("delete index %s: %w", name, err)
	}
	return nil
}
