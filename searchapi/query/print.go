package query

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Print writes a query in Elasticsearch's language. Parsing what it wrote gives an
// equal node. A Node that Parse cannot have made may not come back the same.
func Print(n Node) json.RawMessage {
	b, err := json.Marshal(printed(n))
	if err != nil {
		panic(fmt.Sprintf("query: a node holds what JSON cannot: %v", err))
	}
	return b
}

// dict is a JSON object under construction; set leaves out empty values.
type dict map[string]any

func (d dict) set(key string, v any) dict {
	switch v := v.(type) {
	case nil:
		return d
	case string:
		if v == "" {
			return d
		}
	case float64:
		if v == 0 {
			return d
		}
	case int:
		if v == 0 {
			return d
		}
	case bool:
		if !v {
			return d
		}
	}
	d[key] = v
	return d
}

func clauseOf(name string, body dict) dict { return dict{name: body} }

func printed(n Node) dict {
	switch n := n.(type) {
	case MatchAll:
		return clauseOf("match_all", dict{}.set("boost", n.Boost))
	case MatchNone:
		return clauseOf("match_none", dict{})
	case Term:
		d := dict{"value": n.Value}.set("case_insensitive", n.CaseInsensitive).set("boost", n.Boost)
		return clauseOf("term", dict{n.Field: d})
	case Terms:
		return clauseOf("terms", dict{n.Field: values(n.Values)}.set("boost", n.Boost))
	case IDs:
		d := dict{"values": values(n.Values)}.set("boost", n.Boost)
		if n.Types != nil {
			d["type"] = n.Types
		}
		return clauseOf("ids", d)
	case Exists:
		return clauseOf("exists", dict{"field": n.Field}.set("boost", n.Boost))
	case Range:
		return printRange(n)
	case Prefix:
		d := dict{"value": n.Value}.set("case_insensitive", n.CaseInsensitive).set("boost", n.Boost)
		return clauseOf("prefix", dict{n.Field: d})
	case Wildcard:
		d := dict{"value": n.Value}.set("case_insensitive", n.CaseInsensitive).set("boost", n.Boost)
		return clauseOf("wildcard", dict{n.Field: d})
	case Match:
		return printMatch(n)
	case MatchPhrase:
		return printPhrase(n)
	case Pattern:
		return freeText(escapePattern(n.Value), n.Fields, n.Weights, n.Lenient).with("boost", n.Boost)
	case Bool:
		d := dict{}.set("minimum_should_match", n.MinimumShouldMatch).set("boost", n.Boost)
		d.nodes("must", n.Must).nodes("filter", n.Filter).nodes("should", n.Should).nodes("must_not", n.MustNot)
		return clauseOf("bool", d)
	case Nested:
		d := dict{"path": n.Path, "query": printed(n.Query)}.set("score_mode", n.ScoreMode).set("boost", n.Boost)
		return clauseOf("nested", d)
	}
	panic(fmt.Sprintf("query: unknown node %T", n))
}

// values keeps an empty list a list.
func values[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (d dict) nodes(key string, list []Node) dict {
	if len(list) == 0 {
		return d
	}
	out := make([]dict, len(list))
	for i, n := range list {
		out[i] = printed(n)
	}
	d[key] = out
	return d
}

// with sets an option inside of the only clause.
func (d dict) with(key string, v any) dict {
	for _, body := range d {
		if b, ok := body.(dict); ok {
			b.set(key, v)
		}
	}
	return d
}

func printRange(n Range) dict {
	if n.Lenient {
		return printLenientRange(n)
	}
	d := dict{}.set("format", n.Format).set("time_zone", n.TimeZone).set("boost", n.Boost)
	for key, v := range map[string]Value{"gt": n.GT, "gte": n.GTE, "lt": n.LT, "lte": n.LTE} {
		if v != nil {
			d[key] = v
		}
	}
	return clauseOf("range", dict{n.Field: d})
}

// printLenientRange writes [a TO b], because only free text can be lenient there.
func printLenientRange(n Range) dict {
	bound := func(v Value) string {
		if v == nil {
			return "*"
		}
		return `"` + escapeQuoted(valueText(v)) + `"`
	}
	low, high, open, closing := n.GTE, n.LTE, "[", "]"
	if n.GT != nil {
		low, open = n.GT, "{"
	}
	if n.LT != nil {
		high, closing = n.LT, "}"
	}
	text := open + bound(low) + " TO " + bound(high) + closing
	return freeText(text, []string{n.Field}, nil, true).with("boost", n.Boost)
}

func printMatch(n Match) dict {
	var d dict
	if plain(n.Fields, n.Weights) {
		d = dict{"query": n.Text}.set("lenient", n.Lenient).set("boost", n.Boost).set("minimum_should_match", n.MinimumShouldMatch)
		if n.And {
			d["operator"] = "and"
		}
		return clauseOf("match", dict{n.Fields[0]: d})
	}
	d = freeText(escapeWord(valueText(n.Text)), n.Fields, n.Weights, n.Lenient)
	d.with("boost", n.Boost).with("minimum_should_match", n.MinimumShouldMatch)
	if n.And {
		d.with("default_operator", "and")
	}
	return d
}

func printPhrase(n MatchPhrase) dict {
	if plain(n.Fields, n.Weights) && !n.Lenient {
		d := dict{"query": n.Text}.set("slop", n.Slop).set("boost", n.Boost)
		return clauseOf("match_phrase", dict{n.Fields[0]: d})
	}
	text := `"` + escapeQuoted(n.Text) + `"`
	if n.Slop > 0 {
		text += "~" + strconv.Itoa(n.Slop)
	}
	return freeText(text, n.Fields, n.Weights, n.Lenient).with("boost", n.Boost)
}

// plain reports whether there is one field, by name.
func plain(fields []string, weights []float64) bool {
	return len(fields) == 1 && weights == nil && !strings.Contains(fields[0], "*")
}

func freeText(text string, fields []string, weights []float64, lenient bool) dict {
	names := make([]string, len(fields))
	for i, f := range fields {
		w := 1.0
		if weights != nil {
			w = weights[i]
		}
		names[i] = f
		if w != 1 || strings.Contains(f, "^") {
			names[i] += "^" + strconv.FormatFloat(w, 'f', -1, 64)
		}
	}
	return clauseOf("query_string", dict{"query": text, "fields": names}.set("lenient", lenient))
}

// escapeWord writes text as one term of Lucene's grammar.
func escapeWord(s string) string {
	var b strings.Builder
	for i, r := range s {
		if special(r) || strings.ContainsRune("*?/", r) || i == 0 && strings.ContainsRune("+-<>", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return notWord(b.String())
}

// notWord keeps a term from being read as an operator.
func notWord(s string) string {
	switch s {
	case "AND", "OR", "NOT", "&&", "||":
		return `\` + s
	}
	return s
}

func escapeQuoted(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)
}

// escapePattern writes a Pattern's value in Lucene's grammar.
func escapePattern(value string) string {
	var b strings.Builder
	escaped := false
	for i, r := range value {
		if r == '\\' && !escaped {
			escaped = true
			continue
		}
		wildcard := (r == '*' || r == '?') && !escaped
		first := i == 0 && strings.ContainsRune("+-<>", r)
		if !wildcard && (special(r) || strings.ContainsRune("*?/", r) || first) {
			b.WriteByte('\\')
		}
		escaped = false
		b.WriteRune(r)
	}
	return b.String()
}
