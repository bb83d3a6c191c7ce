package compile

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/resource/wire"
	"github.com/fresnel-search/fresnel/indexer/scalar"
	"github.com/fresnel-search/fresnel/indexer/sqlite/token"
)

// MaxValue is the longest string that is indexed whole, in bytes. Longer ones are
// shown, and the words of text fields are found, but no term equals them.
const MaxValue = 8 << 10

// Row is one row of the inverted table, without the document's number. Elem is 0
// for the document itself, else the ordinal of the nested element from 1.
type Row struct {
	Field int64
	Value Value
	Elem  int64
	Pos   int64
}

// Compare orders rows as the table does.
func (r Row) Compare(o Row) int {
	return cmp.Or(cmp.Compare(r.Field, o.Field), r.Value.Compare(o.Value),
		cmp.Compare(r.Elem, o.Elem), cmp.Compare(r.Pos, o.Pos))
}

// Rows returns what stands in the inverted table for a document, sorted and without
// doubles: nothing for ghosts and tombstones. Values that their field's type cannot
// hold are left out.
func (s *Schema) Rows(d *resource.Document) ([]Row, error) {
	ts := s.types[d.Ref.Type]
	if ts == nil || d.Ghost() || d.Deleted {
		return nil, nil
	}
	w := rowWriter{s: s, ts: ts, rows: make([]Row, 0, 2*len(d.Fields)+len(d.Readers))}
	for _, p := range d.Readers {
		w.add(s.reader, textValue(string(p)), 0, 0)
	}
	for name, raw := range d.Fields {
		v, err := decode(raw)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", name, err)
		}
		w.field(name, v)
	}
	slices.SortFunc(w.rows, Row.Compare)
	return slices.CompactFunc(w.rows, func(a, b Row) bool { return a.Compare(b) == 0 }), nil
}

func decode(raw json.RawMessage) (any, error) {
	if n := len(raw); n > 1 && raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : n-1]), nil
	}
	r := wire.NewReader(raw)
	v := r.Any()
	return v, r.Close()
}

type rowWriter struct {
	s    *Schema
	ts   *typeSchema
	rows []Row
}

func (w *rowWriter) add(field int64, v Value, elem, pos int64) {
	if len(v.s) <= MaxValue {
		w.rows = append(w.rows, Row{Field: field, Value: v, Elem: elem, Pos: pos})
	}
}

// field writes the rows of one register or derived set.
func (w *rowWriter) field(name string, v any) {
	if l, ok := w.ts.fields[name]; ok {
		w.leaf(l, v, 0)
		return
	}
	l, rest := w.ts.flattened(name)
	if l == nil { // undeclared and not under "other": shown, never searched
		return
	}
	w.flat(l, rest, v, l.hidden || w.ts.hides(name))
}

// hides reports whether a name, declared or not, is for operators only.
func (ts *typeSchema) hides(name string) bool {
	l := ts.fields[name]
	return l != nil && l.hidden || ts.t.Hidden(name)
}

func (w *rowWriter) leaf(l *leaf, v any, elem int64) {
	switch l.typ {
	case catalog.Nested:
		w.elements(l, v, elem)
	case catalog.Flattened:
		w.flat(l, "", v, l.hidden)
	case catalog.Text:
		w.text(l, values(v), elem)
	default:
		k := Key{l.name, Kind(l.typ), l.hidden}
		for _, one := range values(v) {
			if sp, ok := convert(k.Kind, one); ok {
				w.add(w.s.ids[k], sp.lo, elem, 0)
			}
		}
	}
}

// values are the scalars of a value or of a list, lists in lists included.
func values(v any) []any {
	switch v := v.(type) {
	case []any:
		var all []any
		for _, e := range v {
			all = append(all, values(e)...)
		}
		return all
	case nil, map[string]any:
		return nil
	default:
		return []any{v}
	}
}

func (w *rowWriter) text(l *leaf, vs []any, elem int64) {
	words := w.s.ids[Key{l.name, Token, l.hidden}]
	whole := w.s.ids[Key{l.raw(), Keyword, l.hidden}]
	base := 0
	for _, v := range vs {
		s, ok := scalar.Text(v)
		if !ok {
			continue
		}
		w.add(whole, textValue(s), elem, 0)
		last := -1
		for _, t := range token.Split(s) {
			w.add(words, textValue(t.Term), elem, int64(base+t.Pos))
			last = t.Pos
		}
		base += last + 1 + token.Gap
	}
}

// elements writes a nested field: each of its objects is one element.
func (w *rowWriter) elements(l *leaf, v any, elem int64) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	n := elem
	for _, e := range list {
		obj, ok := e.(map[string]any)
		if !ok {
			continue
		}
		if l.path == "" {
			n++
			w.add(w.s.ids[Key{l.name, Element, l.hidden}], intValue(0), n, 0)
		}
		for _, m := range l.members {
			if mv, ok := member(obj, m.rel); ok {
				w.leaf(m, mv, n)
			}
		}
	}
}

// member finds a dotted name in an object, as one key or through objects.
func member(obj map[string]any, name string) (any, bool) {
	if v, ok := obj[name]; ok {
		return v, v != nil
	}
	first, rest, ok := strings.Cut(name, ".")
	if !ok {
		return nil, false
	}
	inner, ok := obj[first].(map[string]any)
	if !ok {
		return nil, false
	}
	return member(inner, rest)
}

// flat writes the leaves of a flattened field.
func (w *rowWriter) flat(l *leaf, path string, v any, hidden bool) {
	switch v := v.(type) {
	case nil:
	case []any:
		for _, e := range v {
			w.flat(l, path, e, hidden)
		}
	case map[string]any:
		for key, e := range v {
			p := key
			if path != "" {
				p = path + "." + key
			}
			w.flat(l, p, e, hidden || w.ts.hides(l.name+"."+p))
		}
	default:
		s, ok := scalar.Text(v)
		if !ok || len(s) > MaxValue {
			return
		}
		w.add(w.s.ids[Key{l.name, Keyword, hidden}], textValue(s), 0, 0)
		if path != "" {
			w.add(w.s.ids[Key{l.name, Pair, hidden}], textValue(pair(path, s)), 0, 0)
		}
	}
}

// The separator of a flattened leaf's path and value, and the byte after it. Zero
// would end a text for some of SQLite's functions.
const (
	pairSep = "\x01"
	pairEnd = "\x02"
)

func pair(path, value string) string { return pairPath(path) + pairSep + value }

func pairPath(path string) string { return strings.ReplaceAll(path, pairSep, pairEnd) }

// SortKeys packs the id and, for every field that can be sorted by, the smallest
// and the largest value of a document's rows.
func (s *Schema) SortKeys(id string, rows []Row) []byte {
	b := binary.AppendUvarint(make([]byte, 0, 16*len(rows)), uint64(len(id)))
	b = append(b, id...)
	for i := 0; i < len(rows); {
		j := i + 1
		for j < len(rows) && rows[j].Field == rows[i].Field {
			j++
		}
		if rows[i].Elem == 0 && s.sortable(rows[i].Field) {
			b = binary.AppendUvarint(b, uint64(rows[i].Field))
			b = appendValue(b, rows[i].Value)
			b = appendValue(b, rows[j-1].Value)
		}
		i = j
	}
	return b
}

func (s *Schema) sortable(field int64) bool {
	switch s.kinds[field] {
	case Token, Pair, Element, Reader:
		return false
	default:
		return true
	}
}
