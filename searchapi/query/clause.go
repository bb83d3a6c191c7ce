package query

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
)

// parser turns decoded JSON into nodes and counts what it has made against limits.
type parser struct {
	limits  Limits
	depth   int
	clauses int
	terms   int
}

// clauseNames lists the clauses that Parse knows, for messages.
func clauseNames() []string {
	return []string{
		"bool", "exists", "ids", "match", "match_all", "match_none", "match_phrase", "nested", "prefix",
		"query_string", "range", "simple_query_string", "term", "terms", "wildcard",
	}
}

// ParseNode parses one clause of the Elasticsearch query language, such as
// {"term": {"status": "active"}}. Paths in errors begin with query.
func ParseNode(body []byte, l Limits) (Node, error) {
	v, err := decode(body, l.json())
	if err != nil {
		return nil, err
	}
	p := &parser{limits: l}
	return p.node("query", v)
}

// node parses a clause: an object with one member, named for the clause.
func (p *parser) node(path string, v any) (Node, error) {
	o, ok := v.(object)
	if !ok {
		return nil, errorAt(path, "must be an object that holds one clause, is %s", kind(v))
	}
	if len(o) == 0 {
		return nil, errorAt(path, "holds no clause; allowed here: %s", strings.Join(clauseNames(), ", "))
	}
	if len(o) > 1 {
		return nil, errorAt(join(path, o[1].key), "a second clause beside %s; put both into a bool", quote(o[0].key))
	}
	if err := p.enter(path); err != nil {
		return nil, err
	}
	defer p.leave()
	return p.clause(join(path, o[0].key), path, o[0])
}

// enter counts a clause and a level; leave takes the level back.
func (p *parser) enter(path string) error {
	if p.depth++; p.depth > p.limits.Depth {
		return errorAt(path, "clauses are nested more than %d deep", p.limits.Depth)
	}
	return p.count(path)
}

func (p *parser) leave() { p.depth-- }

func (p *parser) count(path string) error {
	if p.clauses++; p.clauses > p.limits.Clauses {
		return errorAt(path, "the query has more than %d clauses", p.limits.Clauses)
	}
	return nil
}

