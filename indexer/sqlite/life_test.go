package sqlite_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/sqlite"
	"github.com/fresnel-search/fresnel/indexer/storetest"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

func server(id string, fields map[string]string) resource.Document {
	return storetest.Doc(resource.Ref{Type: storetest.Server, ID: id}, []resource.Principal{"*"}, fields)
}

func write(t testing.TB, s *sqlite.Store, docs ...resource.Document) {
	t.Helper()
	out, err := s.Write(t.Context(), docs)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range out {
		if w.Err != nil {
			t.Fatalf("Write of %s: %v", docs[i].Ref, w.Err)
		}
	}
}

func total(t testing.TB, s *sqlite.Store, n query.Node, scope *query.Scope) int {
	t.Helper()
	res, err := s.Search(t.Context(), query.Request{Types: []string{storetest.Server}, Query: n, Scope: scope, Timeout: time.Minute})
	if err != nil || res.Partial != "" {
		t.Fatal(res.Partial, err)
	}
	return res.Total
}

func TestDocumentsAreIndexedAgainWhenTheirTypeChanges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, storetest.Types())
	var docs []resource.Document
	for i := range 1200 {
		docs = append(docs, server(fmt.Sprint(i), map[string]string{"status": `"A"`, "name": `"web"`, "size": fmt.Sprint(i)}))
	}
	write(t, s, docs...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	types := storetest.Types()
	for i, f := range types[1].Fields {
		switch f.Name {
		case "status":
			types[1].Fields[i].AdminOnly = true
		case "name":
			types[1].Fields[i].Type = catalog.Keyword
		}
	}
	s = open(t, dir, types)
	tenant := &query.Scope{Principals: []resource.Principal{"*"}}
	for _, c := range []struct {
		n     query.Node
		scope *query.Scope
		want  int
	}{
		{query.Term{Field: "status", Value: "A"}, tenant, 0},
		{query.Term{Field: "status", Value: "A"}, &query.Scope{All: true, Hidden: true}, 1200},
		{query.Match{Fields: []string{"*"}, Text: "A", Lenient: true}, tenant, 0},
		{query.Term{Field: "name", Value: "web"}, tenant, 1200},
		{query.Term{Field: "name.raw", Value: "web"}, tenant, 0},
		{query.Range{Field: "size", GTE: json.Number("1000")}, tenant, 200},
	} {
		if got := total(t, s, c.n, c.scope); got != c.want {
			t.Errorf("after the change %#v finds %d, want %d", c.n, got, c.want)
		}
	}
}

func TestSearchesSeeWholeWritesOnly(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), storetest.Types())
	docs := make([]resource.Document, 20)
	for i := range docs {
		docs[i] = server(fmt.Sprint(i), map[string]string{"size": "0", "name": `"web"`})
	}
	write(t, s, docs...)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		defer stop()
		for n := 1; n <= 40; n++ {
			loaded, err := s.Load(t.Context(), refsOf(docs))
			if err != nil {
				t.Error(err)
				return
			}
			for i := range loaded {
				loaded[i].Fields["size"] = json.RawMessage(fmt.Sprint(n))
			}
			if out, err := s.Write(t.Context(), loaded); err != nil || out[0].Err != nil {
				t.Errorf("Write = %v, %v", out, err)
				return
			}
		}
	})
	for range 3 {
		wg.Go(func() {
			for last := int64(0); ctx.Err() == nil; {
				last = sameSize(t, s, last)
			}
		})
	}
	wg.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			if _, err := s.Save(t.Context(), []record.Record{{Table: "t", Key: "k", Value: []byte{1}, Version: record.Any}}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Wait()
}

// sameSize searches all documents, which must have one and the same size, not less
// than the last one seen.
func sameSize(t *testing.T, s *sqlite.Store, last int64) int64 {
	t.Helper()
	res, err := s.Search(t.Context(), query.Request{
		Types: []string{storetest.Server}, Query: query.Term{Field: "name", Value: "web"}, Size: 20,
		Sort: []query.Sort{{Field: "size"}}, Scope: &query.Scope{All: true},
	})
	if err != nil {
		t.Error(err)
		return last
	}
	sizes := map[string]bool{}
	for _, h := range res.Hits {
		sizes[string(h.Sort[0])] = true
		if !strings.Contains(string(h.Source), `"size":`+string(h.Sort[0])) {
			t.Errorf("sorted by %s, shown as %s", h.Sort[0], h.Source)
		}
	}
	if len(sizes) != 1 || res.Total != 20 {
		t.Errorf("a search during writes saw the sizes %v in %d documents", sizes, res.Total)
	}
	var now int64
	for size := range sizes {
		if err := json.Unmarshal([]byte(size), &now); err != nil || now < last {
			t.Errorf("size %s after %d", size, last)
		}
	}
	return now
}

func refsOf(docs []resource.Document) (refs []resource.Ref) {
	for _, d := range docs {
		refs = append(refs, d.Ref)
	}
	return refs
}

