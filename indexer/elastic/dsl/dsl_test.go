package dsl_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/elastic/dsl"
	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

func port() *catalog.Type {
	return &catalog.Type{Name: "Test::Port", Fields: []catalog.Field{
		{Name: "id", Type: catalog.Keyword},
		{Name: "name", Type: catalog.Text},
		{Name: "status", Type: catalog.Keyword, AdminOnly: true},
		{Name: "size", Type: catalog.Double},
		{Name: "when", Type: catalog.Date},
	}}
}

func server() *catalog.Type {
	return &catalog.Type{Name: "Test::Server", AdminOnly: []string{"metadata.secret*", "other.host*"}, Fields: []catalog.Field{
		{Name: "id", Type: catalog.Keyword},
		{Name: "name", Type: catalog.Text},
		{Name: "status", Type: catalog.Keyword},
		{Name: "size", Type: catalog.Long},
		{Name: "when", Type: catalog.Keyword},
		{Name: "address", Type: catalog.IP},
		{Name: "hypervisor", Type: catalog.Keyword, AdminOnly: true},
		{Name: "metadata", Type: catalog.Flattened},
		{Name: "networks", Type: catalog.Nested, Fields: []catalog.Field{
			{Name: "name", Type: catalog.Keyword}, {Name: "vlan", Type: catalog.Long, AdminOnly: true},
		}},
	}}
}

func tenant() *query.Scope {
	return &query.Scope{Principals: []resource.Principal{"project:a", "*"}}
}

func operator() *query.Scope { return &query.Scope{All: true, Hidden: true} }

func both() []*dsl.Index {
	return []*dsl.Index{
		dsl.NewIndex("x-test-port-000001", layout.Of(port()), port()),
		dsl.NewIndex("x-test-server-000001", layout.Of(server()), server()),
	}
}

