package query

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Leaves of free text, shared by query_string and simple_query_string.

// any reports whether the fields hold a pattern of fields.
func (f free) any() bool {
	for _, name := range f.fields {
		if strings.Contains(name, "*") {
			return true
		}
	}
	return false
}

// soft reports whether a value that a field's type cannot hold is no error: asked
// for, or because the caller cannot know what fields a pattern finds.
func (f free) soft() bool { return f.lenient || f.any() }

// word makes the node of one word.
func (f free) word(text string) Node {
	if len(f.fields) == 1 && f.fields[0] == idField {
		return IDs{Values: []string{text}}
	}
	return Match{Fields: f.fields, Weights: f.weights, Text: text, And: f.and, Lenient: f.soft()}
}

// quoted makes the node of a phrase.
func (f free) quoted(text string, slop int) Node {
	if len(f.fields) == 1 && f.fields[0] == idField {
		return IDs{Values: []string{text}}
	}
	return MatchPhrase{Fields: f.fields, Weights: f.weights, Text: text, Slop: slop, Lenient: f.soft()}
}

// present makes the node of a lone star.
func (f free) present() Node {
	var b Bool
	for _, name := range f.fields {
		if name == "*" {
			return MatchAll{}
		}
		if strings.Contains(name, "*") {
			b.Should = append(b.Should, Pattern{Fields: []string{name}, Value: "*", Lenient: true})
			continue
		}
		b.Should = append(b.Should, Exists{Field: name})
	}
	if len(b.Should) == 1 {
		return b.Should[0]
	}
	return b
}

// term makes the node of a term token: a word, a pattern, or a bound such as >=5.
func (l *lucene) term(f free, t token) (Node, error) {
	if l.tok.kind == tokTilde {
		return nil, fmt.Errorf("%s: a fuzzy term is not supported", l.tok.show())
	}
	if op, bound := cutComparison(t.text); op != "" {
		return l.leaf(l.comparison(f, t, op, bound))
	}
	pattern, all := wild(t.text)
	switch {
	case all:
		return l.leaf(f.present(), nil)
	case pattern:
		return l.leaf(l.pattern(f, t))
	}
	text, err := unescape(t.text)
	return l.leaf(f.word(text), err)
}

func (l *lucene) pattern(f free, t token) (Node, error) {
	if err := l.p.checkPattern("", t.text); err != nil {
		return nil, err
	}
	if !f.leading && strings.ContainsAny(t.text[:1], "*?") {
		return nil, fmt.Errorf("%s: a pattern may not begin with * or ? here", t.show())
	}
	value, err := patternOf(t.text)
	return Pattern{Fields: f.fields, Weights: f.weights, Value: value, Lenient: f.soft()}, err
}

// cutComparison cuts >=, >, <= or < off a raw term.
func cutComparison(raw string) (op, rest string) {
	for _, op := range []string{">=", "<=", ">", "<"} {
		if rest, ok := strings.CutPrefix(raw, op); ok {
			return op, rest
		}
	}
	return "", raw
}

func (l *lucene) comparison(f free, t token, op, raw string) (Node, error) {
	if raw == "" {
		return nil, fmt.Errorf("%s: no value follows; write it without a blank", t.show())
	}
	bound, err := unescape(raw)
	if err != nil {
		return nil, err
	}
	var r Range
	switch op {
	case ">=":
		r.GTE = bound
	case "<=":
		r.LTE = bound
	case ">":
		r.GT = bound
	default:
		r.LT = bound
	}
	return f.overFields(r)
}

// overFields makes a range over the fields, which must be known by name.
func (f free) overFields(r Range) (Node, error) {
	var b Bool
	for _, name := range f.fields {
		if strings.Contains(name, "*") {
			return nil, errors.New("a range needs a field: write FIELD:[a TO b] or FIELD:>=a")
		}
		r.Field, r.Lenient = name, f.lenient
		b.Should = append(b.Should, r)
	}
	if len(b.Should) == 1 {
		return b.Should[0], nil
	}
	return b, nil
}