func TestASearchOutOfTimeSaysSo(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), storetest.Types())
	var docs []resource.Document
	for i := range 1000 {
		docs = append(docs, server(fmt.Sprint(i), map[string]string{"name": `"` + strings.Repeat("ab ", 60) + `"`}))
	}
	write(t, s, docs...)
	slow := query.Request{
		Types: []string{storetest.Server}, Query: query.MatchPhrase{Fields: []string{"name"}, Text: "ab ab ab ab ab", Slop: 50},
		Size: 10, Scope: &query.Scope{All: true}, Timeout: 30 * time.Millisecond,
	}
	start := time.Now()
	res, err := s.Search(t.Context(), slow)
	if err != nil || res.Partial == "" || time.Since(start) > 5*time.Second {
		t.Errorf("Search = %+v, %v after %v, want a partial answer", res, err, time.Since(start))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	slow.Timeout = time.Minute
	if _, err := s.Search(ctx, slow); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Search whose caller went away = %v, want deadline exceeded", err)
	}
	if got := total(t, s, query.MatchAll{}, slow.Scope); got != 1000 {
		t.Errorf("the next search finds %d", got)
	}
}

func TestCloseWaitsAndRefuses(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), storetest.Types())
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			out, err := s.Write(t.Context(), []resource.Document{server(fmt.Sprint(i), nil)})
			if err != nil && !errors.Is(err, sqlite.ErrClosed) || err == nil && out[0].Err != nil {
				t.Errorf("Write during Close = %v, %v", out, err)
			}
			if _, err := s.Load(t.Context(), []resource.Ref{{Type: "T", ID: "x"}}); err != nil && !errors.Is(err, sqlite.ErrClosed) {
				t.Errorf("Load during Close = %v", err)
			}
		})
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	wg.Wait()
	if _, err := s.Search(t.Context(), query.Request{Scope: &query.Scope{}}); !errors.Is(err, sqlite.ErrClosed) {
		t.Errorf("Search after Close = %v", err)
	}
	if _, err := s.Write(t.Context(), nil); !errors.Is(err, sqlite.ErrClosed) {
		t.Errorf("Write after Close = %v", err)
	}
}

func TestTextOfACallerIsNeverSQL(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), storetest.Types())
	write(t, s, server("a", map[string]string{"name": `"x"`}))
	evil := `'"; DROP TABLE docs; --?1 value`
	for _, n := range []query.Node{
		query.Term{Field: evil, Value: evil},
		query.Term{Field: "name", Value: evil},
		query.Exists{Field: evil},
		query.Prefix{Field: "name", Value: evil},
		query.Wildcard{Field: "name.raw", Value: evil + "*"},
		query.Match{Fields: []string{"*", evil}, Text: evil, Lenient: true},
		query.MatchPhrase{Fields: []string{"name"}, Text: evil},
		query.IDs{Values: []string{evil}},
		query.Term{Field: "metadata." + evil, Value: evil},
		query.Range{Field: "name", GT: evil, LT: evil},
	} {
		if got := total(t, s, n, &query.Scope{Principals: []resource.Principal{"*", resource.Principal(evil)}}); got != 0 {
			t.Errorf("%#v finds %d", n, got)
		}
	}
	if got := total(t, s, query.MatchAll{}, &query.Scope{All: true}); got != 1 {
		t.Errorf("%d documents are left", got)
	}
}

func TestManyClausesAreAnswered(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), storetest.Types())
	write(t, s, server("a", map[string]string{"name": `"w7"`}))
	var should []query.Node
	for i := range 1024 {
		should = append(should, query.Term{Field: "name", Value: fmt.Sprint("w", i)})
	}
	if got := total(t, s, query.Bool{Should: should}, &query.Scope{All: true}); got != 1 {
		t.Errorf("1024 alternatives find %d, want 1", got)
	}
	if got := total(t, s, query.Bool{Should: should, MinimumShouldMatch: "2"}, &query.Scope{All: true}); got != 0 {
		t.Errorf("two of 1024 alternatives find %d, want 0", got)
	}
	values := make([]query.Value, 10_000)
	for i := range values {
		values[i] = fmt.Sprint("w", i)
	}
	if got := total(t, s, query.Terms{Field: "name", Values: values}, &query.Scope{All: true}); got != 1 {
		t.Errorf("10 000 terms find %d, want 1", got)
	}
}

func TestConfigNamesEveryProblem(t *testing.T) {
	t.Parallel()
	err := sqlite.Config{}.Validate()
	for _, key := range []string{"path", "readers", "cache_mb", "search_timeout"} {
		if err == nil || !strings.Contains(err.Error(), key+": ") {
			t.Errorf("Validate of nothing = %v, want it to name %s", err, key)
		}
	}
	if err := sqlite.DefaultConfig().Validate(); err != nil {
		t.Errorf("Validate of the defaults = %v", err)
	}
}