func compile(t testing.TB, req query.Request, indices ...*dsl.Index) *dsl.Plan {
	t.Helper()
	p, err := dsl.Compile(&req, indices, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range p.Parts {
		if !json.Valid(part.Body) {
			t.Fatalf("no JSON: %s", part.Body)
		}
	}
	return p
}

// clauses are one of each kind on a field, with a caller's text in every place for text.
func clauses(field, text string) []query.Node {
	nested := func(n query.Node) query.Node { return query.Nested{Path: "networks", Query: n, ScoreMode: "max"} }
	one := []string{field}
	return []query.Node{
		query.Term{Field: field, Value: text},
		query.Term{Field: field, Value: text, CaseInsensitive: true},
		query.Terms{Field: field, Values: []query.Value{text, "other"}},
		query.IDs{Values: []string{text}},
		query.Exists{Field: field},
		query.Range{Field: field, GTE: text, LT: text, Lenient: true},
		query.Prefix{Field: field, Value: text},
		query.Prefix{Field: field, Value: text, CaseInsensitive: true},
		query.Wildcard{Field: field, Value: text},
		query.Wildcard{Field: field, Value: text, CaseInsensitive: true},
		query.Match{Fields: one, Text: text, Lenient: true},
		query.Match{Fields: one, Text: text, Lenient: true, And: true},
		query.Match{Fields: one, Text: text + " b", Lenient: true, MinimumShouldMatch: "2<75%"},
		query.MatchPhrase{Fields: one, Text: text, Slop: 2, Lenient: true},
		query.MatchPhrase{Fields: one, Text: text, Prefix: true, Lenient: true},
		query.Pattern{Fields: one, Value: text, Lenient: true},
		nested(query.Term{Field: field, Value: text}),
		nested(query.IDs{Values: []string{text}}),
		query.Bool{MustNot: []query.Node{query.Term{Field: field, Value: text}}},
		query.Bool{Should: []query.Node{query.Term{Field: field, Value: text}, query.MatchAll{}}, MinimumShouldMatch: "1"},
	}
}

func TestAHiddenFieldIsLikeOneThatDoesNotExist(t *testing.T) {
	t.Parallel()
	only := both()[1]
	bodies := func(req query.Request) string {
		p, err := dsl.Compile(&req, []*dsl.Index{only}, time.Second)
		if err != nil {
			return "error: " + err.Error()
		}
		var sb strings.Builder
		for _, part := range p.Parts {
			fmt.Fprintln(&sb, string(part.Body))
		}
		return sb.String()
	}
	for hidden, none := range map[string]string{
		"hypervisor": "no_such_one", "hypervisor.raw": "no_such_one.raw", "metadata.secret_key": "no_such_one",
		"other.host_ip": "no_such_one", "networks.vlan": "networks.no_such_one",
	} {
		for i, n := range clauses(hidden, "text") {
			got, want := bodies(query.Request{Query: n, Size: 3, Scope: tenant()}), bodies(query.Request{Query: clauses(none, "text")[i], Size: 3, Scope: tenant()})
			if got != want {
				t.Errorf("%#v:\n%s\nof nothing:\n%s", n, got, want)
			}
		}
	}
	sorted := func(field string) string {
		s := bodies(query.Request{Query: query.MatchAll{}, Size: 3, Sort: []query.Sort{{Field: field}}, Scope: tenant()})
		return strings.ReplaceAll(s, field, "FIELD")
	}
	if got, want := sorted("hypervisor"), sorted("no_such_one"); got != want || !strings.HasPrefix(got, "error") {
		t.Errorf("sorted by a hidden field:\n%s\nby nothing:\n%s", got, want)
	}
	if got := sorted("metadata.secret_key"); strings.HasPrefix(got, "error") || strings.Contains(got, "_script") {
		t.Errorf("sorted by a hidden member: %s", got)
	}
}

func TestAFieldHiddenInOneTypeIsSearchedInTheOther(t *testing.T) {
	t.Parallel()
	for _, n := range clauses("status", "text") {
		p := compile(t, query.Request{Query: n, Size: 1, Scope: tenant()}, both()...)
		for _, part := range p.Parts {
			// The group of a port begins at its name, and the next group at the next one.
			_, body, _ := strings.Cut(string(part.Body), `["x-test-port-000001"]`)
			body, _, _ = strings.Cut(body, `"_index"`)
			if slices.Equal(part.Indices, []int{0}) {
				body = string(part.Body)
			}
			if strings.Contains(body, "fields.status") {
				t.Errorf("%#v looks at a port's status: %s", n, part.Body)
			}
			if _, ids := n.(query.IDs); !ids && !strings.Contains(string(part.Body), "fields.status") && slices.Contains(part.Indices, 1) {
				if _, nested := n.(query.Nested); !nested {
					t.Errorf("%#v does not look at a server's status: %s", n, part.Body)
				}
			}
		}
	}
}

func TestEverySearchIsFilteredByReadersAroundEverythingElse(t *testing.T) {
	t.Parallel()
	for _, n := range append(clauses("name", "x"), query.MatchAll{}, nil, query.Bool{}) {
		for _, sort := range [][]query.Sort{nil, {{Field: "name"}}, {{Field: "status"}}, {{Field: "_score"}}} {
			for _, size := range []int{0, 5} {
				p := compile(t, query.Request{Query: n, Size: size, Sort: sort, Scope: tenant()}, both()...)
				for _, part := range p.Parts {
					var body struct {
						Query map[string]struct {
							Filter []json.RawMessage `json:"filter"`
							Should json.RawMessage   `json:"should"`
						} `json:"query"`
					}
					if err := json.Unmarshal(part.Body, &body); err != nil {
						t.Fatal(err)
					}
					outer := body.Query["bool"]
					if len(body.Query) != 1 || len(outer.Filter) < 2 || outer.Should != nil ||
						string(outer.Filter[0]) != `{"term":{"live":{"value":true}}}` || string(outer.Filter[1]) != `{"terms":{"readers":["project:a","*"]}}` {
						t.Errorf("%#v: %s", n, part.Body)
					}
				}
			}
		}
		if p := compile(t, query.Request{Query: n, Size: 5, Scope: &query.Scope{}}, both()...); len(p.Parts) > 0 {
			t.Errorf("%#v is sent for nobody: %s", n, p.Parts[0].Body)
		}
	}
	if _, err := dsl.Compile(&query.Request{Query: query.MatchAll{}}, both(), 0); !errors.Is(err, dsl.ErrUnrestricted) {
		t.Errorf("without a scope: %v", err)
	}
}

func TestAFlattenedFieldWhoseHiddenMembersChangedIsForOperatorsOnly(t *testing.T) {
	t.Parallel()
	now := server()
	now.AdminOnly = append(now.AdminOnly, "metadata.price*")
	ix := dsl.NewIndex("x-test-server-000001", layout.Of(server()), now)
	for _, field := range []string{"metadata", "metadata.role", "metadata.price", "metadata.secret_key"} {
		for _, n := range clauses(field, "x")[:3] {
			if p := compile(t, query.Request{Query: n, Size: 1, Scope: tenant()}, ix); len(p.Parts) > 0 {
				t.Errorf("a tenant searches %s: %s", field, p.Parts[0].Body)
			}
			p := compile(t, query.Request{Query: n, Size: 1, Scope: operator()}, ix)
			if len(p.Parts) != 1 || !strings.Contains(string(p.Parts[0].Body), layout.VeiledLeaves) {
				t.Errorf("an operator does not search %s", field)
			}
		}
	}
	if p := compile(t, query.Request{Query: query.Term{Field: "other.zone", Value: "x"}, Size: 1, Scope: tenant()}, ix); len(p.Parts) != 1 {
		t.Error("another flattened field is closed too")
	}
}

func TestAFieldIsSearchedAsTheIndexHasItIfBothDeclareIt(t *testing.T) {
	t.Parallel()
	now := server()
	now.Fields[2].Type = catalog.Text                                                    // status
	now.Fields = append(now.Fields[:3], now.Fields[4:]...)                               // no size any more
	now.Fields = append(now.Fields, catalog.Field{Name: "fresh", Type: catalog.Keyword}) // not in the index
	ix := dsl.NewIndex("x-test-server-000001", layout.Of(server()), now)
	for field, want := range map[string]string{"status": `{"term":{"fields.status":{"value":"5"}}}`, "size": "", "fresh": "", "status.raw": ""} {
		p := compile(t, query.Request{Query: query.Term{Field: field, Value: "5"}, Size: 1, Scope: operator()}, ix)
		if want == "" && len(p.Parts) > 0 || want != "" && (len(p.Parts) != 1 || !strings.Contains(string(p.Parts[0].Body), want)) {
			t.Errorf("%s: %v, want %s", field, p.Parts, want)
		}
	}
}

func TestSortingByANameOfTwoMeaningsIsSeveralSearches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		field string
		scope *query.Scope
		want  int
	}{
		{"name", tenant(), 1},
		{"size", tenant(), 1}, // numbers both
		{"status", operator(), 1},
		{"status", tenant(), 2}, // hidden in ports, which must not be sorted by it
		{"when", operator(), 2}, // a date and a keyword
		{"address", tenant(), 1},
		{"metadata.role", tenant(), 1},
		{"_score", tenant(), 1},
	} {
		p := compile(t, query.Request{Query: query.MatchAll{}, From: 2, Size: 3, Sort: []query.Sort{{Field: c.field}}, Scope: c.scope}, both()...)
		if len(p.Parts) != c.want {
			t.Errorf("sorted by %s: %d searches, want %d", c.field, len(p.Parts), c.want)
		}
		for _, part := range p.Parts {
			var page struct{ From, Size int }
			if err := json.Unmarshal(part.Body, &page); err != nil {
				t.Fatal(err)
			}
			if got := page.From + page.Size; got != 5 || c.want > 1 && page.From != 0 {
				t.Errorf("sorted by %s: from %d, size %d", c.field, page.From, page.Size)
			}
			if c.scope.Hidden == false && c.field == "status" && slices.Contains(part.Indices, 0) && strings.Contains(string(part.Body), "fields.status") {
				t.Errorf("ports are sorted by what is hidden: %s", part.Body)
			}
		}
	}
}

