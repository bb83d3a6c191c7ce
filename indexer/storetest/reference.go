package storetest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/sqlite/token"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// value is one indexed value of a document, or of one of its elements, as the
// interpreter sees it: a field of that name and type exists here.
type value struct {
	name  string
	typ   catalog.FieldType
	path  string // the nested field
	elem  int    // from 1; 0 at the root
	v     string // the scalar's text
	words []string
}

// index lists the values of a document that a scope sees.
func index(t *catalog.Type, d *resource.Document, hidden bool) (vs []value) {
	for name, raw := range d.Fields {
		v := parse(raw)
		f, ok := declared(t, name)
		switch {
		case ok && (f.AdminOnly || t.Hidden(name)) && !hidden:
		case ok && f.Type == catalog.Nested:
			vs = append(vs, elements(t, f, v, hidden)...)
		case ok:
			vs = append(vs, leaves(t, value{name: name, typ: f.Type}, v, hidden)...)
		case strings.HasPrefix(name, catalog.Other+"."):
			if !t.Hidden(name) || hidden {
				vs = append(vs, flat(t, catalog.Other, name[len(catalog.Other)+1:], v, hidden)...)
			}
		}
	}
	return vs
}

func parse(raw json.RawMessage) (v any) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return nil
	}
	return v
}

func declared(t *catalog.Type, name string) (catalog.Field, bool) {
	i := slices.IndexFunc(t.Fields, func(f catalog.Field) bool { return f.Name == name })
	if i < 0 {
		return catalog.Field{}, false
	}
	return t.Fields[i], true
}

func leaves(t *catalog.Type, at value, v any, hidden bool) (vs []value) {
	if at.typ == catalog.Flattened {
		return flat(t, at.name, "", v, hidden)
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, one := range list {
		s, ok := text(one)
		if !ok || !fits(at.typ, s) {
			continue
		}
		at.v = s
		if at.typ == catalog.Text {
			raw := at
			raw.name, raw.typ, raw.words = at.name+".raw", catalog.Keyword, nil
			vs = append(vs, raw)
			at.words = words(s)
		}
		vs = append(vs, at)
	}
	return vs
}

func words(s string) (out []string) {
	for _, t := range token.Split(s) {
		out = append(out, t.Term)
	}
	return out
}

func flat(t *catalog.Type, root, path string, v any, hidden bool) (vs []value) {
	switch v := v.(type) {
	case map[string]any:
		for key, m := range v {
			p := strings.TrimPrefix(path+"."+key, ".")
			if !t.Hidden(root+"."+p) || hidden {
				vs = append(vs, flat(t, root, p, m, hidden)...)
			}
		}
	case []any:
		for _, m := range v {
			vs = append(vs, flat(t, root, path, m, hidden)...)
		}
	default:
		if s, ok := text(v); ok {
			vs = append(vs, value{name: root, typ: catalog.Keyword, v: s}, value{name: root + "." + path, typ: catalog.Keyword, v: s})
		}
	}
	return vs
}

func elements(t *catalog.Type, f catalog.Field, v any, hidden bool) (vs []value) {
	list, _ := v.([]any)
	for i, e := range list {
		obj, _ := e.(map[string]any)
		vs = append(vs, value{name: f.Name, typ: catalog.Nested, path: f.Name, elem: i + 1})
		for _, m := range f.Fields {
			if mv, ok := obj[m.Name]; ok && (!m.AdminOnly || hidden) {
				vs = append(vs, leaves(t, value{name: f.Name + "." + m.Name, typ: m.Type, path: f.Name, elem: i + 1}, mv, hidden)...)
			}
		}
	}
	return vs
}

func text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	default:
		return "", false
	}
}

func fits(t catalog.FieldType, s string) bool {
	switch t {
	case catalog.Long, catalog.Double:
		_, err := strconv.ParseFloat(s, 64)
		return err == nil
	case catalog.Date:
		_, ok := instant(s)
		return ok
	case catalog.Boolean:
		return s == "true" || s == "false"
	case catalog.IP:
		if _, err := netip.ParsePrefix(s); err == nil {
			return true
		}
		_, err := netip.ParseAddr(s)
		return err == nil
	default:
		return true
	}
}

// instant reads a date as milliseconds since 1970; without a zone it is UTC.
func instant(s string) (int64, bool) {
	for _, zone := range []string{"", "Z"} {
		if t, err := time.Parse(time.RFC3339, s+zone); err == nil {
			return t.UnixMilli(), true
		}
	}
	return 0, false
}

// compareAs compares two texts that fit, as values of a type.
func compareAs(t catalog.FieldType, a, b string) int {
	switch t {
	case catalog.Long, catalog.Double:
		x, _ := strconv.ParseFloat(a, 64)
		y, _ := strconv.ParseFloat(b, 64)
		return cmp.Compare(x, y)
	case catalog.Date:
		x, _ := instant(a)
		y, _ := instant(b)
		return cmp.Compare(x, y)
	case catalog.IP:
		x, _ := netip.ParseAddr(a)
		y, _ := netip.ParseAddr(b)
		return netip.AddrFrom16(x.As16()).Compare(netip.AddrFrom16(y.As16()))
	default:
		return strings.Compare(a, b)
	}
}

