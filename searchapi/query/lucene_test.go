package query_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/searchapi/query"
)

// brief writes a node as Lucene prints its queries: +must -mustNot should.
func brief(n query.Node) string {
	join := func(fields []string, s string) string { return strings.Join(fields, ",") + ":" + s }
	switch n := n.(type) {
	case query.MatchAll:
		return "*:*"
	case query.MatchNone:
		return "none"
	case query.Match:
		return join(n.Fields, n.Text.(string))
	case query.MatchPhrase:
		s := join(n.Fields, `"`+n.Text+`"`)
		if n.Slop > 0 {
			s += "~" + string(rune('0'+n.Slop))
		}
		return s
	case query.Pattern:
		return join(n.Fields, "/"+n.Value+"/")
	case query.Exists:
		return "exists:" + n.Field
	case query.IDs:
		return "ids:" + strings.Join(n.Values, ",")
	case query.Range:
		b, err := json.Marshal(map[string]query.Value{"gt": n.GT, "gte": n.GTE, "lt": n.LT, "lte": n.LTE})
		if err != nil {
			return err.Error()
		}
		return n.Field + string(b)
	case query.Bool:
		var parts []string
		for _, c := range n.Must {
			parts = append(parts, "+"+brief(c))
		}
		for _, c := range n.Should {
			parts = append(parts, brief(c))
		}
		for _, c := range n.MustNot {
			parts = append(parts, "-"+brief(c))
		}
		return "(" + strings.Join(parts, " ") + ")"
	}
	return "?"
}

func TestQueryStringFollowsTheClassicGrammar(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, opts, want string }{
		{`a`, ``, `d:a`},
		{`a b`, ``, `(d:a d:b)`},
		{`a b`, `"default_operator":"AND",`, `(+d:a +d:b)`},
		{`a OR b AND c`, ``, `(+d:b +d:c d:a)`},
		{`a AND b OR c`, ``, `(+d:a +d:b d:c)`},
		{`a OR b AND c`, `"default_operator":"AND",`, `(+d:b +d:c d:a)`},
		{`a && b || c`, ``, `(+d:a +d:b d:c)`},
		{`NOT a`, ``, `(-d:a)`},
		{`a AND NOT b`, ``, `(+d:a -d:b)`},
		{`a !b -c +e`, ``, `(+d:e d:a -d:b -d:c)`},
		{`a AND (b OR c)`, ``, `(+d:a +(d:b d:c))`},
		{`name:web`, ``, `name:web`},
		{`name: lab* AND path: \/a\/b`, ``, `(+name:/lab*/ +path:/a/b)`},
		{`name:(a OR b) c`, ``, `((name:a name:b) d:c)`},
		{`name:"a b"~2`, ``, `name:"a b"~2`},
		{`"a b"`, `"phrase_slop":3,`, `d:"a b"~3`},
		{`w?b*`, ``, `d:/w?b*/`},
		{`a\*b`, ``, `d:a*b`},
		{`a\*b*`, ``, `d:/a\*b*/`},
		{`n:[1 TO 5}`, ``, `n{"gt":null,"gte":"1","lt":"5","lte":null}`},
		{`n:{* TO "a b"]`, ``, `n{"gt":null,"gte":null,"lt":null,"lte":"a b"}`},
		{`n:[* TO *]`, ``, `exists:n`},
		{`n:>=5`, ``, `n{"gt":null,"gte":"5","lt":null,"lte":null}`},
		{`n:(>=5 AND <9)`, ``, `(+n{"gt":null,"gte":"5","lt":null,"lte":null} +n{"gt":null,"gte":null,"lt":"9","lte":null})`},
		{`_exists_:image.id`, ``, `exists:image.id`},
		{`name:*`, ``, `exists:name`},
		{`*:*`, ``, `*:*`},
		{`*`, `"fields":["*"],`, `*:*`},
		{`OS-EXT-SRV-ATTR\:host:h1`, ``, `OS-EXT-SRV-ATTR:host:h1`},
		{`image.\*:x`, ``, `image.*:x`},
		{`web-1 10.0.0.0/24 a@b`, ``, `(d:web-1 d:10.0.0.0/24 d:a@b)`},
		{`a - b`, ``, `(d:a d:b)`},
		{`_id:x`, ``, `ids:x`},
		{`\u0041ND`, ``, `d:AND`},
		{`ANDROID`, ``, `d:ANDROID`},
		{` `, ``, `none`},
		{`a b`, `"fields":["x","y^2"],`, `(x,y:a x,y:b)`},
		{`n:>5`, `"lenient":true,`, `n{"gt":"5","gte":null,"lt":null,"lte":null}`},
		{`a`, `"default_field":"_all",`, `*:a`},
	} {
		def := `"default_field":"d",`
		if strings.Contains(c.opts, "field") {
			def = ""
		}
		n := parseText(t, "query_string", c.text, def+c.opts)
		if got := brief(n); got != c.want {
			t.Errorf("%s %s = %s, want %s", c.text, c.opts, got, c.want)
		}
	}
}