// ranges parses [a TO b], with { and } for bounds that are left out.
func (l *lucene) ranges(f free) (Node, error) {
	t := l.tok
	low, high, err := rangeBounds(t.text[1 : len(t.text)-1])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.show(), err)
	}
	if err := l.advance(); err != nil {
		return nil, err
	}
	if low == nil && high == nil {
		return l.leaf(f.present(), nil)
	}
	var r Range
	if t.text[0] == '[' {
		r.GTE = low
	} else {
		r.GT = low
	}
	if strings.HasSuffix(t.text, "]") {
		r.LTE = high
	} else {
		r.LT = high
	}
	return l.leaf(f.overFields(r))
}

// rangeBounds reads "a TO b"; nil is an open bound.
func rangeBounds(text string) (low, high Value, err error) {
	words, err := rangeWords(text)
	if err != nil {
		return nil, nil, err
	}
	if len(words) == 3 && words[1] == "TO" {
		words = []string{words[0], words[2]}
	}
	if len(words) != 2 || words[0] == "TO" || words[1] == "TO" {
		return nil, nil, errors.New("a range is written [a TO b]")
	}
	if low, err = rangeBound(words[0]); err != nil {
		return nil, nil, err
	}
	high, err = rangeBound(words[1])
	return low, high, err
}

// rangeWords splits at blanks outside of quotes; quotes stay.
func rangeWords(text string) ([]string, error) {
	var words []string
	l := lexer{text: []rune(text)}
	for l.skipSpace(); l.pos < len(l.text); l.skipSpace() {
		if l.at(0) == '"' {
			start := l.pos
			if _, err := l.until(tokQuoted, `"`); err != nil {
				return nil, err
			}
			words = append(words, string(l.text[start:l.pos]))
			continue
		}
		start := l.pos
		for l.pos < len(l.text) && !isSpace(l.text[l.pos]) {
			if l.text[l.pos] == '\\' {
				l.pos++
			}
			l.pos++
		}
		l.pos = min(l.pos, len(l.text))
		words = append(words, string(l.text[start:l.pos]))
	}
	return words, nil
}

func rangeBound(raw string) (Value, error) {
	if raw == "*" {
		return nil, nil
	}
	if len(raw) >= 2 && raw[0] == '"' {
		raw = raw[1 : len(raw)-1]
	}
	return unescape(raw)
}

// phrase parses "..." and its slop.
func (l *lucene) phrase(f free) (Node, error) {
	text, err := unescape(l.tok.text)
	if err != nil {
		return nil, err
	}
	if err := l.advance(); err != nil {
		return nil, err
	}
	slop := f.slop
	if l.tok.kind == tokTilde {
		n, err := strconv.ParseFloat(l.tok.text[1:], 64)
		if err != nil || n < 0 || n > mostSlop {
			return nil, fmt.Errorf("%s: what follows ~ must be a number from 0 to %d", l.tok.show(), mostSlop)
		}
		slop = int(n)
		if err := l.advance(); err != nil {
			return nil, err
		}
	}
	return l.leaf(f.quoted(text, slop), nil)
}

// withBoost multiplies a node's boost.
func withBoost(n Node, w float64) Node {
	if w == 0 || w == 1 {
		return n
	}
	times := func(old float64) float64 {
		if old == 0 {
			return w
		}
		return old * w
	}
	switch n := n.(type) {
	case MatchAll:
		n.Boost = times(n.Boost)
		return n
	case IDs:
		n.Boost = times(n.Boost)
		return n
	case Exists:
		n.Boost = times(n.Boost)
		return n
	case Range:
		n.Boost = times(n.Boost)
		return n
	case Match:
		n.Boost = times(n.Boost)
		return n
	case MatchPhrase:
		n.Boost = times(n.Boost)
		return n
	case Pattern:
		n.Boost = times(n.Boost)
		return n
	case Bool:
		n.Boost = times(n.Boost)
		return n
	}
	return n
}

// withMinimum applies a minimum_should_match to the outermost node.
func withMinimum(n Node, spec string) Node {
	if spec == "" {
		return n
	}
	switch n := n.(type) {
	case Match:
		n.MinimumShouldMatch = spec
		return n
	case Bool:
		n.MinimumShouldMatch = spec
		return n
	}
	return n
}
