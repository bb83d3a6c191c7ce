package compile

import (
	"slices"
	"strings"

	"github.com/fresnel-search/fresnel/indexer/scalar"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// probeLimit is the number of point lookups that a document may cost before all
// matching rows are collected instead.
const probeLimit = 4

// leaf makes a condition of rows; nil conds match nothing.
func leafOf(conds []cond) pred {
	if len(conds) == 0 {
		return fixed(false)
	}
	lookups := 0
	for _, c := range conds {
		if len(c.words) > 0 || !c.exact() {
			lookups = probeLimit + 1
		}
		lookups += len(c.fields) * max(len(c.args), 1)
	}
	return &leafPred{conds: conds, probe: lookups <= probeLimit}
}

func (c cond) exact() bool {
	return c.where == "value=?" || strings.HasPrefix(c.where, "value IN (")
}

// merge joins conditions that differ in their fields only.
func merge(conds []cond) (out []cond) {
	for _, c := range conds {
		i := slices.IndexFunc(out, func(o cond) bool {
			return o.where == c.where && len(c.words)+len(o.words) == 0 && slices.EqualFunc(o.args, c.args, sameArg)
		})
		if i < 0 {
			out = append(out, c)
			continue
		}
		out[i].fields = append(slices.Clone(out[i].fields), c.fields...)
	}
	return out
}

func sameArg(a, b any) bool {
	x, isBytes := a.([]byte)
	y, both := b.([]byte)
	if isBytes || both {
		return isBytes && both && string(x) == string(y)
	}
	return a == b
}

// equals is the condition that a field has the value: false if its type cannot.
func equals(t target, v query.Value) (cond, bool) {
	sp, ok := convert(t.kind, v)
	if !ok {
		return cond{}, false
	}
	if t.kind == Pair {
		sp.lo = textValue(pair(t.within, sp.lo.s))
		sp.hi = sp.lo
	}
	c := cond{fields: []int64{t.id}, where: "value=?", args: []any{sp.lo.Arg()}}
	if sp.lo != sp.hi {
		c.where, c.args = "value>=? AND value<=?", []any{sp.lo.Arg(), sp.hi.Arg()}
	}
	return c, true
}

// folded is equals without regard to ASCII case.
func folded(t target, v query.Value) (cond, bool) {
	if !texts(t.kind) {
		return termCond(t, v)
	}
	s, ok := scalar.Text(v)
	if !ok {
		return cond{}, false
	}
	if t.kind == Pair {
		return likeCond(t, query.LiteralGlob(s), true), true
	}
	return cond{fields: []int64{t.id}, where: "value=? COLLATE NOCASE", args: []any{s}}, true
}

func texts(k Kind) bool { return k == Token || k == Keyword || k == Pair }

// between is the condition that a field has a value in the range.
func between(t target, n query.Range) (cond, bool) {
	c := cond{fields: []int64{t.id}}
	var parts []string
	if t.kind == Pair {
		parts = []string{"value>=?", "value<?"}
		c.args = []any{pair(t.within, ""), pairPath(t.within) + pairEnd}
	}
	for _, b := range []struct {
		v    query.Value
		op   string
		high bool // an open date stands for its end
	}{{n.GT, "value>?", true}, {n.GTE, "value>=?", false}, {n.LT, "value<?", false}, {n.LTE, "value<=?", true}} {
		if b.v == nil {
			continue
		}
		v, ok := bound(t, b.v, b.high)
		if !ok {
			return c, false
		}
		parts, c.args = append(parts, b.op), append(c.args, v.Arg())
	}
	c.where = strings.Join(parts, " AND ")
	return c, true
}

// bound is an end of a range. A number with a fraction bounds whole numbers too.
func bound(t target, v query.Value, high bool) (Value, bool) {
	if t.kind == Long {
		sp, ok := convert(Double, v)
		if whole, exact := convert(Long, v); exact && float64(whole.lo.i) == sp.lo.f {
			return whole.lo, true
		}
		return sp.lo, ok
	}
	sp, ok := convert(t.kind, v)
	if !ok {
		return Value{}, false
	}
	if t.kind == Pair {
		return textValue(pair(t.within, sp.lo.s)), true
	}
	if high {
		return sp.hi, true
	}
	return sp.lo, true
}

// exists is the condition that a field, or one below it, has a value.
func (c *compiler) exists(name, nested string) []cond {
	var conds []cond
	add := func(t target) {
		if t.kind == Pair {
			path := pairPath(t.within)
			conds = append(conds,
				cond{fields: []int64{t.id}, where: "value>=? AND value<?", args: []any{path + pairSep, path + pairEnd}},
				cond{fields: []int64{t.id}, where: "value>=? AND value<?", args: []any{path + ".", path + "/"}})
			return
		}
		conds = append(conds, cond{fields: []int64{t.id}})
	}
	for _, t := range c.expand(name, nested) {
		add(t)
	}
	for _, n := range c.fieldNames(nested) {
		if strings.HasPrefix(n, name+".") || n == name+".raw" {
			for _, t := range c.lookup(n, nested) {
				add(t)
			}
		}
	}
	return merge(conds)
}
