package layout

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"github.com/fresnel-search/fresnel/indexer/resource/wire"
)

// leafScanner writes the keywords of flattened values as items of JSON lists, of the
// values' bytes as they are. What it cannot read so goes through leafWriter.
type leafScanner struct {
	l    *Layout
	out  [2][]byte // what all may search, what only operators may
	root string
	path []byte
}

// veil says who may search the members of a flattened field.
type veil int

const (
	open   veil = iota // everybody all of them
	veiled             // operators all of them
	mixed              // it depends on the member
)

// veilOf is how the globs veil a flattened field. A glob that matches the field, or
// is its name and ".*", matches everything below it.
func (l *Layout) veilOf(root string) veil {
	switch {
	case l.globs.Hidden(root):
		return veiled
	case len(Concern(l.AdminOnly, root)) > 0:
		return mixed
	default:
		return open
	}
}

func (s *leafScanner) reset(l *Layout) {
	s.l = l
	s.out[0], s.out[1] = s.out[0][:0], s.out[1][:0]
}

// field writes the keywords of one register; raw is compact JSON.
func (s *leafScanner) field(root, name string, raw json.RawMessage) error {
	if len(raw)+len(name) > maxPath || bytes.IndexByte(raw, '\\') >= 0 || !utf8.Valid(raw) || !plain(name) {
		w := leafWriter{hidden: s.l.globs.Hidden, has: map[string]bool{}}
		if err := w.field(root, name, raw); err != nil {
			return err
		}
		for i, list := range [...][]string{w.seen, w.veiled} {
			for _, leaf := range list {
				s.out[i] = wire.AppendString(comma(s.out[i], len(s.out[i]) > 0), leaf)
			}
		}
		return nil
	}
	s.root, s.path = root, append(s.path[:0], name...)
	s.leaf(raw, s.narrow(s.l.veils[root]))
	return nil
}

// plain reports whether a name stands in JSON as it is.
func plain(name string) bool {
	for i := range len(name) {
		if c := name[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// narrow decides what is mixed for the path that the scanner is at: what is hidden is
// hidden with all below it.
func (s *leafScanner) narrow(v veil) veil {
	if v == mixed && s.l.globs.Hidden(string(s.path)) {
		return veiled
	}
	return v
}

func (s *leafScanner) leaf(v []byte, how veil) {
	switch v[0] {
	case 'n':
	case '[':
		items(v, func(v []byte) bool {
			s.leaf(v, how)
			return true
		})
	case '{':
		at := len(s.path)
		members(v, func(name, v []byte) bool {
			s.path = append(append(s.path[:at], '.'), name...)
			s.leaf(v, s.narrow(how))
			return true
		})
		s.path = s.path[:at]
	case '"':
		s.add(v[1:len(v)-1], how)
	default:
		s.add(v, how)
	}
}

func (s *leafScanner) add(value []byte, how veil) {
	list := &s.out[0]
	if how == veiled {
		list = &s.out[1]
	}
	b := append(append(comma(*list, len(*list) > 0), '"'), s.root...)
	b = append(append(append(b, `\u0001`...), value...), '"')
	if string(s.path) != s.root {
		b = append(append(b, ',', '"'), s.path...)
		b = append(append(append(b, `\u0001`...), value...), '"')
	}
	*list = b
}
