package compile

import (
	"strings"

	"github.com/fresnel-search/fresnel/indexer/scalar"
	"github.com/fresnel-search/fresnel/indexer/sqlite/token"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// weighted are targets that count the same.
type weighted struct {
	weight  float64
	targets []target
}

// targets expands the fields of free text, each field once, at its first weight.
func (c *compiler) targets(fields []string, weights []float64, nested string) (out []weighted) {
	seen := map[target]bool{}
	at := map[float64]int{}
	for i, name := range fields {
		w := 1.0
		if i < len(weights) && weights[i] != 0 {
			w = weights[i]
		}
		for _, t := range c.expand(name, nested) {
			if seen[t] {
				continue
			}
			seen[t] = true
			if _, ok := at[w]; !ok {
				at[w] = len(out)
				out = append(out, weighted{weight: w})
			}
			out[at[w]].targets = append(out[at[w]].targets, t)
		}
	}
	return out
}

func (c *compiler) match(n query.Match, path, nested string) (match, error) {
	if len(n.Fields) == 1 {
		if m, ok := c.meta(n.Fields[0], []query.Value{n.Text}, n.Boost, nested); ok {
			return m, nil
		}
	}
	text, _ := scalar.Text(n.Text)
	words := token.Split(text)
	return c.over(n.Fields, n.Weights, overOptions{path: path, nested: nested, boost: n.Boost, lenient: n.Lenient},
		func(t target) ([]cond, bool) {
			if t.kind != Token {
				cd, ok := termCond(t, n.Text)
				return []cond{cd}, ok
			}
			var conds []cond
			for _, w := range words {
				conds = append(conds, wordCond(t, w.Term))
			}
			return conds, true
		},
		func(ms []match) match {
			switch {
			case n.And:
				return some(ms, len(ms))
			case n.MinimumShouldMatch != "":
				return some(ms, max(1, query.MinimumShould(n.MinimumShouldMatch, len(ms))))
			default:
				return some(ms, 1)
			}
		})
}

func wordCond(t target, word string) cond {
	return cond{fields: []int64{t.id}, where: "value=?", args: []any{word}}
}

type overOptions struct {
	path    string
	nested  string
	boost   float64
	lenient bool
}

// over looks for one text in several fields and scores as the best of them. Parts
// gives what a field is asked for; where that is one condition, all fields of the
// same weight are asked at once, else join says how the parts combine.
func (c *compiler) over(fields []string, weights []float64, o overOptions,
	parts func(target) ([]cond, bool), join func([]match) match,
) (match, error) {
	var ms []match
	var refused *target
	for _, w := range c.targets(fields, weights, o.nested) {
		var at1 []cond
		for _, t := range w.targets {
			conds, ok := parts(t)
			switch {
			case !ok:
				refused = &t
			case len(conds) == 1:
				at1 = append(at1, conds[0])
				refused, o.lenient = nil, true
			default:
				o.lenient = true
				if len(conds) == 0 { // a text without words
					continue
				}
				each := make([]match, len(conds))
				for i, cd := range conds {
					each[i] = match{leafOf([]cond{cd}), number(1)}
				}
				m := join(each)
				ms = append(ms, match{m.p, times(m.s, w.weight)})
			}
		}
		if len(at1) > 0 {
			ms = append(ms, match{leafOf(merge(at1)), number(w.weight)})
		}
	}
	if refused != nil && !o.lenient {
		return match{}, unfit(o.path, refused.kind)
	}
	m := best(ms)
	return match{m.p, times(m.s, boosted(o.boost))}, nil
}

func (c *compiler) phrase(n query.MatchPhrase, path, nested string) (match, error) {
	if len(n.Fields) == 1 {
		if m, ok := c.meta(n.Fields[0], []query.Value{n.Text}, n.Boost, nested); ok {
			return m, nil
		}
	}
	words := token.Split(n.Text)
	return c.over(n.Fields, n.Weights, overOptions{path: path, nested: nested, boost: n.Boost, lenient: n.Lenient},
		func(t target) ([]cond, bool) {
			switch {
			case t.kind == Token && len(words) == 0:
				return nil, true
			case t.kind == Token:
				return []cond{phraseCond(t, words, n)}, true
			case n.Prefix && texts(t.kind):
				return []cond{likeCond(t, query.PrefixGlob(n.Text), false)}, true
			default:
				cd, ok := termCond(t, n.Text)
				return []cond{cd}, ok
			}
		}, best)
}

// phraseCond is the condition that the words stand in order; the last may be cut.
func phraseCond(t target, words []token.Token, n query.MatchPhrase) cond {
	conds := make([]cond, len(words))
	for i, w := range words {
		conds[i] = wordCond(t, w.Term)
	}
	if last := len(words) - 1; n.Prefix {
		conds[last] = likeCond(t, query.PrefixGlob(words[last].Term), false)
	}
	if len(conds) == 1 {
		return conds[0]
	}
	return cond{fields: []int64{t.id}, words: conds, slop: n.Slop}
}

func (c *compiler) pattern(n query.Pattern, path, nested string) (match, error) {
	var ms []match
	g := query.ParseGlob(n.Value)
	for _, w := range c.targets(n.Fields, n.Weights, nested) {
		m, err := patterned(w.targets, g, patternOptions{
			path: path + "." + strings.Join(n.Fields, ","), boost: w.weight, lenient: n.Lenient, lower: true,
		})
		if err != nil {
			return match{}, err
		}
		ms = append(ms, m)
	}
	m := best(ms)
	return match{m.p, times(m.s, boosted(n.Boost))}, nil
}
