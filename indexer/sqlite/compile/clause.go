package compile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/scalar"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// leaves makes a clause of one condition per target. A value that no target can
// hold is the caller's mistake, unless the clause is lenient.
func leaves(targets []target, boost float64, lenient bool, path string, make1 func(target) (cond, bool)) (match, error) {
	var conds []cond
	for _, t := range targets {
		if cd, ok := make1(t); ok {
			conds = append(conds, cd)
		}
	}
	if len(conds) == 0 && len(targets) > 0 && !lenient {
		return match{}, unfit(path, targets[0].kind)
	}
	return match{leafOf(merge(conds)), number(boosted(boost))}, nil
}

func unfit(path string, k Kind) error {
	return &query.Error{Path: path, Detail: fmt.Sprintf("a field of type %s cannot hold this value", k)}
}

func (c *compiler) term(n query.Term, path, nested string) (match, error) {
	if m, ok := c.meta(n.Field, []query.Value{n.Value}, n.Boost, nested); ok {
		return m, nil
	}
	return leaves(c.lookup(n.Field, nested), n.Boost, false, path, func(t target) (cond, bool) {
		if n.CaseInsensitive {
			return folded(t, n.Value)
		}
		return termCond(t, n.Value)
	})
}

// termCond is equals for queries: a number with a fraction is no whole number.
func termCond(t target, v query.Value) (cond, bool) {
	if t.kind == Long {
		sp, ok := convert(Double, v)
		return cond{fields: []int64{t.id}, where: "value=?", args: []any{exactLong(v, sp.lo).Arg()}}, ok
	}
	return equals(t, v)
}

func exactLong(v query.Value, f Value) Value {
	if s, ok := scalar.Text(v); ok {
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return intValue(i)
		}
	}
	return f
}

// meta compiles terms on what every document has without declaring it: _id, _type,
// and id where no type declares it.
func (c *compiler) meta(field string, vs []query.Value, boost float64, nested string) (match, bool) {
	var texts []string
	for _, v := range vs {
		if s, ok := scalar.Text(v); ok {
			texts = append(texts, s)
		}
	}
	switch {
	case field == "_id", field == "id" && len(c.lookup(field, nested)) == 0:
		return c.ids(query.IDs{Values: texts, Boost: boost}), true
	case field == "_type":
		asked := map[string]bool{}
		for _, s := range texts {
			asked[s] = true
		}
		var types []string
		for _, t := range c.req.Types {
			if asked[t] {
				types = append(types, t)
			}
		}
		if len(types) == 0 {
			return match{fixed(false), number(0)}, true
		}
		return match{typePred(types), number(boosted(boost))}, true
	}
	return match{}, false
}

func (c *compiler) ids(n query.IDs) match {
	types := c.req.Types
	if len(n.Types) > 0 {
		types = nil
		for _, t := range n.Types {
			if c.s.types[t] != nil {
				types = append(types, t)
			}
		}
	}
	if len(types) == 0 || len(n.Values) == 0 {
		return match{fixed(false), number(0)}
	}
	return match{docsPred{types, n.Values}, number(boosted(n.Boost))}
}

func (c *compiler) terms(n query.Terms, path, nested string) (match, error) {
	if m, ok := c.meta(n.Field, n.Values, n.Boost, nested); ok {
		return m, nil
	}
	targets := c.lookup(n.Field, nested)
	var conds []cond
	for _, v := range n.Values {
		m, err := leaves(targets, 0, false, path, func(t target) (cond, bool) { return termCond(t, v) })
		if err != nil {
			return match{}, err
		}
		if l, ok := m.p.(*leafPred); ok {
			conds = append(conds, l.conds...)
		}
	}
	return match{leafOf(gather(conds)), number(boosted(n.Boost))}, nil
}

// gather joins conditions that ask for one value of the same fields each.
func gather(conds []cond) (out []cond) {
	at := map[string]int{}
	for _, cd := range conds {
		if cd.where != "value=?" {
			out = append(out, cd)
			continue
		}
		key := oneOf(cd.fields)
		i, ok := at[key]
		if !ok {
			i = len(out)
			at[key] = i
			out = append(out, cond{fields: cd.fields})
		}
		out[i].args = append(out[i].args, cd.args...)
	}
	for _, i := range at {
		out[i].where = "value IN (" + marks(len(out[i].args)) + ")"
	}
	return out
}

// marks are the places of n arguments.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?,", n), ",") }

func (c *compiler) ranges(n query.Range, path, nested string) (match, error) {
	return leaves(c.expand(n.Field, nested), n.Boost, n.Lenient, path, func(t target) (cond, bool) { return between(t, n) })
}

