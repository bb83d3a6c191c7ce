package query_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fresnel-search/fresnel/searchapi/query"
)

// wide are limits that no generated query reaches, also after printing.
func wide() query.Limits {
	l := query.DefaultLimits()
	l.Depth, l.Clauses, l.Wildcard = 200, 100_000, 4096
	return l
}

func TestPrintedQueriesParseToThemselves(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		body := drawClause(t, 3)
		n, err := query.ParseNode([]byte(body), query.DefaultLimits())
		if err != nil {
			return // refusals are tested elsewhere; most texts are fine
		}
		same(t, n)
	})
}

type failer interface{ Fatalf(string, ...any) }

func same(t failer, n query.Node) {
	printed := query.Print(n)
	again, err := query.ParseNode(printed, wide())
	if err != nil {
		t.Fatalf("Print = %s, which does not parse: %v", printed, err)
	}
	if d := cmp.Diff(n, again); d != "" {
		t.Fatalf("Print = %s, which parses to something else: %s", printed, d)
	}
}

func jsonText(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(b)
}

func drawText(t *rapid.T) string {
	words := rapid.SliceOfN(rapid.SampledFrom([]string{
		"a", "web-1", "AND", "OR", "NOT", "&&", "||", "+", "-", "!", "(", ")", "name:", "_id:", "_exists_:", `"a b"`, `"`, "~2", "~",
		"w*", "?x", "*", `\*`, `\`, "[1 TO 5]", "{a TO *}", "[* TO *]", ">=5", "<", "^2", "^", "é", "\u3000", "im.\\*:", `"a \" b"`, "/", "10.0.0.0/24",
		`f\:g:`, `\^:`, `AND\ `, `|`, `\u0041`, ",", "'", "\n",
	}), 1, 8).Draw(t, "words")
	return strings.Join(words, rapid.SampledFrom([]string{"", " "}).Draw(t, "between"))
}

func drawScalar(t *rapid.T) string {
	return rapid.SampledFrom([]string{`"x"`, `""`, `5`, `1.5e3`, `true`, `"now-1d"`, `"a\"\\b"`}).Draw(t, "scalar")
}

func drawField(t *rapid.T) string {
	return jsonText(rapid.SampledFrom([]string{"name", "a.b", "a b", "x^2", "AND", "_all", "_id", "_exists_", `q"`, "OS-EXT:x"}).Draw(t, "field"))
}

func drawOptions(t *rapid.T) string {
	return rapid.SampledFrom([]string{
		"", `"boost":2,`, `"minimum_should_match":"2<50%","boost":0.5,`, `"minimum_should_match":-1,`,
	}).Draw(t, "options")
}

func drawClause(t *rapid.T, depth int) string {
	kinds := []string{"all", "term", "terms", "ids", "exists", "range", "prefix", "match", "phrase", "text", "simple", "text", "text"}
	if depth > 0 {
		kinds = append(kinds, "bool", "bool", "nested")
	}
	opts := func(allowed string) string {
		o := drawOptions(t)
		if strings.Contains(o, "minimum") && !strings.Contains(allowed, "minimum") {
			return ""
		}
		return o
	}
	field := drawField(t)
	switch rapid.SampledFrom(kinds).Draw(t, "kind") {
	case "term":
		return fmt.Sprintf(`{"term":{%s:{%s"value":%s,"case_insensitive":true}}}`, field, opts(""), drawScalar(t))
	case "terms":
		return fmt.Sprintf(`{"terms":{%s%s:[%s,%s]}}`, opts(""), field, drawScalar(t), drawScalar(t))
	case "ids":
		return fmt.Sprintf(`{"ids":{%s"type":["A"],"values":["a","b"]}}`, opts(""))
	case "exists":
		return fmt.Sprintf(`{"exists":{%s"field":%s}}`, opts(""), field)
	case "range":
		return fmt.Sprintf(`{"range":{%s:{%s"gt":%s,"to":%s,"time_zone":"+01:00"}}}`, field, opts(""), drawScalar(t), drawScalar(t))
	case "prefix":
		return fmt.Sprintf(`{"%s":{%s:{%s"value":%s}}}`, rapid.SampledFrom([]string{"prefix", "wildcard"}).Draw(t, "p"), field, opts(""), jsonText(drawText(t)))
	case "match":
		return fmt.Sprintf(`{"match":{%s:{%s"operator":"and","query":%s}}}`, field, opts("minimum"), jsonText(drawText(t)))
	case "phrase":
		return fmt.Sprintf(`{"match_phrase":{%s:{%s"slop":1,"query":%s}}}`, field, opts(""), jsonText(drawText(t)))
	case "text", "simple":
		name := rapid.SampledFrom([]string{"query_string", "simple_query_string"}).Draw(t, "clause")
		where := rapid.SampledFrom([]string{
			"", `"fields":["name"],`, `"fields":["name","a.*^2"],"lenient":true,`, `"fields":["a","b"],`, `"fields":["AND"],"lenient":true,`,
			`"fields":["_exists_","x^2^3"],"lenient":true,"default_operator":"and",`,
		}).Draw(t, "where")
		return fmt.Sprintf(`{"%s":{%s%s"query":%s}}`, name, where, opts("minimum"), jsonText(drawText(t)))
	case "bool":
		return fmt.Sprintf(`{"bool":{%s"must":[%s,%s],"should":%s,"must_not":%s}}`, opts("minimum"),
			drawClause(t, depth-1), drawClause(t, depth-1), drawClause(t, depth-1), drawClause(t, depth-1))
	case "nested":
		return fmt.Sprintf(`{"nested":{%s"path":"a","score_mode":"avg","query":%s}}`, opts(""), drawClause(t, depth-1))
	}
	return `{"match_all":{}}`
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"query":{"bool":{"must":[{"term":{"a":"b"}},{"query_string":{"query":"a AND (b OR c:[1 TO 5}) \"x y\"~2"}}]}},"sort":["name"]}`,
		`{"query":{"simple_query_string":{"query":"a +b | -(c d*)"}},"_source":{"include":["a"]},"size":3}`,
		`{"query":{"range":{"a":{"gte":"now-1d/d","format":"yyyy-MM-dd||epoch_millis"}}},"type":["A"]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := query.Parse(body, query.DefaultLimits())
		if err == nil {
			same(t, r.Query)
		}
	})
}

func FuzzQueryString(f *testing.F) {
	for _, s := range []string{`a OR b AND c`, `n:[1 TO "x y"} -"p q"~3^2`, `w?b* \u0041 _exists_:x (a b)^2`, `a|b + -c*`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, clause := range []string{"query_string", "simple_query_string"} {
			for _, where := range []string{"", `"fields":["a","b.*^2"],`, `"fields":["a"],`} {
				n, err := query.ParseNode([]byte(`{"`+clause+`":{`+where+`"query":`+jsonText(text)+`}}`), query.DefaultLimits())
				if err == nil {
					same(t, n)
				}
			}
		}
	})
}
