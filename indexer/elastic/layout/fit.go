package layout

import (
	"bytes"
	"encoding/json"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/resource/wire"
)

// fits reports whether a server takes a value for the field as it is, meaning what
// the catalogue means. v is compact JSON.
func (f *Field) fits(v []byte) bool {
	switch {
	case f.Type == catalog.Flattened:
		return true // not indexed here
	case f.Type == catalog.Nested && v[0] == '{':
		return f.element(v)
	case f.Type == catalog.Nested:
		return v[0] == '[' && items(v, f.element)
	case v[0] == '[':
		return items(v, f.scalar)
	default:
		return f.scalar(v)
	}
}

// element reports whether all members of an element are declared and fit.
func (f *Field) element(v []byte) bool {
	return v[0] == '{' && members(v, func(name, v []byte) bool {
		for i := range f.Fields {
			if f.Fields[i].Name == string(name) {
				return f.Fields[i].fits(v)
			}
		}
		return false
	})
}

func (f *Field) scalar(v []byte) bool {
	switch f.Type {
	case catalog.Long:
		if len(v) < 18 && bytes.IndexByte(v, '.') < 0 && bytes.IndexByte(v, 'e') < 0 && bytes.IndexByte(v, 'E') < 0 {
			return v[0] == '-' || v[0] >= '0' && v[0] <= '9'
		}
		_, err := strconv.ParseInt(string(v), 10, 64)
		return err == nil
	case catalog.Double:
		if v[0] == '"' {
			return false
		}
		f, err := strconv.ParseFloat(string(v), 64)
		return err == nil && !math.IsInf(f, 0)
	case catalog.Boolean:
		return v[0] == 't' || v[0] == 'f'
	case catalog.Date:
		if v[0] != '"' {
			return false
		}
		t, err := time.Parse(time.RFC3339, string(v[1:len(v)-1]))
		return err == nil && t.Year() > 0
	case catalog.IP:
		if v[0] != '"' {
			return false
		}
		a, err := netip.ParseAddr(string(v[1 : len(v)-1]))
		return err == nil && a.Zone() == ""
	default:
		return v[0] == '"'
	}
}

// convert makes what is indexed of a value that does not fit: what of it the field can
// hold.
func (f *Field) convert(v json.RawMessage) (json.RawMessage, bool) {
	r := wire.NewReader(v)
	x := r.Any()
	if r.Close() != nil {
		return nil, false
	}
	x, ok := f.indexed(x)
	if !ok {
		return nil, false
	}
	out, err := resource.Canonical(x)
	return out, err == nil
}

// indexed is what of a decoded value a field can hold; ok is false for nothing.
func (f *Field) indexed(v any) (any, bool) {
	switch f.Type {
	case catalog.Nested:
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		out := []any{}
		for _, e := range list {
			if obj, ok := e.(map[string]any); ok {
				out = append(out, f.indexedElement(obj))
			}
		}
		return out, len(out) > 0
	case catalog.Flattened:
		return v, true
	default:
	}
	out := []any{}
	for _, one := range scalars(v) {
		if c, ok := f.converted(one); ok {
			out = append(out, c)
		}
	}
	return out, len(out) > 0
}

func (f *Field) indexedElement(obj map[string]any) map[string]any {
	out := map[string]any{}
	for i := range f.Fields {
		m := &f.Fields[i]
		if v, ok := find(obj, m.Name); ok {
			if v, ok := m.indexed(v); ok {
				out[m.Name] = v
			}
		}
	}
	return out
}

// find finds a dotted name in an object, as one key or through objects.
func find(obj map[string]any, name string) (any, bool) {
	if v, ok := obj[name]; ok {
		return v, v != nil
	}
	first, rest, ok := strings.Cut(name, ".")
	if inner, is := obj[first].(map[string]any); ok && is {
		return find(inner, rest)
	}
	return nil, false
}

// scalars are the texts of a value or of a list, lists in lists included.
func scalars(v any) (out []string) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			out = append(out, scalars(e)...)
		}
	case string:
		out = append(out, v)
	case json.Number:
		out = append(out, v.String())
	case bool:
		out = append(out, strconv.FormatBool(v))
	}
	return out
}

func (f *Field) converted(s string) (any, bool) {
	switch f.Type {
	case catalog.Long:
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n, true
		}
		x, err := strconv.ParseFloat(s, 64)
		return int64(x), err == nil && math.Abs(x) < 1<<63
	case catalog.Double:
		x, err := strconv.ParseFloat(s, 64)
		return x, err == nil && !math.IsInf(x, 0) && !math.IsNaN(x)
	case catalog.Boolean:
		return s == "true", s == "true" || s == "false"
	case catalog.Date:
		return moment(s)
	case catalog.IP:
		if p, err := netip.ParsePrefix(s); err == nil {
			return p.Masked().Addr().String(), true
		}
		a, err := netip.ParseAddr(s)
		return a.WithZone("").String(), err == nil
	default:
		return s, true
	}
}

// moment reads the usual forms of a time, and milliseconds since 1970.
func moment(s string) (any, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && len(s) != 4 {
		return n, true
	}
	for _, form := range []string{
		time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05Z0700",
		"2006-01-02T15:04:05Z07", "2006-01-02", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02T15", "2006-01", "2006",
	} {
		if t, err := time.Parse(form, s); err == nil && t.Year() > 0 {
			return t.UTC().Format(time.RFC3339Nano), true
		}
	}
	return nil, false
}