func parseText(t *testing.T, clause, text, opts string) query.Node {
	t.Helper()
	q, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	n, err := query.ParseNode([]byte(`{"`+clause+`":{`+opts+`"query":`+string(q)+`}}`), query.DefaultLimits())
	if err != nil {
		t.Errorf("%s: %v", text, err)
		return nil
	}
	return n
}

func TestQueryStringRefusesMalformedText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, says string }{
		{`(a`, "not closed"},
		{`a)`, "closes nothing"},
		{`"a`, "not closed"},
		{`n:[1 TO 5`, "not closed"},
		{`n:[1 5 6]`, "[a TO b]"},
		{`n:[TO]`, "[a TO b]"},
		{`AND a`, "missing before"},
		{`a OR`, "missing before the end"},
		{`()`, "missing before"},
		{`a^`, "number"},
		{`a^0`, "number"},
		{`a\`, "backslash"},
		{`\u12`, "hexadecimal"},
		{`fa:16:3e`, "needs quotes"},
		{`[a TO b]`, "needs a field"},
		{`>5`, "needs a field"},
		{`n:> 5`, "without a blank"},
		{`a~`, "fuzzy"},
		{`a~2 b`, "fuzzy"},
		{`/a/`, "regexp"},
		{`n:/a/`, "regexp"},
		{strings.Repeat("(", 40), "32 deep"},
		{strings.Repeat("a ", 1100), "1024 clauses"},
	} {
		q, err := json.Marshal(c.text)
		if err != nil {
			t.Fatal(err)
		}
		_, err = query.ParseNode([]byte(`{"query_string":{"lenient":true,"query":`+string(q)+`}}`), query.DefaultLimits())
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "query.query_string.query: ") {
			t.Errorf("%.40q: %v, want an error with %q", c.text, err, c.says)
		}
	}
}

func TestSimpleQueryStringIsNeverMalformed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, opts, want string }{
		{`a b`, ``, `(d:a d:b)`},
		{`a b`, `"default_operator":"and",`, `(+d:a +d:b)`},
		{`a + b | c`, ``, `((+d:a +d:b) d:c)`},
		{`a + -b`, ``, `(+d:a +(-d:b))`},
		{`a + (b | c)`, ``, `(+d:a +(d:b d:c))`},
		{`"a b"~2`, ``, `d:"a b"~2`},
		{`we*`, ``, `d:/we*/`},
		{`w*b*`, ``, `d:/w\*b*/`},
		{`a\*`, ``, `d:a*`},
		{`(a`, ``, `d:a`},
		{`a)`, ``, `d:a`},
		{`"a`, ``, `d:a`},
		{`+`, ``, `none`},
		{`\u12 "\u" \`, ``, `(d:u12 d:"u")`},
		{`name:x`, ``, `d:name:x`},
		{`*`, `"fields":["*"],`, `*:*`},
	} {
		def := `"fields":["d"],`
		if strings.Contains(c.opts, "fields") {
			def = ""
		}
		n := parseText(t, "simple_query_string", c.text, def+c.opts)
		if got := brief(n); got != c.want {
			t.Errorf("%s %s = %s, want %s", c.text, c.opts, got, c.want)
		}
	}
}

func TestFreeTextIsLenientWhereFieldsAreNotNamed(t *testing.T) {
	t.Parallel()
	want := query.Node(query.Match{Fields: []string{"*"}, Text: "a", Lenient: true})
	if d := cmp.Diff(want, parseText(t, "query_string", "a", "")); d != "" {
		t.Error(d)
	}
	want = query.Match{Fields: []string{"b", "c"}, Weights: []float64{1, 2}, Text: "a", Boost: 3}
	if d := cmp.Diff(want, parseText(t, "query_string", "a^1.5", `"fields":["b","c^2"],"boost":2,`)); d != "" {
		t.Error(d)
	}
}