// patterned makes a clause of a pattern on the fields that hold text.
func patterned(targets []target, g query.Glob, opt patternOptions) (match, error) {
	if g.Stars() > query.MaxStars {
		return match{}, &query.Error{Path: opt.path, Detail: fmt.Sprintf("a pattern may have at most %d stars", query.MaxStars)}
	}
	return leaves(targets, opt.boost, opt.lenient, opt.path, func(t target) (cond, bool) {
		if opt.lower && t.kind == Token {
			return likeCond(t, g.Lower(), opt.fold), true
		}
		return likeCond(t, g, opt.fold), texts(t.kind)
	})
}

type patternOptions struct {
	path    string
	boost   float64
	lenient bool
	fold    bool // ASCII letters match in either case
	lower   bool // words are compared in lower case
}

func (c *compiler) prefix(n query.Prefix, path, nested string) (match, error) {
	return patterned(c.lookup(n.Field, nested), query.PrefixGlob(n.Value),
		patternOptions{path: path, boost: n.Boost, fold: n.CaseInsensitive})
}

func (c *compiler) wildcard(n query.Wildcard, path, nested string) (match, error) {
	return patterned(c.lookup(n.Field, nested), query.ParseGlob(n.Value),
		patternOptions{path: path, boost: n.Boost, fold: n.CaseInsensitive})
}

func (c *compiler) boolean(n query.Bool, path, nested string) (match, error) {
	part := func(name string, nodes []query.Node) (ms []match, err error) {
		for i, x := range nodes {
			m, err := c.node(x, fmt.Sprintf("%s.%s[%d]", path, name, i), nested)
			if err != nil {
				return nil, err
			}
			ms = append(ms, m)
		}
		return ms, nil
	}
	must, err := part("must", n.Must)
	if err != nil {
		return match{}, err
	}
	filter, err := part("filter", n.Filter)
	if err != nil {
		return match{}, err
	}
	should, err := part("should", n.Should)
	if err != nil {
		return match{}, err
	}
	mustNot, err := part("must_not", n.MustNot)
	if err != nil {
		return match{}, err
	}
	var ps []pred
	var ss []score
	for _, m := range must {
		ps, ss = append(ps, m.p), append(ss, m.s)
	}
	for _, m := range filter {
		ps = append(ps, m.p)
	}
	for _, m := range mustNot {
		ps = append(ps, not(m.p))
	}
	if len(should) > 0 {
		k := query.MinimumShould(n.MinimumShouldMatch, len(should))
		if n.MinimumShouldMatch == "" && len(must)+len(filter) == 0 {
			k = 1
		}
		m := some(should, k)
		ps, ss = append(ps, m.p), append(ss, m.s)
	}
	if len(must)+len(filter)+len(should)+len(mustNot) == 0 {
		ss = append(ss, number(1))
	}
	return match{and(ps...), times(plus(ss...), boosted(n.Boost))}, nil
}

// some matches where at least k of the clauses do, and scores as all that do.
func some(ms []match, k int) match {
	ps := make([]pred, len(ms))
	ss := make([]score, len(ms))
	for i, m := range ms {
		ps[i], ss[i] = m.p, m.optional()
		if k >= len(ms) {
			ss[i] = m.s
		}
	}
	if k > len(ms) {
		return match{fixed(false), number(0)}
	}
	return match{least(k, ps), plus(ss...)}
}

func (c *compiler) nested(n query.Nested, path, nested string) (match, error) {
	var marks []int64
	for _, typ := range c.req.Types {
		ts := c.s.types[typ]
		if ts == nil {
			continue
		}
		l := ts.fields[n.Path]
		if l == nil || l.typ != catalog.Nested || l.path != "" || l.hidden && !c.req.Scope.Hidden {
			continue
		}
		marks = appendNew(marks, c.s.ids[l.keys(l.hidden)[0]])
	}
	m, err := c.node(n.Query, path+".query", n.Path)
	if err != nil {
		return match{}, err
	}
	if len(marks) == 0 || nested != "" || m.p == fixed(false) {
		return match{fixed(false), number(0)}, nil
	}
	np := nestedPred{marks, m.p}
	mode := n.ScoreMode
	if mode == "" {
		mode = "avg"
	}
	boost := boosted(n.Boost)
	num, fixedScore := m.s.(number)
	switch {
	case mode == "none":
		return match{np, number(0)}, nil
	case fixedScore && mode != "sum":
		return match{np, number(float64(num) * boost)}, nil
	default:
		return match{np, times(nestedScore{mode, np, m.s}, boost)}, nil
	}
}

func appendNew(ids []int64, id int64) []int64 {
	if slices.Contains(ids, id) {
		return ids
	}
	return append(ids, id)
}
