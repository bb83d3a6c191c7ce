//go:build real

package elastic_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/elastic"
	"github.com/fresnel-search/fresnel/indexer/elastic/dsl"
	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
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

// shapes are what dashboards ask for.
func shapes() map[string]query.Request {
	project := &query.Scope{Principals: []resource.Principal{"project:7", resource.Everyone}}
	req := func(n query.Node, sort ...query.Sort) query.Request {
		return query.Request{Types: []string{storetest.Port, storetest.Server}, Query: n, Size: 20, Sort: sort, Scope: project}
	}
	return map[string]query.Request{
		"all":       req(query.MatchAll{}),
		"term":      req(query.Term{Field: "status", Value: "ACTIVE"}, query.Sort{Field: "created_at", Desc: true}),
		"text":      req(query.Match{Fields: []string{"*"}, Text: "web example", Lenient: true}),
		"nested":    req(query.Nested{Path: "networks", Query: query.Term{Field: "networks.name", Value: "net-3"}}),
		"flat":      req(query.Term{Field: "metadata.role", Value: "db"}, query.Sort{Field: "name"}),
		"prefix":    req(query.Prefix{Field: "name.raw", Value: "web-1"}, query.Sort{Field: "size"}),
		"sort flat": req(query.Term{Field: "status", Value: "ACTIVE"}, query.Sort{Field: "metadata.role"}),
	}
}

// TestRealSearchCostsLittleMoreThanItsBodyAlone prints how long searches take through
// the store and sent straight to the server.
func TestRealSearchCostsLittleMoreThanItsBodyAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("measures")
	}
	eachServer(t, func(t *testing.T, cfg elastic.Config) {
		cfg.Prefix = fmt.Sprintf("t%x", rand.Uint64())
		t.Cleanup(func() { dropAll(t, cfg) })
		s, err := elastic.Open(t.Context(), cfg, storetest.Types(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		fillSearched(t, s, 20_000)
		for name, req := range shapes() {
			var seen []*dsl.Index
			var aliases []string
			for _, typ := range storetest.Types() {
				index := cfg.Prefix + "-" + strings.ToLower(strings.ReplaceAll(typ.Name, "::", "-")) + "-000001"
				seen = append(seen, dsl.NewIndex(index, layout.Of(typ), typ))
				aliases = append(aliases, index+"-read")
			}
			plan, err := dsl.Compile(&req, seen, time.Second)
			if err != nil || len(plan.Parts) != 1 {
				t.Fatal(plan, err)
			}
			var asked []string
			for _, i := range plan.Parts[0].Indices {
				asked = append(asked, aliases[i])
			}
			url := cfg.Addresses[0] + "/" + strings.Join(asked, ",") + "/_search"
			var ours, bare []time.Duration
			for range 50 {
				start := time.Now()
				res, err := s.Search(t.Context(), req)
				if err != nil || res.Total == 0 {
					t.Fatal(name, res.Total, err)
				}
				ours = append(ours, time.Since(start))
				start = time.Now()
				send(t, url, plan.Parts[0].Body)
				bare = append(bare, time.Since(start))
			}
			o, b := median(ours), median(bare)
			t.Logf("%-10s p50 %8s, its body alone %8s: %.2f", name, o.Round(10*time.Microsecond), b.Round(10*time.Microsecond), float64(o)/float64(b))
		}
	})
}

func median(d []time.Duration) time.Duration {
	slices.SortFunc(d, cmp.Compare)
	return d[len(d)/2]
}

func send(t testing.TB, url string, body []byte) {
	t.Helper()
	res, err := http.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res.Status, err)
	}
}

// fillSearched stores servers and ports of ten projects.
func fillSearched(t testing.TB, s *elastic.Store, n int) {
	t.Helper()
	for at := 0; at < n; at += 1000 {
		var docs []resource.Document
		for i := at; i < at+1000; i++ {
			readers := []resource.Principal{resource.Project(fmt.Sprint(i % 10))}
			ref := resource.Ref{Type: storetest.Server, ID: fmt.Sprintf("s%06d", i)}
			fields := map[string]string{
				"id": fmt.Sprintf(`"%s"`, ref.ID), "name": fmt.Sprintf(`"web-%d.example.net"`, i), "size": fmt.Sprint(i % 97),
				"status": []string{`"ACTIVE"`, `"ERROR"`, `"BUILD"`}[i%3], "created_at": fmt.Sprintf(`"2026-05-01T%02d:%02d:00Z"`, i%24, i%60),
				"metadata": fmt.Sprintf(`{"role":"%s","rack":{"row":"r%d"}}`, []string{"db", "web", "lb"}[i/3%3], i%50),
				"networks": fmt.Sprintf(`[{"name":"net-%d","version":4},{"name":"net-%d","version":6}]`, i%20, i%7),
			}
			if i%4 == 0 {
				ref.Type = storetest.Port
				for _, f := range []string{"created_at", "metadata", "networks"} {
					delete(fields, f)
				}
			}
			docs = append(docs, storetest.Doc(ref, readers, fields))
		}
		if _, err := s.Write(t.Context(), docs); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}
