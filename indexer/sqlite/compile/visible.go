package compile

import (
	"encoding/json"
	"strings"

	"github.com/fresnel-search/fresnel/indexer/resource"
)

// Visible returns the fields of a document without what is for operators only:
// whole fields, and members inside of fields. The map given is left as it is. Of an
// unknown type nothing is visible.
func (s *Schema) Visible(typ string, fields map[string]json.RawMessage) map[string]json.RawMessage {
	out := make(map[string]json.RawMessage, len(fields)+1)
	ts := s.types[typ]
	if ts == nil {
		return out
	}
	for name, raw := range fields {
		if ts.hides(name) {
			continue
		}
		if ts.veiled && len(raw) > 0 && (raw[0] == '{' || raw[0] == '[') {
			raw = ts.visibleMembers(name, raw)
		}
		if raw != nil {
			out[name] = raw
		}
	}
	return out
}

// visibleMembers drops hidden members; nil if the value is no JSON.
func (ts *typeSchema) visibleMembers(name string, raw json.RawMessage) json.RawMessage {
	v, err := decode(raw)
	if err != nil {
		return nil
	}
	if !ts.dropHidden(name, v) {
		return raw
	}
	kept, err := resource.Canonical(v)
	if err != nil {
		return nil
	}
	return kept
}

// dropHidden reports whether it dropped anything.
func (ts *typeSchema) dropHidden(path string, v any) (dropped bool) {
	switch v := v.(type) {
	case map[string]any:
		for key, m := range v {
			if p := path + "." + key; ts.hides(p) {
				delete(v, key)
				dropped = true
			} else if ts.dropHidden(p, m) {
				dropped = true
			}
		}
	case []any:
		for _, e := range v {
			dropped = ts.dropHidden(path, e) || dropped
		}
	}
	return dropped
}

// GlobMatch matches a dotted path with * for any characters.
func GlobMatch(pattern, path string) bool { return globMatch(strings.TrimSpace(pattern), path) }

// NumberJSON and TextJSON are values of their types as answers show them.
func NumberJSON(f float64) json.RawMessage { return floatValue(f).JSON() }

// TextJSON is a text as answers show it.
func TextJSON(s string) json.RawMessage { return textValue(s).JSON() }
