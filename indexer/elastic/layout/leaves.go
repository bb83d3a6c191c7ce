package layout

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/resource/wire"
)

// What stands in flattened fields is searched through keywords of our own and not
// through the servers' field types: those of Elasticsearch know no wildcard and no
// object, OpenSearch's neither sort nor, in version 2, exists; and a hidden member
// would count for the field as a whole. Each leaf makes two keywords, one under the
// whole field's name and one under its own path: that {"rack":{"row":"a1"}} stands in
// metadata makes Leaf("metadata", "a1") and Leaf("metadata.rack.row", "a1"). The
// field itself is an object that is not indexed.
const (
	Leaves       = "leaves"        // keyword: of members that all may search
	VeiledLeaves = "veiled_leaves" // keyword: of members that only operators may
)

// maxPath is the longest path that a leaf is indexed under, in bytes: with a value it
// stays below what Lucene takes.
const maxPath = 4 << 10

// leafEnd ends a leaf's path; no path holds it.
const leafEnd = "\x01"

// LeafPath is what the keywords of all leaves at a path begin with.
func LeafPath(path string) string { return strings.ReplaceAll(path, leafEnd, "\x02") + leafEnd }

// LeafBelow is what the keywords of all leaves below a path begin with.
func LeafBelow(path string) string { return strings.ReplaceAll(path, leafEnd, "\x02") + "." }

// LeafAfter is the first text after the keywords of all leaves at a path.
func LeafAfter(path string) string { return strings.ReplaceAll(path, leafEnd, "\x02") + "\x02" }

// Leaf is the keyword of a leaf.
func Leaf(path, value string) string { return LeafPath(path) + value }

// LeavesOf returns the keywords of what stands in a document's flattened fields, in
// no order: what all may search, and what only operators may by AdminOnly. Encode
// writes the same ones, and mostly without decoding what it writes them of.
func (l *Layout) LeavesOf(fields map[string]json.RawMessage) (seen, veiled []string, err error) {
	w := leafWriter{hidden: l.globs.Hidden, has: map[string]bool{}}
	for name, raw := range fields {
		if root := l.flattened(name); root != "" {
			if err := w.field(root, name, raw); err != nil {
				return nil, nil, err
			}
		}
	}
	return w.seen, w.veiled, nil
}

func (w *leafWriter) field(root, name string, raw json.RawMessage) error {
	r := wire.NewReader(raw)
	v := r.Any()
	if err := r.Close(); err != nil {
		return err
	}
	w.root = root
	w.leaf(name, v, w.hidden(name))
	return nil
}

// flattened is the flattened field that a register belongs to: itself, or the one
// that its name is a path in.
func (l *Layout) flattened(name string) string {
	for at := len(name); at > 0; at = strings.LastIndexByte(name[:at], '.') {
		if f := l.index[name[:at]]; f != nil {
			if f.Type == catalog.Flattened {
				return name[:at]
			}
			return ""
		}
	}
	return ""
}

type leafWriter struct {
	hidden       func(name string) bool
	root         string
	seen, veiled []string
	has          map[string]bool
}

func (w *leafWriter) leaf(path string, v any, hidden bool) {
	switch v := v.(type) {
	case nil:
	case []any:
		for _, e := range v {
			w.leaf(path, e, hidden)
		}
	case map[string]any:
		for key, e := range v {
			p := path + "." + key
			w.leaf(p, e, hidden || w.hidden(p))
		}
	default:
		if s, ok := scalarText(v); ok && len(s) <= MaxValue && len(path) <= maxPath && utf8.ValidString(s) {
			w.add(Leaf(w.root, s), hidden)
			if path != w.root {
				w.add(Leaf(path, s), hidden)
			}
		}
	}
}

func (w *leafWriter) add(s string, hidden bool) {
	switch {
	case hidden:
		if !w.has["h"+s] {
			w.has["h"+s] = true
			w.veiled = append(w.veiled, s)
		}
	case !w.has["s"+s]:
		w.has["s"+s] = true
		w.seen = append(w.seen, s)
	}
}

// scalarText is the text of a JSON scalar.
func scalarText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		if v {
			return "true", true
		}
		return "false", true
	default:
		return "", false
	}
}
