package storetest

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// best evaluates free text: the best of its fields counts.
func (w view) best(fields []string, weights []float64, boost float64, one func(name string) (bool, float64)) (bool, float64) {
	found, top := false, 0.0
	seen := map[string]bool{}
	for i, f := range fields {
		weight := 1.0
		if i < len(weights) {
			weight = weights[i]
		}
		for _, name := range w.names(w.path) {
			if ok, err := path.Match(f, name); err != nil || !ok && f != name || seen[name] {
				continue
			}
			seen[name] = true
			if ok, s := one(name); ok {
				found, top = true, max(top, s*weight)
			}
		}
		if !strings.Contains(f, "*") && !seen[f] { // a path in a flattened field
			if ok, s := one(f); ok {
				found, top = true, max(top, s*weight)
			}
		}
	}
	return found, top * cmp.Or(boost, 1)
}

// match counts the words of a text that a field has. Values of one field count
// together.
func (w view) match(name string, n query.Match) (bool, float64) {
	vs := w.values(named(name))
	if len(vs) == 0 {
		return false, 0
	}
	if vs[0].typ != catalog.Text {
		return slices.ContainsFunc(vs, func(v value) bool { return v.equals(n.Text, false) }), 1
	}
	s, _ := text(n.Text)
	toks := words(s)
	hits := 0
	for _, t := range toks {
		if slices.ContainsFunc(vs, func(v value) bool { return slices.Contains(v.words, t) }) {
			hits++
		}
	}
	need := 1
	if n.And {
		need = len(toks)
	} else if n.MinimumShouldMatch != "" && len(toks) > 1 {
		need = max(1, query.MinimumShould(n.MinimumShouldMatch, len(toks)))
	}
	return hits > 0 && hits >= need, float64(hits)
}

// phrase tries every way to place the words, each at a place of its own.
func (v value) phrase(n query.MatchPhrase) bool {
	if v.typ != catalog.Text {
		if n.Prefix && v.typ == catalog.Keyword {
			return strings.HasPrefix(v.v, n.Text)
		}
		return v.equals(n.Text, false)
	}
	toks := words(n.Text)
	if len(toks) == 0 {
		return false
	}
	var place func(i int, at []int) bool
	place = func(i int, at []int) bool {
		if i == len(toks) {
			lo, hi := at[0], at[0]
			for k, p := range at {
				lo, hi = min(lo, p-k), max(hi, p-k)
			}
			return hi-lo <= n.Slop
		}
		for p, word := range v.words {
			fits := word == toks[i] || n.Prefix && i == len(toks)-1 && strings.HasPrefix(word, toks[i])
			if fits && !slices.Contains(at, p) && place(i+1, append(slices.Clone(at), p)) {
				return true
			}
		}
		return false
	}
	return place(0, nil)
}

func (w view) boolean(n query.Bool) (bool, float64) {
	sum := 0.0
	for _, c := range n.Must {
		ok, s := w.eval(c)
		if !ok {
			return false, 0
		}
		sum += s
	}
	for _, c := range n.Filter {
		if ok, _ := w.eval(c); !ok {
			return false, 0
		}
	}
	for _, c := range n.MustNot {
		if ok, _ := w.eval(c); ok {
			return false, 0
		}
	}
	hits := 0
	for _, c := range n.Should {
		if ok, s := w.eval(c); ok {
			hits++
			sum += s
		}
	}
	need := query.MinimumShould(n.MinimumShouldMatch, len(n.Should))
	if n.MinimumShouldMatch == "" && len(n.Must)+len(n.Filter) == 0 && len(n.Should) > 0 {
		need = 1
	}
	if len(n.Must)+len(n.Filter)+len(n.Should)+len(n.MustNot) == 0 {
		sum = 1
	}
	return len(n.Should) == 0 || hits >= need, sum * cmp.Or(n.Boost, 1)
}

func (w view) nested(n query.Nested) (bool, float64) {
	var got []float64
	for _, e := range w.all {
		if e.typ != catalog.Nested || e.name != n.Path || w.path != "" {
			continue
		}
		in := w
		in.path, in.elem = n.Path, e.elem
		if ok, s := in.eval(n.Query); ok {
			got = append(got, s)
		}
	}
	if len(got) == 0 {
		return false, 0
	}
	sum := 0.0
	for _, s := range got {
		sum += s
	}
	switch n.ScoreMode {
	case "none":
		sum = 0
	case "min":
		sum = slices.Min(got)
	case "max":
		sum = slices.Max(got)
	case "sum":
	default:
		sum /= float64(len(got))
	}
	return true, sum * cmp.Or(n.Boost, 1)
}
