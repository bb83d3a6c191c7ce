package dsl

import (
	"cmp"
	"encoding/json"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
	"github.com/fresnel-search/fresnel/indexer/scalar"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// each makes one clause for each of the target's fields and joins them.
func (t target) each(make1 func(field string) any) any {
	var qs list
	for _, f := range t.fields {
		qs = append(qs, make1(f))
	}
	return anyOf(qs)
}

func (t target) texts() bool { return t.kind == word || t.kind == keyword || t.kind == flat }

// text is what stands in the index for a text of a caller.
func (t target) text(s string) string {
	if t.kind == flat {
		return layout.Leaf(t.path, s)
	}
	return s
}

// exact returns the value that stands in the index for v; ok is false if the target
// cannot hold v or if more than one value is equal to it. Nil stands for none.
func (t target) exact(v query.Value) (value any, ok bool) {
	s, ok := scalar.Text(v)
	if !ok {
		return nil, false
	}
	switch t.kind {
	case long:
		return exactLong(s)
	case double:
		return scalar.Double(s)
	case boolean:
		return scalar.Boolean(s)
	case ip:
		first, last, ok := scalar.IP(s)
		return address(first), ok && first == last
	case date:
		return nil, false
	default:
		return t.text(s), true
	}
}

// exactLong is nil for a number that no whole number equals.
func exactLong(s string) (any, bool) {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i, true
	}
	f, ok := scalar.Double(s)
	if !ok || f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
		return nil, ok
	}
	return int64(f), true
}

// equals is the clause that a field has the value; ok is false if its type cannot.
func (t target) equals(v query.Value) (q any, ok bool) {
	if value, ok := t.exact(v); ok {
		if value == nil {
			return nil, true
		}
		return t.each(func(f string) any { return on("term", f, object{"value": value}) }), true
	}
	if t.kind != ip && t.kind != date {
		return nil, false
	}
	return t.between(query.Range{GTE: v, LTE: v})
}

// folded is equals without regard to ASCII case.
func (t target) folded(v query.Value) (q any, ok bool) {
	s, isText := scalar.Text(v)
	switch {
	case !t.texts() || !isText, s == "" && t.kind != flat: // OpenSearch folds nothing to nothing
		return t.equals(v)
	case t.kind == flat:
		return t.glob(query.LiteralGlob(s), true)
	}
	return t.each(func(f string) any { return on("term", f, object{"value": s, "case_insensitive": true}) }), true
}

// bound is one end of a range, ready for the index.
type bound struct {
	set, open bool // open excludes the value itself
	value     any
}

// between is the clause that a field has one value in the range; ok is false if its
// type cannot hold a bound. A nil clause matches nothing.
func (t target) between(n query.Range) (q any, ok bool) {
	switch t.kind {
	case long:
		return t.longs(n)
	case boolean:
		return t.booleans(n)
	case double:
		return between(t, n, func(s string) (float64, float64, bool) { f, ok := scalar.Double(s); return f, f, ok }, cmp.Compare, number)
	case date:
		return between(t, n, scalar.Date, cmp.Compare, instant)
	case ip:
		return between(t, n, scalar.IP, netip.Addr.Compare, address)
	default:
		return between(t, n, func(s string) (string, string, bool) { s = t.text(s); return s, s, true }, strings.Compare, same)
	}
}

// between compares bounds as values of type T, because two of them may bound the same
// end. Read gives the first and the last value that a text may mean.
func between[T any](t target, n query.Range, read func(string) (T, T, bool), compare func(a, b T) int, show func(T) any) (any, bool) {
	var low, high struct {
		bound
		v T
	}
	for _, b := range []struct {
		v           query.Value
		lower, open bool
	}{{n.GT, true, true}, {n.GTE, true, false}, {n.LT, false, true}, {n.LTE, false, false}} {
		if b.v == nil {
			continue
		}
		s, ok := scalar.Text(b.v)
		if !ok {
			return nil, false
		}
		first, last, ok := read(s)
		if !ok {
			return nil, false
		}
		end, v, sign := &high, first, -1
		if b.lower {
			end, sign = &low, 1
		}
		if b.lower == b.open { // gt and lte look at the end of what is meant
			v = last
		}
		if c := sign * compare(v, end.v); !end.set || c > 0 || c == 0 && b.open {
			end.bound, end.v = bound{set: true, open: b.open, value: show(v)}, v
		}
	}
	return t.within(low.bound, high.bound), true
}