func TestAValueThatNoTypeCanHoldIsTheCallersMistake(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n    query.Node
		path string // of the error; empty for none
	}{
		{query.Term{Field: "size", Value: "x"}, "query.term.size"},
		{query.Terms{Field: "size", Values: []query.Value{"1", "x"}}, "query.terms.size"},
		{query.Range{Field: "size", GT: "x"}, "query.range.size"},
		{query.Range{Field: "size", GT: "x", Lenient: true}, ""},
		{query.Match{Fields: []string{"size"}, Text: "x"}, "query.match"},
		{query.Match{Fields: []string{"size", "name"}, Text: "x"}, ""},
		{query.Match{Fields: []string{"size"}, Text: "x", Lenient: true}, ""},
		{query.MatchPhrase{Fields: []string{"address"}, Text: "x"}, "query.match_phrase"},
		{query.Prefix{Field: "size", Value: "1"}, "query.prefix.size"},
		{query.Wildcard{Field: "address", Value: "1*"}, "query.wildcard.address"},
		{query.Wildcard{Field: "name", Value: strings.Repeat("*a", 17)}, "query.wildcard.name"},
		{query.Term{Field: "when", Value: "soon"}, ""}, // a date in one type, a keyword in the other
		{query.Term{Field: "networks.vlan", Value: "x"}, ""},
		{query.Nested{Path: "networks", Query: query.Term{Field: "networks.vlan", Value: "x"}}, "query.nested.query.term.networks.vlan"},
		{query.Bool{Must: []query.Node{query.MatchAll{}, query.Term{Field: "size", Value: "x"}}}, "query.bool.must[1].term.size"},
	} {
		_, err := dsl.Compile(&query.Request{Query: c.n, Size: 1, Scope: operator()}, both(), time.Second)
		got := ""
		if e, ok := errors.AsType[*query.Error](err); ok {
			got = e.Path
		}
		if got != c.path || (err != nil) != (c.path != "") {
			t.Errorf("%#v: %v, want an error at %q", c.n, err, c.path)
		}
	}
}