// countWords counts each word of a text but the first, which its clause stands for:
// a store looks every one up.
func (p *parser) countWords(path, text string) error {
	words, inside := 0, false
	for _, r := range text {
		letter := unicode.IsLetter(r) || unicode.IsDigit(r)
		if letter && (!inside || unicode.In(r, unicode.Han, unicode.Hiragana)) {
			words++
		}
		inside = letter
	}
	for i := 1; i < words; i++ {
		if err := p.count(path); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) clause(path, parent string, m member) (Node, error) {
	switch m.key {
	case "match_all":
		o := readOptions(path, m.value)
		n := MatchAll{Boost: o.boost()}
		return n, o.done()
	case "match_none":
		o := readOptions(path, m.value)
		return MatchNone{}, o.done()
	case "term":
		return p.term(path, m.value)
	case "terms":
		return p.termList(path, m.value)
	case "ids":
		return p.ids(path, m.value)
	case "exists":
		o := readOptions(path, m.value)
		n := Exists{Field: o.required("field"), Boost: o.boost()}
		if err := o.done(); err != nil {
			return nil, err
		}
		return n, checkField(join(path, "field"), n.Field)
	case "range":
		return p.ranges(path, m.value)
	case "prefix", "wildcard":
		return p.pattern(path, m)
	case "bool":
		return p.boolean(path, m.value)
	case "match":
		return p.match(path, m.value)
	case "match_phrase":
		return p.phrase(path, m.value)
	case "nested":
		return p.nested(path, m.value)
	case "query_string":
		return p.queryString(path, m.value)
	case "simple_query_string":
		return p.simpleQueryString(path, m.value)
	}
	return nil, unknown(parent, m.key, "clause", clauseNames())
}

// field reads {FIELD: OPTIONS} or {FIELD: SHORT}. In the short form the value is
// given as the option of the given name.
func field(path string, v any, short string) (string, *options, error) {
	o, ok := v.(object)
	if !ok {
		return "", nil, errorAt(path, "must be an object that holds one field, is %s", kind(v))
	}
	if len(o) == 0 {
		return "", nil, errorAt(path, "names no field")
	}
	if len(o) > 1 {
		return "", nil, errorAt(join(path, o[1].key), "a second field beside %s; put both into a bool", quote(o[0].key))
	}
	name, at := o[0].key, join(path, o[0].key)
	if err := checkField(at, name); err != nil {
		return "", nil, err
	}
	if _, long := o[0].value.(object); long {
		return name, readOptions(at, o[0].value), nil
	}
	if short == "" {
		return "", nil, errorAt(at, "must be an object, is %s", kind(o[0].value))
	}
	if _, err := asValue(at, o[0].value); err != nil {
		return "", nil, err
	}
	return name, readOptions(at, object{{short, o[0].value}}), nil
}

func checkField(path, name string) error {
	switch {
	case name == "":
		return errorAt(path, "a field's name cannot be empty")
	case strings.Contains(name, "*"):
		return errorAt(path, "a field's name cannot hold *; only query_string takes patterns of fields")
	}
	return nil
}

func (p *parser) term(path string, v any) (Node, error) {
	name, o, err := field(path, v, "value")
	if err != nil {
		return nil, err
	}
	n := Term{Field: name, Value: o.scalar("value"), CaseInsensitive: o.flag("case_insensitive", false), Boost: o.boost()}
	if err := o.done(); err != nil {
		return nil, err
	}
	if n.Value == nil {
		return nil, errorAt(join(o.path, "value"), "is required")
	}
	if name == idField {
		return IDs{Values: []string{valueText(n.Value)}, Boost: n.Boost}, nil
	}
	return n, nil
}

// termList parses terms, whose boost stands beside the field.
func (p *parser) termList(path string, v any) (Node, error) {
	o := readOptions(path, v)
	if o.err != nil {
		return nil, o.err
	}
	n := Terms{Boost: o.boost()}
	for _, m := range o.obj {
		if m.key == "boost" {
			continue
		}
		if n.Field != "" {
			return nil, errorAt(join(path, m.key), "a second field beside %s; put both into a bool", quote(n.Field))
		}
		at := join(path, m.key)
		if err := checkField(at, m.key); err != nil {
			return nil, err
		}
		list, ok := m.value.([]any)
		if !ok {
			return nil, errorAt(at, "must be an array of values, is %s", kind(m.value))
		}
		n.Field, n.Values = m.key, make([]Value, 0, len(list))
		for i, e := range list {
			val, err := asValue(at+"["+strconv.Itoa(i)+"]", e)
			if err != nil {
				return nil, err
			}
			n.Values = append(n.Values, val)
		}
	}
	if o.err != nil {
		return nil, o.err
	}
	if n.Field == "" {
		return nil, errorAt(path, "names no field")
	}
	if err := p.countTerms(path, len(n.Values)); err != nil {
		return nil, err
	}
	if n.Field == idField {
		ids := IDs{Values: make([]string, len(n.Values)), Boost: n.Boost}
		for i, val := range n.Values {
			ids.Values[i] = valueText(val)
		}
		return ids, nil
	}
	return n, nil
}

func (p *parser) countTerms(path string, n int) error {
	if p.terms += n; p.terms > p.limits.Terms {
		return errorAt(path, "the query lists more than %d values", p.limits.Terms)
	}
	return nil
}

func (p *parser) ids(path string, v any) (Node, error) {
	o := readOptions(path, v)
	if o.has("type") && o.has("types") {
		return nil, errorAt(join(path, "types"), "stands beside type; give one")
	}
	n := IDs{Types: o.list("type"), Values: o.list("values")}
	if o.has("types") {
		n.Types = o.list("types")
	}
	n.Boost = o.boost()
	if !o.has("values") {
		o.fail(errorAt(join(path, "values"), "is required"))
	}
	if err := o.done(); err != nil {
		return nil, err
	}
	return n, p.countTerms(path, len(n.Values))
}

func (p *parser) pattern(path string, m member) (Node, error) {
	name, o, err := field(path, m.value, "value")
	if err != nil {
		return nil, err
	}
	key := "value"
	if m.key == "wildcard" && o.has("wildcard") && !o.has("value") {
		key = "wildcard" // the name that Elasticsearch had first
	}
	value := o.required(key)
	fold, boost := o.flag("case_insensitive", false), o.boost()
	if err := o.done(); err != nil {
		return nil, err
	}
	if err := p.checkPattern(o.path, value); err != nil {
		return nil, err
	}
	if m.key == "prefix" {
		return Prefix{Field: name, Value: value, CaseInsensitive: fold, Boost: boost}, nil
	}
	return Wildcard{Field: name, Value: value, CaseInsensitive: fold, Boost: boost}, nil
}

func (p *parser) checkPattern(path, value string) error {
	if len(value) > p.limits.Wildcard {
		return errorAt(path, "a pattern can be %d bytes long", p.limits.Wildcard)
	}
	return nil
}

func (p *parser) boolean(path string, v any) (Node, error) {
	o := readOptions(path, v)
	var n Bool
	for _, part := range []struct {
		key string
		to  *[]Node
	}{{"must", &n.Must}, {"filter", &n.Filter}, {"should", &n.Should}, {"must_not", &n.MustNot}} {
		val, ok := o.value(part.key)
		if !ok || o.err != nil {
			continue
		}
		nodes, err := p.nodes(join(path, part.key), val)
		o.fail(err)
		*part.to = nodes
	}
	n.MinimumShouldMatch, n.Boost = o.minimum(), o.boost()
	if !o.flag("adjust_pure_negative", true) {
		o.fail(errorAt(join(path, "adjust_pure_negative"), "can only be true"))
	}
	return n, o.done()
}

// nodes parses one clause or an array of them.
func (p *parser) nodes(path string, v any) ([]Node, error) {
	list, ok := v.([]any)
	if !ok {
		n, err := p.node(path, v)
		return []Node{n}, err
	}
	var out []Node
	for i, e := range list {
		n, err := p.node(path+"["+strconv.Itoa(i)+"]", e)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

func (p *parser) match(path string, v any) (Node, error) {
	name, o, err := field(path, v, "query")
	if err != nil {
		return nil, err
	}
	n := Match{
		Fields: []string{name}, Text: o.scalar("query"), And: o.choice("operator", "or", "and") == "and",
		MinimumShouldMatch: o.minimum(), Lenient: o.flag("lenient", false), Boost: o.boost(),
	}
	if err := o.done(); err != nil {
		return nil, err
	}
	if n.Text == nil {
		return nil, errorAt(join(o.path, "query"), "is required")
	}
	if err := p.countWords(o.path, valueText(n.Text)); err != nil {
		return nil, err
	}
	switch name {
	case idField:
		return IDs{Values: []string{valueText(n.Text)}, Boost: n.Boost}, nil
	case allField:
		n.Fields, n.Text, n.Lenient = []string{"*"}, valueText(n.Text), true
		if n.Text == "" {
			return MatchNone{}, nil
		}
	}
	return n, nil
}

const mostSlop = 1000

func (p *parser) phrase(path string, v any) (Node, error) {
	name, o, err := field(path, v, "query")
	if err != nil {
		return nil, err
	}
	text := o.scalar("query")
	n := MatchPhrase{Fields: []string{name}, Slop: o.count("slop", 0, mostSlop), Boost: o.boost()}
	if err := o.done(); err != nil {
		return nil, err
	}
	if text == nil {
		return nil, errorAt(join(o.path, "query"), "is required")
	}
	n.Text = valueText(text)
	if err := p.countWords(o.path, n.Text); err != nil {
		return nil, err
	}
	switch name {
	case idField:
		return IDs{Values: []string{n.Text}, Boost: n.Boost}, nil
	case allField:
		n.Fields, n.Lenient = []string{"*"}, true
	}
	return n, nil
}

func (p *parser) nested(path string, v any) (Node, error) {
	o := readOptions(path, v)
	n := Nested{
		Path: o.required("path"), ScoreMode: o.choice("score_mode", "avg", "max", "min", "none", "sum"), Boost: o.boost(),
	}
	o.flag("ignore_unmapped", false) // a path that is not there matches nothing either way
	sub, ok := o.value("query")
	if !ok {
		o.fail(errorAt(join(path, "query"), "is required"))
	}
	if err := o.done(); err != nil {
		return nil, err
	}
	if err := checkField(join(path, "path"), n.Path); err != nil {
		return nil, err
	}
	inner, err := p.node(join(path, "query"), sub)
	n.Query = inner
	return n, err
}

// Fields with a meaning of their own.
const (
	idField  = "_id"  // the resource's id
	allField = "_all" // what Searchlight's clients call all fields
)

// valueText is a value as text.
func valueText(v Value) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}