// within writes a range.
func (t target) within(low, high bound) any {
	if !low.set && !high.set {
		return t.exists()
	}
	r := object{}
	if t.kind == flat {
		if !low.set {
			low = bound{set: true, value: layout.LeafPath(t.path)}
		}
		if !high.set {
			high = bound{set: true, open: true, value: layout.LeafAfter(t.path)}
		}
	}
	if low.set {
		r[map[bool]string{true: "gt", false: "gte"}[low.open]] = low.value
	}
	if high.set {
		r[map[bool]string{true: "lt", false: "lte"}[high.open]] = high.value
	}
	if t.kind == date {
		r["format"] = "strict_date_optional_time"
	}
	return t.each(func(f string) any { return on("range", f, r) })
}

func same(s string) any { return s }

// number is a float as JSON that no server takes for a whole number.
func number(f float64) any { return json.Number(strconv.FormatFloat(f, 'e', -1, 64)) }

// address is an address as text; a zero one is nil.
func address(a netip.Addr) any {
	if !a.IsValid() {
		return nil
	}
	return a.Unmap().String()
}

// The instants that every server can read.
const (
	firstInstant = -62135596800000 // 0001-01-01T00:00:00Z
	lastInstant  = 253402300799999 // 9999-12-31T23:59:59.999Z
)

// instant is a number of milliseconds since 1970 as a date.
func instant(ms int64) any {
	ms = min(max(ms, firstInstant), lastInstant)
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

// longs is between for whole numbers: a bound with a fraction bounds them too.
func (t target) longs(n query.Range) (any, bool) {
	lo, hi := int64(math.MinInt64), int64(math.MaxInt64)
	none, bounds := false, false
	for _, b := range []struct {
		v           query.Value
		lower, open bool
	}{{n.GT, true, true}, {n.GTE, true, false}, {n.LT, false, true}, {n.LTE, false, false}} {
		if b.v == nil {
			continue
		}
		s, _ := scalar.Text(b.v)
		i, empty, ok := wholeBound(s, b.lower, b.open)
		if !ok {
			return nil, false
		}
		none, bounds = none || empty, true
		if b.lower {
			lo = max(lo, i)
		} else {
			hi = min(hi, i)
		}
	}
	switch {
	case !bounds:
		return t.exists(), true
	case none || lo > hi:
		return nil, true
	}
	return t.within(bound{set: true, value: lo}, bound{set: true, value: hi}), true
}

// wholeBound is the bound, included, that a number is for whole numbers; empty says
// that none lies beyond it.
func wholeBound(s string, lower, open bool) (i int64, empty, ok bool) {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		switch {
		case open && lower:
			return i + 1, i == math.MaxInt64, true
		case open:
			return i - 1, i == math.MinInt64, true
		}
		return i, false, true
	}
	f, ok := scalar.Double(s)
	switch {
	case !ok:
		return 0, false, false
	case f >= 1<<63:
		return math.MaxInt64, lower, true
	case f < -1<<63:
		return math.MinInt64, !lower, true
	case f == math.Trunc(f):
		return wholeBound(strconv.FormatInt(int64(f), 10), lower, open)
	case lower:
		return int64(math.Ceil(f)), false, true
	default:
		return int64(math.Floor(f)), false, true
	}
}

// booleans is between for false and true, which are 0 and 1.
func (t target) booleans(n query.Range) (any, bool) {
	fits := [2]bool{true, true}
	for _, b := range []struct {
		v    query.Value
		keep func(c int) bool
	}{
		{n.GT, func(c int) bool { return c > 0 }},
		{n.GTE, func(c int) bool { return c >= 0 }},
		{n.LT, func(c int) bool { return c < 0 }},
		{n.LTE, func(c int) bool { return c <= 0 }},
	} {
		if b.v == nil {
			continue
		}
		s, _ := scalar.Text(b.v)
		yes, ok := scalar.Boolean(s)
		if !ok {
			return nil, false
		}
		at := 0
		if yes {
			at = 1
		}
		for i := range fits {
			fits[i] = fits[i] && b.keep(cmp.Compare(i, at))
		}
	}
	var qs list
	for i, fit := range fits {
		if fit {
			qs = append(qs, t.each(func(f string) any { return on("term", f, object{"value": i == 1}) }))
		}
	}
	return anyOf(qs), true
}

// exists is the clause that the field has a value.
func (t target) exists() any {
	switch {
	case t.kind == flat && t.whole:
		return t.each(func(f string) any { return on("prefix", f, object{"value": layout.LeafPath(t.path)}) })
	case t.kind == flat:
		return t.each(func(f string) any {
			return anyOf(list{
				on("prefix", f, object{"value": layout.LeafPath(t.path)}),
				on("prefix", f, object{"value": layout.LeafBelow(t.path)}),
			})
		})
	case t.kind == word: // words, not an empty text
		return t.each(func(f string) any { return on("prefix", f, object{"value": ""}) })
	default:
		return t.each(func(f string) any { return clause("exists", object{"field": f}) })
	}
}
