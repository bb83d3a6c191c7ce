package query_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/searchapi/query"
)

func TestParseMakesTheClausesOfABody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, in string
		want     query.Node
	}{
		{"all", `{"match_all":{"boost":2}}`, query.MatchAll{Boost: 2}},
		{"none", `{"match_none":{}}`, query.MatchNone{}},
		{"short term", `{"term":{"status":"active"}}`, query.Term{Field: "status", Value: "active"}},
		{"long term", `{"term":{"vcpus":{"value":4,"boost":1.5}}}`, query.Term{Field: "vcpus", Value: json.Number("4"), Boost: 1.5}},
		{"term of an id", `{"term":{"_id":"a"}}`, query.IDs{Values: []string{"a"}}},
		{"terms", `{"terms":{"a":["x",1,true],"boost":2}}`, query.Terms{Field: "a", Values: []query.Value{"x", json.Number("1"), true}, Boost: 2}},
		{"ids with a type", `{"ids":{"type":"T","values":["a","b"]}}`, query.IDs{Types: []string{"T"}, Values: []string{"a", "b"}}},
		{"exists", `{"exists":{"field":"a.b"}}`, query.Exists{Field: "a.b"}},
		{"range", `{"range":{"n":{"gt":1,"lte":"5"}}}`, query.Range{Field: "n", GT: json.Number("1"), LTE: "5"}},
		{"old range", `{"range":{"n":{"from":"now-1d","to":5,"include_upper":false}}}`, query.Range{Field: "n", GTE: "now-1d", LT: json.Number("5")}},
		{"prefix", `{"prefix":{"name":"we"}}`, query.Prefix{Field: "name", Value: "we"}},
		{"wildcard", `{"wildcard":{"name":{"wildcard":"w?b*"}}}`, query.Wildcard{Field: "name", Value: "w?b*"}},
		{"match", `{"match":{"name":{"query":"a b","operator":"AND","lenient":true}}}`, query.Match{Fields: []string{"name"}, Text: "a b", And: true, Lenient: true}},
		{"match of all", `{"match":{"_all":"a b"}}`, query.Match{Fields: []string{"*"}, Text: "a b", Lenient: true}},
		{"phrase", `{"match_phrase":{"name":{"query":"a b","slop":2}}}`, query.MatchPhrase{Fields: []string{"name"}, Text: "a b", Slop: 2}},
		{
			"bool", `{"bool":{"must":{"match_all":{}},"must_not":[{"term":{"a":1}}],"minimum_should_match":"50%"}}`,
			query.Bool{Must: []query.Node{query.MatchAll{}}, MustNot: []query.Node{query.Term{Field: "a", Value: json.Number("1")}}, MinimumShouldMatch: "50%"},
		},
		{
			"nested", `{"nested":{"path":"a","query":{"term":{"a.b":"x"}},"score_mode":"max"}}`,
			query.Nested{Path: "a", Query: query.Term{Field: "a.b", Value: "x"}, ScoreMode: "max"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, err := query.Parse([]byte(`{"query":`+c.in+`}`), query.DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, r.Query); d != "" {
				t.Errorf("Parse(%s): %s", c.in, d)
			}
		})
	}
}

