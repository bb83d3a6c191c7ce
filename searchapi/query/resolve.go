package query

import (
	"strconv"
	"time"
)

// Instant is how Resolve writes instants: UTC, nine digits of fraction, so that
// they sort as text.
const Instant = "2006-01-02T15:04:05.000000000Z"

// Resolve returns the query with every date in it made an instant (in the layout
// Instant): bounds of ranges on date fields, with date math, formats, time zones
// and rounding taken out, and single dates, which become the range that they span:
// created_at:2026-05-01 is that whole day. Resolving twice changes nothing more. It
// is pure; now is what now means.
func Resolve(n Node, now time.Time, isDate func(field string) bool) (Node, error) {
	r := resolver{now: now, isDate: isDate}
	return r.node(n, "query")
}

type resolver struct {
	now    time.Time
	isDate func(string) bool
}

// node resolves one clause; path names it in errors.
func (r resolver) node(n Node, path string) (Node, error) {
	switch n := n.(type) {
	case Range:
		return r.ranges(n, join(join(path, "range"), n.Field))
	case Term:
		if r.isDate(n.Field) {
			return r.span(Range{Field: n.Field, Boost: n.Boost}, n.Value, join(join(path, "term"), n.Field))
		}
	case Terms:
		if r.isDate(n.Field) {
			return r.spans(n, join(join(path, "terms"), n.Field))
		}
	case Match:
		if len(n.Fields) == 1 && r.isDate(n.Fields[0]) {
			s, err := r.span(Range{Field: n.Fields[0], Boost: n.Boost}, n.Text, join(join(path, "match"), n.Fields[0]))
			return softly(s, err, n.Lenient)
		}
	case MatchPhrase:
		if len(n.Fields) == 1 && r.isDate(n.Fields[0]) {
			s, err := r.span(Range{Field: n.Fields[0], Boost: n.Boost}, n.Text, join(join(path, "match_phrase"), n.Fields[0]))
			return softly(s, err, n.Lenient)
		}
	case Bool:
		return r.boolean(n, join(path, "bool"))
	case Nested:
		q, err := r.node(n.Query, join(join(path, "nested"), "query"))
		n.Query = q
		return n, err
	}
	return n, nil
}

// softly turns an error into a clause that matches nothing.
func softly(n Node, err error, lenient bool) (Node, error) {
	if err != nil && lenient {
		return MatchNone{}, nil
	}
	return n, err
}

func (r resolver) boolean(b Bool, path string) (Node, error) {
	for _, part := range []struct {
		key   string
		nodes *[]Node
	}{{"must", &b.Must}, {"filter", &b.Filter}, {"should", &b.Should}, {"must_not", &b.MustNot}} {
		if len(*part.nodes) == 0 {
			continue
		}
		out := make([]Node, len(*part.nodes))
		for i, n := range *part.nodes {
			m, err := r.node(n, join(path, part.key)+"["+strconv.Itoa(i)+"]")
			if err != nil {
				return nil, err
			}
			out[i] = m
		}
		*part.nodes = out
	}
	return b, nil
}

func (r resolver) ranges(n Range, path string) (Node, error) {
	if !r.isDate(n.Field) {
		return n, nil
	}
	spec := DateSpec{Format: n.Format, TimeZone: n.TimeZone, Now: r.now}
	for _, b := range []struct {
		v   *Value
		key string
		up  bool
	}{{&n.GT, "gt", true}, {&n.GTE, "gte", false}, {&n.LT, "lt", false}, {&n.LTE, "lte", true}} {
		if *b.v == nil {
			continue
		}
		spec.Up = b.up
		t, err := ParseDate(*b.v, spec)
		if err != nil {
			err = &Error{Path: join(path, b.key), Detail: err.Error()}
			return softly(nil, err, n.Lenient)
		}
		*b.v = t.Format(Instant)
	}
	n.Format, n.TimeZone = "", ""
	return n, nil
}

// span makes of to the range of all instants that a date stands for.
func (r resolver) span(to Range, v Value, path string) (Node, error) {
	from, err := ParseDate(v, DateSpec{Now: r.now})
	if err != nil {
		return nil, &Error{Path: path, Detail: err.Error()}
	}
	until, err := ParseDate(v, DateSpec{Now: r.now, Up: true})
	if err != nil {
		return nil, &Error{Path: path, Detail: err.Error()}
	}
	to.GTE, to.LTE = from.Format(Instant), until.Format(Instant)
	return to, nil
}

func (r resolver) spans(n Terms, path string) (Node, error) {
	b := Bool{Boost: n.Boost}
	for i, v := range n.Values {
		s, err := r.span(Range{Field: n.Field}, v, path+"["+strconv.Itoa(i)+"]")
		if err != nil {
			return nil, err
		}
		b.Should = append(b.Should, s)
	}
	if len(b.Should) == 0 {
		return MatchNone{}, nil
	}
	return b, nil
}
