package query

import (
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
	return r.node(n)
}

type resolver struct {
	now    time.Time
	isDate func(string) bool
}

func (r resolver) node(n Node) (Node, error) {
	switch n := n.(type) {
	case Range:
		return r.ranges(n)
	case Term:
		if r.isDate(n.Field) {
			return r.span(n.Field, n.Value, n.Boost)
		}
	case Terms:
		if r.isDate(n.Field) {
			return r.spans(n)
		}
	case Match:
		if len(n.Fields) == 1 && r.isDate(n.Fields[0]) {
			s, err := r.span(n.Fields[0], n.Text, n.Boost)
			return softly(s, err, n.Lenient)
		}
	case MatchPhrase:
		if len(n.Fields) == 1 && r.isDate(n.Fields[0]) {
			s, err := r.span(n.Fields[0], n.Text, n.Boost)
			return softly(s, err, n.Lenient)
		}
	case Bool:
		return r.boolean(n)
	case Nested:
		q, err := r.node(n.Query)
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

func (r resolver) boolean(b Bool) (Node, error) {
	for _, part := range []*[]Node{&b.Must, &b.Filter, &b.Should, &b.MustNot} {
		if len(*part) == 0 {
			continue
		}
		out := make([]Node, len(*part))
		for i, n := range *part {
			m, err := r.node(n)
			if err != nil {
				return nil, err
			}
			out[i] = m
		}
		*part = out
	}
	return b, nil
}

func (r resolver) ranges(n Range) (Node, error) {
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
			err = &Error{Path: join(join("range", n.Field), b.key), Detail: err.Error()}
			return softly(nil, err, n.Lenient)
		}
		*b.v = t.Format(Instant)
	}
	n.Format, n.TimeZone = "", ""
	return n, nil
}

// span is the range of all instants that a date stands for.
func (r resolver) span(field string, v Value, boost float64) (Node, error) {
	from, err := ParseDate(v, DateSpec{Now: r.now})
	if err != nil {
		return nil, &Error{Path: join("query", field), Detail: err.Error()}
	}
	to, err := ParseDate(v, DateSpec{Now: r.now, Up: true})
	if err != nil {
		return nil, &Error{Path: join("query", field), Detail: err.Error()}
	}
	return Range{Field: field, GTE: from.Format(Instant), LTE: to.Format(Instant), Boost: boost}, nil
}

func (r resolver) spans(n Terms) (Node, error) {
	b := Bool{Boost: n.Boost}
	for _, v := range n.Values {
		s, err := r.span(n.Field, v, 0)
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
