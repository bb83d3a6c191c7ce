package compile

import (
	"encoding/json"
	"strings"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/resource"
)

// Visible returns the fields without what is for operators only: whole fields, and
// members inside of fields. The map given is left as it is.
func Visible(t *catalog.Type, fields map[string]json.RawMessage) map[string]json.RawMessage {
	deep := len(t.AdminOnly) > 0
	for _, f := range t.Fields {
		deep = deep || veiledMember(f)
	}
	out := make(map[string]json.RawMessage, len(fields)+1)
	for name, raw := range fields {
		if t.Hidden(name) {
			continue
		}
		if deep && len(raw) > 0 && (raw[0] == '{' || raw[0] == '[') {
			raw = visibleMembers(t, name, raw)
		}
		if raw != nil {
			out[name] = raw
		}
	}
	return out
}

func veiledMember(f catalog.Field) bool {
	for _, m := range f.Fields {
		if m.AdminOnly || veiledMember(m) {
			return true
		}
	}
	return false
}

// visibleMembers drops hidden members; nil if the value is no JSON.
func visibleMembers(t *catalog.Type, name string, raw json.RawMessage) json.RawMessage {
	v, err := decode(raw)
	if err != nil {
		return nil
	}
	if !dropHidden(t, name, v) {
		return raw
	}
	kept, err := resource.Canonical(v)
	if err != nil {
		return nil
	}
	return kept
}

// dropHidden reports whether it dropped anything.
func dropHidden(t *catalog.Type, path string, v any) (dropped bool) {
	switch v := v.(type) {
	case map[string]any:
		for key, m := range v {
			if p := path + "." + key; t.Hidden(p) {
				delete(v, key)
				dropped = true
			} else if dropHidden(t, p, m) {
				dropped = true
			}
		}
	case []any:
		for _, e := range v {
			dropped = dropHidden(t, path, e) || dropped
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