func TestParseTakesTheOtherKeysOfABody(t *testing.T) {
	t.Parallel()
	r, err := query.Parse([]byte(`{"type":null,"query":null,"offset":5,"limit":"10","sort":["name",{"a":{"order":"desc",
		"missing":"_first","mode":"max","unmapped_type":"long"}},{"n.x":{"nested":{"path":"n"}}},"_score"],
		"_source":{"include":"id","excludes":["b"]},"version":true,"all_projects":false}`), query.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	want := query.Request{
		Query: query.MatchAll{}, From: 5, Size: 10, Version: true,
		Sort: []query.Sort{
			{Field: "name.raw", Missing: "_last"},
			{Field: "a", Desc: true, Missing: "_first", Mode: "max"},
			{Field: "n.x", Missing: "_last"},
			{Field: "_score", Desc: true, Missing: "_last"},
		},
		Source: &query.Source{Include: []string{"id"}, Exclude: []string{"b"}},
	}
	if d := cmp.Diff(want, r); d != "" {
		t.Error(d)
	}
	r, err = query.Parse([]byte(`{"type":"OS::Nova::Server","_source":false}`), query.DefaultLimits())
	if err != nil || r.Size != 25 || len(r.Types) != 1 || r.Source.Exclude[0] != "*" {
		t.Errorf("Parse = %+v, %v", r, err)
	}
}

func TestParseRefusesWhatItDoesNotKnowAtItsPath(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"bool":{"must":`, 40) + `{"match_all":{}}` + strings.Repeat(`}}`, 40)
	many := `{"bool":{"should":[` + strings.Repeat(`{"match_all":{}},`, 1100) + `{"match_all":{}}]}}`
	terms := `{"terms":{"a":[` + strings.Repeat(`1,`, 10_000) + `1]}}`
	for _, c := range []struct{ name, in, path, says string }{
		{"an empty body", ``, "body", "empty"},
		{"half a body", `{"query":`, "body", "malformed"},
		{"two bodies", `{}{}`, "body", "more"},
		{"an array", `[]`, "body", "an array"},
		{"a key twice", `{"size":1,"size":2}`, "body", "twice"},
		{"a key that is misspelt", `{"qurey":{}}`, "qurey", "did you mean query?"},
		{"aggregations", `{"aggs":{}}`, "aggs", "unknown key"},
		{"highlight", `{"highlight":{}}`, "highlight", "unknown key"},
		{"post_filter", `{"post_filter":{}}`, "post_filter", "unknown key"},
		{"a clause", `{"query":{"bool":{"must":[{"fuzy":{"a":"b"}}]}}}`, "query.bool.must[0].fuzy", "unknown clause"},
		{"fuzzy", `{"query":{"fuzzy":{"a":"b"}}}`, "query.fuzzy", "unknown clause"},
		{"a script", `{"query":{"script":{}}}`, "query.script", "unknown clause"},
		{"an option", `{"query":{"match":{"a":{"query":"b","fuzziness":1}}}}`, "query.match.a.fuzziness", "unknown option"},
		{"two clauses", `{"query":{"term":{"a":1},"match_all":{}}}`, "query.match_all", "second clause"},
		{"two fields", `{"query":{"term":{"a":1,"b":2}}}`, "query.term.b", "second field"},
		{"no clause", `{"query":{}}`, "query", "no clause"},
		{"a null value", `{"query":{"term":{"a":null}}}`, "query.term.a", "null"},
		{"both from and offset", `{"from":1,"offset":1}`, "offset", "from"},
		{"both bounds", `{"query":{"range":{"a":{"gt":1,"gte":2}}}}`, "query.range.a.gte", "one lower bound"},
		{"a format", `{"query":{"range":{"a":{"gt":1,"format":"QQQ"}}}}`, "query.range.a.format", "known formats"},
		{"a negative size", `{"size":-1}`, "size", "whole number"},
		{"too deep paging", `{"from":9990,"size":11}`, "from", "10000"},
		{"a sort key", `{"sort":{"a":"up"}}`, "sort.a.order", "asc, desc"},
		{"a sort option", `{"sort":[{"a":{"ordr":"asc"}}]}`, "sort[0].a.ordr", "did you mean order?"},
		{"a script to sort by", `{"sort":[{"_script":{}}]}`, "sort._script", "_score"},
		{"a source", `{"_source":5}`, "_source", "a number"},
		{"too deep", `{"query":` + deep + `}`, "query" + strings.Repeat(".bool.must", 32), "32 deep"},
		{"too many clauses", `{"query":` + many + `}`, "query.bool.should[1023]", "1024 clauses"},
		{"too many words", `{"query":{"match":{"a":"` + strings.Repeat("w-", 1100) + `"}}}`, "query.match.a", "1024 clauses"},
		{"too many terms", `{"query":` + terms + `}`, "query.terms", "10000 values"},
		{"a long pattern", `{"query":{"wildcard":{"a":"` + strings.Repeat("?", 300) + `"}}}`, "query.wildcard.a", "256"},
		{"deep JSON", strings.Repeat(`[`, 5000), "body", "nested too deeply"},
		{"a pattern of fields", `{"query":{"term":{"a*":"x"}}}`, "query.term.a*", "query_string"},
		{"both fields", `{"query":{"query_string":{"query":"a","fields":["b"],"default_field":"c"}}}`, "query.query_string.fields", "default_field"},
		{"fuzzy text", `{"query":{"query_string":{"query":"a~","lenient":true}}}`, "query.query_string.query", "fuzzy"},
		{"simple fuzzy text", `{"query":{"simple_query_string":{"query":"a~1","lenient":true}}}`, "query.simple_query_string.query", "fuzzy"},
		{"a regexp", `{"query":{"query_string":{"query":"name:/a.*/","lenient":true}}}`, "query.query_string.query", "regexp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := query.Parse([]byte(c.in), query.DefaultLimits())
			var e *query.Error
			if !errors.As(err, &e) {
				t.Fatalf("Parse = %v, want an *Error", err)
			}
			if e.Path != c.path || !strings.Contains(e.Detail, c.says) {
				t.Errorf("error is %q, %q; want path %q and a text with %q", e.Path, e.Detail, c.path, c.says)
			}
		})
	}
	if _, err := query.Parse(make([]byte, 1<<20+1), query.DefaultLimits()); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("Parse of more than a mebibyte = %v", err)
	}
}

func TestParseParamsReadsASearchFromTheURL(t *testing.T) {
	t.Parallel()
	v, err := url.ParseQuery("q=name:web*&type=OS::Nova::Server,OS::Cinder::Volume&size=3&sort=updated_at:desc,name&_source=id&all_projects=True")
	if err != nil {
		t.Fatal(err)
	}
	r, err := query.ParseParams(v, query.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	want := query.Request{
		Query: query.Pattern{Fields: []string{"name"}, Value: "web*"},
		Types: []string{"OS::Nova::Server", "OS::Cinder::Volume"}, Size: 3, AllProjects: true,
		Sort:   []query.Sort{{Field: "updated_at", Desc: true, Missing: "_last"}, {Field: "name.raw", Missing: "_last"}},
		Source: &query.Source{Include: []string{"id"}},
	}
	if d := cmp.Diff(want, r); d != "" {
		t.Error(d)
	}
	if _, err := query.ParseParams(url.Values{"siez": {"1"}}, query.DefaultLimits()); err == nil || !strings.Contains(err.Error(), "did you mean size?") {
		t.Errorf("ParseParams of an unknown parameter = %v", err)
	}
}

func TestMinimumShouldCountsAsElasticsearchDoes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec    string
		n, want int
	}{
		{"", 5, 0},
		{"2", 5, 2},
		{"-1", 5, 4},
		{"75%", 5, 3},
		{"-25%", 5, 4},
		{"-9", 5, 0},
		{"2<75%", 2, 2},
		{"2<75%", 4, 3},
		{"2<-25% 9<-3", 9, 7},
		{"2<-25% 9<-3", 10, 7},
	} {
		if got := query.MinimumShould(c.spec, c.n); got != c.want {
			t.Errorf("MinimumShould(%q, %d) = %d, want %d", c.spec, c.n, got, c.want)
		}
	}
}
