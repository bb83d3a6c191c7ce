package dsl

import (
	"fmt"
	"strings"

	"github.com/fresnel-search/fresnel/indexer/scalar"
	"github.com/fresnel-search/fresnel/indexer/sqlite/token"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// expansions is how many words the cut last word of a phrase may stand for.
const expansions = 1024

// found is what one field makes of free text: a clause of constant score, or one that
// scores for itself.
type found struct {
	q      any
	scores bool
}

// over looks for one text in several fields and scores as the best of them; a field
// that is named twice counts with its first weight. Make1 answers for one field; ok is
// false if its type cannot hold the text.
func (c typeCompiler) over(fields []string, weights []float64, lenient bool, at place, make1 func(target) (found, bool)) list {
	seen := map[string]bool{}
	var best list
	same := map[float64]list{} // of constant score, by weight
	var order []float64
	for i, name := range fields {
		weight := 1.0
		if i < len(weights) && weights[i] != 0 {
			weight = min(weights[i], maxBoost)
		}
		for _, t := range c.expand(name, at) {
			key := strings.Join(t.fields, " ") + "\x00" + t.path
			if seen[key] {
				continue
			}
			seen[key] = true
			f, ok := make1(t)
			if !lenient {
				c.verdicts.add(at.path, "", t.kind, ok)
			}
			switch {
			case !ok || f.q == nil:
			case f.scores:
				best = append(best, weighted(f.q, weight))
			default:
				if same[weight] == nil {
					order = append(order, weight)
				}
				same[weight] = append(same[weight], f.q)
			}
		}
	}
	for _, w := range order {
		best = append(best, constant(anyOf(same[w]), w))
	}
	return best
}

// weighted multiplies what a clause scores.
func weighted(q any, weight float64) any {
	if weight == 1 {
		return q
	}
	return clause("bool", object{"must": list{q}, "boost": weight})
}

// bestOf scores as the best of its clauses.
func bestOf(qs list, boost float64) any {
	switch len(qs) {
	case 0:
		return nil
	case 1:
		return weighted(qs[0], boosted(boost))
	}
	return clause("dis_max", object{"queries": qs, "boost": boosted(boost)})
}

func (c typeCompiler) match(n query.Match, at place) any {
	if len(n.Fields) == 1 {
		if q, ok := c.meta(n.Fields[0], []query.Value{n.Text}, n.Boost, at); ok {
			return q
		}
	}
	text, _ := scalar.Text(n.Text)
	count := len(token.Split(text))
	return bestOf(c.over(n.Fields, n.Weights, n.Lenient, at, func(t target) (found, bool) {
		switch {
		case t.kind != word:
			q, ok := t.equals(n.Text)
			return found{q: q}, ok
		case count == 0:
			return found{}, true
		}
		body := object{"query": text}
		switch {
		case n.And:
			body["operator"] = "and"
		case n.MinimumShouldMatch != "" && count > 1:
			body["minimum_should_match"] = max(1, query.MinimumShould(n.MinimumShouldMatch, count))
		}
		return found{q: on("match", t.fields[0], body), scores: true}, true
	}), n.Boost)
}

func (c typeCompiler) phrase(n query.MatchPhrase, at place) any {
	if len(n.Fields) == 1 {
		if q, ok := c.meta(n.Fields[0], []query.Value{n.Text}, n.Boost, at); ok {
			return q
		}
	}
	words := token.Split(n.Text)
	return bestOf(c.over(n.Fields, n.Weights, n.Lenient, at, func(t target) (found, bool) {
		switch {
		case t.kind == word:
			return found{q: phraseOf(t, words, n)}, true
		case n.Prefix && t.texts():
			q, ok := t.glob(query.PrefixGlob(n.Text), false)
			return found{q: q}, ok
		}
		q, ok := t.equals(n.Text)
		return found{q: q}, ok
	}), n.Boost)
}

// phraseOf is the clause that the words stand in order; the last may be cut.
func phraseOf(t target, words []token.Token, n query.MatchPhrase) any {
	switch {
	case len(words) == 0:
		return nil
	case n.Prefix && len(words) == 1:
		return on("prefix", t.fields[0], object{"value": words[0].Term})
	case n.Prefix:
		return on("match_phrase_prefix", t.fields[0], object{"query": n.Text, "slop": n.Slop, "max_expansions": expansions})
	default:
		return on("match_phrase", t.fields[0], object{"query": n.Text, "slop": n.Slop})
	}
}

func (c typeCompiler) pattern(n query.Pattern, at place) any {
	at = at.in(strings.Join(n.Fields, ","))
	g := query.ParseGlob(n.Value)
	if g.Stars() > query.MaxStars {
		c.fail(at.path, fmt.Sprintf("a pattern may have at most %d stars", query.MaxStars))
		return nil
	}
	lower := g.Lower()
	return bestOf(c.over(n.Fields, n.Weights, n.Lenient, at, func(t target) (found, bool) {
		p := g
		if t.kind == word {
			p = lower
		}
		q, ok := t.glob(p, false)
		return found{q: q}, ok
	}), n.Boost)
}
