package dsl

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/scalar"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// typeCompiler compiles a query for one type. A clause that matches nothing is nil.
type typeCompiler struct {
	*compiler
	ix *Index
}

// place is where a clause stands: its path for errors, and the nested field that it
// is inside of.
type place struct{ path, nested string }

func (p place) in(name string) place { return place{p.path + "." + name, p.nested} }

// node compiles one clause.
func (c typeCompiler) node(n query.Node, at place) any {
	switch n := n.(type) {
	case query.MatchAll:
		return matchAll(boosted(n.Boost))
	case query.MatchNone:
		return nil
	case query.Term:
		return c.term(n, at.in("term."+n.Field))
	case query.Terms:
		return c.terms(n, at.in("terms."+n.Field))
	case query.IDs:
		return c.ids(n)
	case query.Exists:
		return c.exists(n, at)
	case query.Range:
		return c.ranges(n, at.in("range."+n.Field))
	case query.Prefix:
		return c.globs(n.Field, query.PrefixGlob(n.Value), globOptions{at.in("prefix." + n.Field), n.Boost, n.CaseInsensitive})
	case query.Wildcard:
		return c.globs(n.Field, query.ParseGlob(n.Value), globOptions{at.in("wildcard." + n.Field), n.Boost, n.CaseInsensitive})
	case query.Match:
		return c.match(n, at.in("match"))
	case query.MatchPhrase:
		return c.phrase(n, at.in("match_phrase"))
	case query.Pattern:
		return c.pattern(n, at)
	case query.Bool:
		return c.boolean(n, at.in("bool"))
	case query.Nested:
		return c.nested(n, at.in("nested"))
	default:
		c.fail(at.path, "this clause is not supported")
		return nil
	}
}

func (c typeCompiler) lookup(name string, at place) (target, bool) {
	return c.ix.lookup(name, at.nested, c.req.Scope)
}

func (c typeCompiler) expand(name string, at place) []target {
	return c.ix.expand(name, at.nested, c.req.Scope)
}

// scored makes a clause of one constant score.
func scored(q any, boost float64) any {
	if q == nil {
		return nil
	}
	return constant(q, boosted(boost))
}

// judged keeps what a target could make of a value, and remembers whether it could.
func (c typeCompiler) judged(at place, key string, t target, q any, ok bool) any {
	c.verdicts.add(at.path, key, t.kind, ok)
	if !ok {
		return nil
	}
	return q
}

func (c typeCompiler) term(n query.Term, at place) any {
	if q, ok := c.meta(n.Field, []query.Value{n.Value}, n.Boost, at); ok {
		return q
	}
	t, ok := c.lookup(n.Field, at)
	if !ok {
		return nil
	}
	equals := t.equals
	if n.CaseInsensitive {
		equals = t.folded
	}
	q, ok := equals(n.Value)
	return scored(c.judged(at, "", t, q, ok), n.Boost)
}

// meta compiles terms on what every document has without declaring it: _id, _type,
// and id where no type searched declares it.
func (c typeCompiler) meta(field string, vs []query.Value, boost float64, at place) (any, bool) {
	var texts []string
	for _, v := range vs {
		if s, ok := scalar.Text(v); ok {
			texts = append(texts, s)
		}
	}
	switch {
	case field == "_id", field == "id" && !c.known(field, at.nested):
		return c.ids(query.IDs{Values: texts, Boost: boost}), true
	case field == "_type":
		if slices.Contains(texts, c.ix.typ.Name) {
			return matchAll(boosted(boost)), true
		}
		return nil, true
	}
	return nil, false
}

// ids asks for documents by id. Elements of nested fields have the identity of their
// document too, and nothing else of it.
func (c typeCompiler) ids(n query.IDs) any {
	asked := len(n.Types) == 0
	for _, t := range n.Types {
		asked = asked || t == c.ix.typ.Name
	}
	if !asked || len(n.Values) == 0 {
		return nil
	}
	return scored(clause("ids", object{"values": n.Values}), n.Boost)
}

func (c typeCompiler) terms(n query.Terms, at place) any {
	if q, ok := c.meta(n.Field, n.Values, n.Boost, at); ok {
		return q
	}
	t, ok := c.lookup(n.Field, at)
	if !ok {
		return nil
	}
	var exact, qs list
	for i, v := range n.Values {
		if value, ok := t.exact(v); ok {
			if c.judged(at, strconv.Itoa(i), t, nil, true); value != nil {
				exact = append(exact, value)
			}
			continue
		}
		q, ok := t.equals(v)
		if q := c.judged(at, strconv.Itoa(i), t, q, ok); q != nil {
			qs = append(qs, q)
		}
	}
	if len(exact) > 0 {
		qs = append(qs, t.each(func(f string) any { return clause("terms", object{f: exact}) }))
	}
	return scored(anyOf(qs), n.Boost)
}

