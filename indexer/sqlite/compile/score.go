package compile

import (
	"math"
	"strconv"
)

// score is what a clause adds to the score of a document that it matches.
type score interface {
	sql(b *builder, s scope) string
}

// number is the same score for every match.
type number float64

func (n number) sql(b *builder, _ scope) string {
	if f := float64(n); f == math.Trunc(f) && math.Abs(f) < 1<<20 {
		return strconv.FormatInt(int64(f), 10) + ".0"
	}
	return b.arg(float64(n))
}

// sumScore adds up.
type sumScore []score

func (s sumScore) sql(b *builder, sc scope) string { return tree(scores(s, b, sc), "+") }

// maxScore is the largest of its parts, of which there are two or more.
type maxScore []score

func (s maxScore) sql(b *builder, sc scope) string { return maxTree(scores(s, b, sc)) }

// maxTree keeps the order of its parts; max of one part would be an aggregate.
func maxTree(parts []string) string {
	if len(parts) == 1 {
		return parts[0]
	}
	half := len(parts) / 2
	return "max(" + maxTree(parts[:half]) + "," + maxTree(parts[half:]) + ")"
}

// caseScore counts if the condition holds.
type caseScore struct {
	p pred
	s score
}

func (c caseScore) sql(b *builder, sc scope) string {
	return "CASE WHEN " + c.p.sql(b, sc) + " THEN " + c.s.sql(b, sc) + " ELSE 0.0 END"
}

type timesScore struct {
	s score
	f float64
}

func (t timesScore) sql(b *builder, sc scope) string {
	return "(" + t.s.sql(b, sc) + "*" + number(t.f).sql(b, sc) + ")"
}

// nestedScore sums up the elements that match: avg, sum, min or max.
type nestedScore struct {
	mode string
	n    nestedPred
	s    score
}

func (n nestedScore) sql(b *builder, sc scope) string {
	return "(SELECT " + n.mode + "(" + n.s.sql(b, scope{alias: "e", elem: true}) + ") FROM " + n.n.from(b, sc) + ")"
}

func scores(ss []score, b *builder, sc scope) []string {
	parts := make([]string, len(ss))
	for i, s := range ss {
		parts[i] = s.sql(b, sc)
	}
	return parts
}

func times(s score, f float64) score {
	switch n, ok := s.(number); {
	case ok:
		return number(float64(n) * f)
	case f == 1:
		return s
	default:
		return timesScore{s, f}
	}
}

func plus(ss ...score) score {
	var fix number
	var out sumScore
	for _, s := range ss {
		if n, ok := s.(number); ok {
			fix += n
		} else {
			out = append(out, s)
		}
	}
	switch {
	case len(out) == 0:
		return fix
	case fix != 0:
		out = append(out, fix)
	}
	if len(out) == 1 {
		return out[0]
	}
	return out
}

// when is a score that counts only where the condition holds.
func when(p pred, s score) score {
	if f, ok := p.(fixed); ok {
		if f {
			return s
		}
		return number(0)
	}
	if s == number(0) {
		return s
	}
	return caseScore{p, s}
}

// match is a compiled clause: what it matches, and what a match scores.
type match struct {
	p pred
	s score
}

func (m match) optional() score { return when(m.p, m.s) }

// best matches what one of the alternatives matches and scores as the best of them.
func best(ms []match) match {
	var ps []pred
	var live []match
	for _, m := range ms {
		if m.p != fixed(false) {
			ps, live = append(ps, m.p), append(live, m)
		}
	}
	if len(live) == 0 {
		return match{fixed(false), number(0)}
	}
	same := true
	var all maxScore
	for _, m := range live {
		n, isNumber := m.s.(number)
		first, _ := live[0].s.(number)
		same = same && isNumber && n == first
		all = append(all, m.optional())
	}
	if same || len(live) == 1 {
		return match{or(ps...), live[0].s}
	}
	return match{or(ps...), all}
}
