package catalog

import (
	"encoding/json"
	"fmt"
	"strings"
)

// payloadPath is a way into a payload: members parted by dots; "name[]" goes through
// all items of a list.
type payloadPath []string

func parsePath(s string) (payloadPath, error) {
	parts := strings.Split(s, ".")
	for _, p := range parts {
		if strings.TrimSuffix(p, "[]") == "" || strings.ContainsAny(p, "{} ") {
			return nil, fmt.Errorf("%q is no path: members parted by dots, name[] for each item of a list", s)
		}
	}
	return parts, nil
}

// find follows the path; found is false if something on it is absent. A list on the
// way gives the list of what was found in its items.
func (p payloadPath) find(v any) (any, bool) {
	for i, part := range p {
		name, through := strings.CutSuffix(part, "[]")
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = m[name]; !ok {
			return nil, false
		}
		if !through {
			continue
		}
		items, ok := v.([]any)
		if !ok {
			return v, v == nil
		}
		found := make([]any, 0, len(items))
		for _, item := range items {
			if x, ok := p[i+1:].find(item); ok {
				found = append(found, x)
			}
		}
		return found, true
	}
	return v, true
}

// root is the top-level member that the path goes through.
func (p payloadPath) root() string {
	return strings.TrimSuffix(p[0], "[]")
}

// template is text with {path} in it, for ids that services put together.
type template struct {
	literal []string // one more than paths
	paths   []payloadPath
}

// parseTemplate reads "{account}/{container}"; without braces, the text is a path.
func parseTemplate(s string) (template, error) {
	if !strings.Contains(s, "{") {
		s = "{" + s + "}"
	}
	var t template
	for {
		before, rest, ok := strings.Cut(s, "{")
		t.literal = append(t.literal, before)
		if !ok {
			return t, nil
		}
		inner, after, ok := strings.Cut(rest, "}")
		if !ok {
			return t, fmt.Errorf("%q lacks a closing brace", s)
		}
		p, err := parsePath(inner)
		if err != nil {
			return t, err
		}
		t.paths = append(t.paths, p)
		s = after
	}
}

// fill puts the values in. ok is false if one is absent, empty, or no scalar.
func (t template) fill(v any) (string, bool) {
	var b strings.Builder
	for i, p := range t.paths {
		b.WriteString(t.literal[i])
		x, _ := p.find(v)
		s, ok := scalarText(x)
		if !ok || s == "" {
			return "", false
		}
		b.WriteString(s)
	}
	b.WriteString(t.literal[len(t.paths)])
	return b.String(), true
}

// scalarText is a scalar as text; ok is false for null, lists and objects.
func scalarText(v any) (s string, ok bool) {
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

// condition asks that what is at a path is one of some scalars.
type condition struct {
	path   payloadPath
	values map[string]bool
}

// meets reports whether all conditions hold; null counts as the text "null".
func meets(conds []condition, v any) bool {
	for _, c := range conds {
		x, _ := c.path.find(v)
		s, ok := scalarText(x)
		if !ok && x != nil {
			return false
		}
		if x == nil {
			s = "null"
		}
		if !c.values[s] {
			return false
		}
	}
	return true
}