// view is what a clause is evaluated on: a document, or one element of it.
type view struct {
	ref   resource.Ref
	all   []value
	path  string
	elem  int
	names func(path string) []string
}

func (w view) values(match func(name string) bool) (vs []value) {
	for _, v := range w.all {
		if v.path == w.path && v.elem == w.elem && v.typ != catalog.Nested && match(v.name) {
			vs = append(vs, v)
		}
	}
	return vs
}

func named(name string) func(string) bool { return func(n string) bool { return n == name } }

func (w view) some(name string, holds func(value) bool) bool {
	return slices.ContainsFunc(w.values(named(name)), holds)
}

// eval returns whether a clause matches and what it scores.
func (w view) eval(n query.Node) (bool, float64) {
	switch n := n.(type) {
	case query.MatchAll:
		return scored(true, n.Boost)
	case query.Term:
		return scored(w.some(n.Field, func(v value) bool { return v.equals(n.Value, n.CaseInsensitive) }), n.Boost)
	case query.Terms:
		return scored(w.some(n.Field, func(v value) bool {
			return slices.ContainsFunc(n.Values, func(q query.Value) bool { return v.equals(q, false) })
		}), n.Boost)
	case query.IDs:
		return scored(slices.Contains(n.Values, w.ref.ID) && (len(n.Types) == 0 || slices.Contains(n.Types, w.ref.Type)), n.Boost)
	case query.Exists:
		found := w.values(func(name string) bool { return name == n.Field || strings.HasPrefix(name, n.Field+".") })
		return scored(len(found) > 0, n.Boost)
	case query.Range:
		return scored(w.some(n.Field, func(v value) bool { return v.within(n) }), n.Boost)
	case query.Prefix:
		return scored(w.some(n.Field, pattern(regexp.QuoteMeta(n.Value)+".*", n.CaseInsensitive)), n.Boost)
	case query.Wildcard:
		return scored(w.some(n.Field, pattern(wildcard(n.Value), n.CaseInsensitive)), n.Boost)
	case query.Match:
		return w.best(n.Fields, n.Weights, n.Boost, func(name string) (bool, float64) { return w.match(name, n) })
	case query.MatchPhrase:
		return w.best(n.Fields, n.Weights, n.Boost, func(name string) (bool, float64) {
			return w.some(name, func(v value) bool { return v.phrase(n) }), 1
		})
	case query.Pattern:
		return w.best(n.Fields, n.Weights, n.Boost, func(name string) (bool, float64) {
			return w.some(name, func(v value) bool {
				p := n.Value
				if v.typ == catalog.Text {
					p = strings.ToLower(p)
				}
				return pattern(wildcard(p), false)(v)
			}), 1
		})
	case query.Bool:
		return w.boolean(n)
	case query.Nested:
		return w.nested(n)
	default:
		return false, 0
	}
}

func scored(ok bool, boost float64) (bool, float64) { return ok, cmp.Or(boost, 1) }

// strs are the texts that a value is compared by: its words if it is analysed.
func (v value) strs() []string {
	if v.typ == catalog.Text {
		return v.words
	}
	return []string{v.v}
}

func (v value) equals(q query.Value, fold bool) bool {
	s, _ := text(q)
	switch v.typ {
	case catalog.Text, catalog.Keyword:
		return slices.ContainsFunc(v.strs(), func(w string) bool {
			return w == s || fold && asciiLower(w) == asciiLower(s)
		})
	case catalog.IP:
		if p, err := netip.ParsePrefix(s); err == nil {
			a, _ := netip.ParseAddr(v.v)
			return p.Contains(a)
		}
	default:
	}
	return fits(v.typ, s) && compareAs(v.typ, v.v, s) == 0
}

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

func (v value) within(n query.Range) bool {
	return slices.ContainsFunc(v.strs(), func(s string) bool {
		for _, b := range []struct {
			v  query.Value
			ok func(int) bool
		}{
			{n.GT, func(c int) bool { return c > 0 }},
			{n.GTE, func(c int) bool { return c >= 0 }},
			{n.LT, func(c int) bool { return c < 0 }},
			{n.LTE, func(c int) bool { return c <= 0 }},
		} {
			if b.v == nil {
				continue
			}
			if q, _ := text(b.v); !fits(v.typ, q) || !b.ok(compareAs(v.typ, s, q)) {
				return false
			}
		}
		return true
	})
}

func pattern(expr string, fold bool) func(value) bool {
	same := func(s string) string { return s }
	if fold {
		same = asciiLower
	}
	re := regexp.MustCompile("(?s)^(?:" + same(expr) + ")$")
	return func(v value) bool {
		return (v.typ == catalog.Text || v.typ == catalog.Keyword) &&
			slices.ContainsFunc(v.strs(), func(s string) bool { return re.MatchString(same(s)) })
	}
}

func wildcard(s string) string {
	var sb strings.Builder
	for i, rs := 0, []rune(s); i < len(rs); i++ {
		switch r := rs[i]; {
		case r == '*':
			sb.WriteString(".*")
		case r == '?':
			sb.WriteByte('.')
		case r == '\\' && i+1 < len(rs):
			i++
			sb.WriteString(regexp.QuoteMeta(string(rs[i])))
		default:
			sb.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	return sb.String()
}
