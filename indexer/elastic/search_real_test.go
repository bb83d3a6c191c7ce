//go:build real

package elastic_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/elastic"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/sqlite"
	"github.com/fresnel-search/fresnel/indexer/storetest"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// clashing are types in which one name means different things.
func clashing() []*catalog.Type {
	return []*catalog.Type{
		{Name: "Test::A", Fields: []catalog.Field{
			{Name: "id", Type: catalog.Keyword},
			{Name: "when", Type: catalog.Date},
			{Name: "level", Type: catalog.Keyword, AdminOnly: true},
			{Name: "mark", Type: catalog.Long},
			{Name: "tags", Type: catalog.Flattened},
		}},
		{Name: "Test::B", AdminOnly: []string{"tags.secret*"}, Fields: []catalog.Field{
			{Name: "id", Type: catalog.Keyword},
			{Name: "when", Type: catalog.Keyword},
			{Name: "level", Type: catalog.Keyword},
			{Name: "mark", Type: catalog.Text},
			{Name: "tags", Type: catalog.Flattened},
		}},
		{Name: "Test::C", Fields: []catalog.Field{
			{Name: "id", Type: catalog.Keyword},
			{Name: "when", Type: catalog.Long},
			{Name: "mark", Type: catalog.IP},
			{Name: "tags", Type: catalog.Keyword},
		}},
	}
}

func clashingDocuments() []resource.Document {
	all := []resource.Principal{resource.Everyone}
	doc := func(typ, id string, fields map[string]string) resource.Document {
		fields["id"] = `"` + id + `"`
		return storetest.Doc(resource.Ref{Type: typ, ID: id}, all, fields)
	}
	return []resource.Document{
		doc("Test::A", "a1", map[string]string{"when": `"2026-05-01T00:00:00Z"`, "level": `"z"`, "mark": `5`, "tags": `{"k":"m","secret":"1"}`}),
		doc("Test::A", "a2", map[string]string{"when": `"2026-05-02T00:00:00Z"`, "level": `"a"`, "mark": `-5`, "tags": `{"k":["b","y"]}`}),
		doc("Test::A", "a3", map[string]string{}),
		doc("Test::B", "b1", map[string]string{"when": `"noon"`, "level": `"m"`, "mark": `"five words"`, "tags": `{"k":"a","secret":"0"}`}),
		doc("Test::B", "b2", map[string]string{"when": `"dawn"`, "level": `"b"`, "tags": `{"k":"","secret":"2"}`}),
		doc("Test::C", "c1", map[string]string{"when": `1777680000000`, "mark": `"10.0.0.1"`, "tags": `["q","x"]`}),
		doc("Test::C", "c2", map[string]string{"when": `7`, "mark": `"fd00::1"`}),
	}
}

// TestRealSearchOfNamesWithTwoMeaningsAnswersAsSQLite compares what is merged of
// several searches with what SQLite finds in one.
func TestRealSearchOfNamesWithTwoMeaningsAnswersAsSQLite(t *testing.T) {
	small := sqlite.DefaultConfig()
	small.Path = t.TempDir() + "/index.db"
	reference, err := sqlite.OpenTypes(small, clashing(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer reference.Close()
	if _, err := reference.Write(t.Context(), clashingDocuments()); err != nil {
		t.Fatal(err)
	}
	eachServer(t, func(t *testing.T, cfg elastic.Config) {
		s := openReal(t, cfg, clashing())
		out, err := s.Write(t.Context(), clashingDocuments())
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range out {
			if w.Err != nil {
				t.Fatal(w.Err)
			}
		}
		if err := s.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		searches := 0
		for _, req := range clashingRequests() {
			want, wantErr := reference.Search(t.Context(), req)
			got, err := s.Search(t.Context(), req)
			if fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Errorf("%#v sorted by %v: %v, want %v", req.Query, req.Sort, err, wantErr)
				continue
			}
			searches++
			if g, w := shown(got), shown(want); g != w {
				t.Errorf("%#v sorted by %v for %+v:\n%s\nwant\n%s", req.Query, req.Sort, *req.Scope, g, w)
			}
		}
		t.Logf("%d searches", searches)
	})
}

func clashingRequests() (reqs []query.Request) {
	everybody := &query.Scope{Principals: []resource.Principal{resource.Everyone}}
	for _, scope := range []*query.Scope{everybody, {All: true, Hidden: true}} {
		for _, n := range []query.Node{
			query.MatchAll{},
			query.Range{Field: "when", GTE: "d", Lenient: true},
			query.Range{Field: "when", GTE: json.Number("5"), Lenient: true},
			query.Term{Field: "mark", Value: "5"},
			query.Term{Field: "level", Value: "z"},
			query.Term{Field: "tags", Value: "x"},
			query.Prefix{Field: "tags.k", Value: ""},
			query.Exists{Field: "tags"},
			query.Bool{MustNot: []query.Node{query.Range{Field: "when", GTE: "a", Lenient: true}}},
			query.Match{Fields: []string{"*"}, Text: "five a b", Lenient: true},
		} {
			for _, field := range []string{"", "when", "level", "mark", "tags", "tags.k", "tags.secret", "_score", "_type"} {
				for _, desc := range []bool{false, true} {
					req := query.Request{Types: []string{"Test::A", "Test::B", "Test::C"}, Query: n, From: 1, Size: 4, Scope: scope}
					if field != "" {
						req.Sort = []query.Sort{{Field: field, Desc: desc}}
					}
					if desc {
						req.From, req.Size = 0, 10
					}
					reqs = append(reqs, req)
				}
			}
		}
	}
	return reqs
}

func shown(res query.Result) string {
	var sb strings.Builder
	fmt.Fprintf(&sb, "total %d", res.Total)
	if res.MaxScore != nil {
		fmt.Fprintf(&sb, " best %.3f", *res.MaxScore)
	}
	for _, h := range res.Hits {
		fmt.Fprintf(&sb, "\n%s %s %s", h.Ref, h.Sort, h.Source)
		if h.Score != nil {
			fmt.Fprintf(&sb, " %.3f", *h.Score)
		}
	}
	return sb.String() + " " + res.Partial
}