// exists is true of a field that has a value itself or in a field below it.
func (c typeCompiler) exists(n query.Exists, at place) any {
	var qs list
	add := func(t target) {
		if q := t.exists(); q != nil {
			qs = append(qs, q)
		}
	}
	for _, t := range c.expand(n.Field, at) {
		add(t)
	}
	for _, name := range c.ix.names[at.nested] {
		if len(name) > len(n.Field) && name[:len(n.Field)] == n.Field && name[len(n.Field)] == '.' {
			if t, ok := c.lookup(name, at); ok {
				add(t)
			}
		}
	}
	return scored(anyOf(qs), n.Boost)
}

func (c typeCompiler) ranges(n query.Range, at place) any {
	var qs list
	for _, t := range c.expand(n.Field, at) {
		c.ranged(c.ix, t)
		q, ok := t.between(n)
		if ok || !n.Lenient {
			q = c.judged(at, "", t, q, ok)
		}
		if ok && q != nil {
			qs = append(qs, q)
		}
	}
	return scored(anyOf(qs), n.Boost)
}

type globOptions struct {
	at    place
	boost float64
	fold  bool // ASCII letters match in either case
}

func (c typeCompiler) globs(name string, g query.Glob, o globOptions) any {
	if g.Stars() > query.MaxStars {
		c.fail(o.at.path, fmt.Sprintf("a pattern may have at most %d stars", query.MaxStars))
		return nil
	}
	t, ok := c.lookup(name, o.at)
	if !ok {
		return nil
	}
	q, ok := t.glob(g, o.fold)
	return scored(c.judged(o.at, "", t, q, ok), o.boost)
}

// nodes compiles the clauses of one part of a bool, with nil for those that match
// nothing.
func (c typeCompiler) nodes(name string, nodes []query.Node, at place) (qs list, nothing int) {
	for i, n := range nodes {
		q := c.node(n, at.in(name+"["+strconv.Itoa(i)+"]"))
		if q == nil {
			nothing++
			continue
		}
		qs = append(qs, q)
	}
	return qs, nothing
}

func (c typeCompiler) boolean(n query.Bool, at place) any {
	must, noMust := c.nodes("must", n.Must, at)
	filter, noFilter := c.nodes("filter", n.Filter, at)
	should, noShould := c.nodes("should", n.Should, at)
	mustNot, _ := c.nodes("must_not", n.MustNot, at)
	least := 0
	if all := len(should) + noShould; all > 0 {
		least = query.MinimumShould(n.MinimumShouldMatch, all)
		if n.MinimumShouldMatch == "" && len(n.Must)+len(n.Filter) == 0 {
			least = 1
		}
	}
	if noMust+noFilter > 0 || least > len(should) {
		return nil
	}
	if len(n.Must)+len(n.Filter)+len(n.Should)+len(n.MustNot) == 0 {
		return matchAll(boosted(n.Boost))
	}
	if len(must)+len(filter) == 0 && least == 0 {
		filter = list{matchAll(1)} // else one of should would have to match
	}
	body := object{}
	for name, qs := range map[string]list{"must": must, "filter": filter, "should": should, "must_not": mustNot} {
		if len(qs) > 0 {
			body[name] = qs
		}
	}
	if len(should) > 0 {
		body["minimum_should_match"] = least
	}
	if b := boosted(n.Boost); b != 1 {
		body["boost"] = b
	}
	return clause("bool", body)
}

func (c typeCompiler) nested(n query.Nested, at place) any {
	q := c.node(n.Query, place{at.path + ".query", n.Path})
	l := c.ix.fields[n.Path]
	if q == nil || at.nested != "" || l == nil || l.typ != catalog.Nested || !l.visible("", c.req.Scope) {
		return nil
	}
	mode := n.ScoreMode
	if mode == "" {
		mode = "avg"
	}
	body := object{"path": field(n.Path), "query": q, "score_mode": mode, "ignore_unmapped": true}
	if b := boosted(n.Boost); b != 1 {
		body["boost"] = b
	}
	return clause("nested", body)
}