func TestBoundsAreExact(t *testing.T) {
	t.Parallel()
	num := func(s string) query.Value { return json.Number(s) }
	for _, c := range []struct {
		n    query.Node
		want string // in the body; empty for no search
	}{
		{query.Range{Field: "size", GT: num("1.5")}, `"fields.size":{"gte":2,`},
		{query.Range{Field: "size", LT: num("1e2")}, `"lte":99}`},
		{query.Range{Field: "size", GT: num("1"), GTE: num("3")}, `"fields.size":{"gte":3,`},
		{query.Range{Field: "size", GT: num("9223372036854775807")}, ``},
		{query.Range{Field: "size", LT: num("1e300"), GT: num("-1e300")}, `"fields.size":{"gte":-9223372036854775808,"lte":9223372036854775807}`},
		{query.Term{Field: "size", Value: num("1.5")}, ``},
		{query.Term{Field: "size", Value: num("1e3")}, `"fields.size":{"value":1000}`},
		{query.Term{Field: "address", Value: "10.0.0.0/30"}, `"fields.address":{"gte":"10.0.0.0","lte":"10.0.0.3"}`},
		{query.Term{Field: "address", Value: "::ffff:10.0.0.1"}, `"fields.address":{"value":"10.0.0.1"}`},
		{query.Range{Field: "metadata.role", LT: "b"}, `"leaves":{"gte":"metadata.role\u0001","lt":"metadata.role\u0001b"}`},
		{query.Range{Field: "metadata.role", GT: "b"}, `"leaves":{"gt":"metadata.role\u0001b","lt":"metadata.role\u0002"}`},
		{query.Wildcard{Field: "when", Value: `a\*?*\\`}, `"fields.when":{"value":"a\\*?*\\\\"}`},
		{query.Wildcard{Field: "metadata.role", Value: `A.?`, CaseInsensitive: true}, `"value":"metadata\\.role\u0001[aA]\\.."`},
	} {
		p := compile(t, query.Request{Query: c.n, Size: 1, Scope: tenant()}, both()[1])
		got := ""
		if len(p.Parts) > 0 {
			got = string(p.Parts[0].Body)
		}
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%#v: %s, want %s", c.n, got, c.want)
		}
	}
}

// FuzzTextOfACallerIsNeverSyntax gives arbitrary text to every clause, as value and as
// the name of a field: no key of a body may come from it.
func FuzzTextOfACallerIsNeverSyntax(f *testing.F) {
	for _, s := range []string{"x", `"},"match_all":{}`, `*:* OR a`, "\x00\x01", `a\`, "name^5", "_index", "fields.hypervisor", `.*|~&<1-2>@#"`, "é\xff", "networks"} {
		f.Add(s, "name")
		f.Add("x", s)
		f.Add(s, "metadata."+s)
	}
	allowed := map[string]bool{}
	for name := range strings.FieldsSeq(`size from sort timeout track_total_hits track_scores query bool must filter should must_not minimum_should_match boost
		term terms value case_insensitive range gt gte lt lte format prefix wildcard regexp flags match operator match_phrase match_phrase_prefix slop
		max_expansions constant_score dis_max queries match_all ids values exists field nested path score_mode ignore_unmapped order missing unmapped_type
		numeric_type mode type id _score _script script lang source params fields max _index live readers leaves veiled_leaves
		fields.id fields.name fields.name.raw fields.status fields.size fields.when fields.address fields.hypervisor fields.networks.name fields.networks.vlan`) {
		allowed[name] = true
	}
	var check func(t *testing.T, v any)
	check = func(t *testing.T, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				if !allowed[k] {
					t.Errorf("a key %q", k)
				}
				check(t, e)
			}
		case []any:
			for _, e := range v {
				check(t, e)
			}
		}
	}
	f.Fuzz(func(t *testing.T, text, field string) {
		for _, scope := range []*query.Scope{tenant(), operator()} {
			for _, n := range clauses(field, text) {
				req := query.Request{Query: n, Size: 3, Sort: []query.Sort{{Field: field}}, Scope: scope}
				if p, err := dsl.Compile(&req, both(), time.Second); err == nil {
					for _, part := range p.Parts {
						var v any
						if err := json.Unmarshal(part.Body, &v); err != nil {
							t.Fatalf("%v: %s", err, part.Body)
						}
						check(t, v)
						if !scope.Hidden && strings.Contains(string(part.Body), `"fields.hypervisor":`) {
							t.Errorf("a tenant searches what is hidden: %s", part.Body)
						}
					}
				}
			}
		}
	})
}

func BenchmarkCompile(b *testing.B) {
	indices := both()
	req := query.Request{Query: query.Match{Fields: []string{"*"}, Text: "web example", Lenient: true}, Size: 20, Scope: tenant()}
	for b.Loop() {
		if _, err := dsl.Compile(&req, indices, time.Second); err != nil {
			b.Fatal(err)
		}
	}
}
