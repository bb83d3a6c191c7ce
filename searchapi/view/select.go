package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// selected are the members of a document that a search asked for; elements of lists
// have the path of their list.
func selected(doc json.RawMessage, src *query.Source) (json.RawMessage, error) {
	if src == nil || len(src.Include) == 0 && len(src.Exclude) == 0 {
		return doc, nil
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("select members: %w", err)
	}
	v, _ = pick(v, "", *src)
	if v == nil {
		v = map[string]any{}
	}
	return resource.Canonical(v)
}

// pick keeps what is included and not excluded; ok is false if that is nothing.
func pick(v any, path string, src query.Source) (any, bool) {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, m := range v {
			p := name
			if path != "" {
				p = path + "." + name
			}
			if kept, ok := member(m, p, src); ok {
				out[name] = kept
			}
		}
		return out, len(out) > 0
	case []any:
		var out []any
		for _, e := range v {
			if kept, ok := pick(e, path, src); ok {
				out = append(out, kept)
			}
		}
		return out, len(out) > 0
	default:
		return v, len(src.Include) == 0
	}
}

// member decides on one member. What is below an included path is included.
func member(v any, path string, src query.Source) (any, bool) {
	if matches(src.Exclude, path) {
		return nil, false
	}
	if len(src.Include) > 0 && matches(src.Include, path) {
		src.Include = nil
	}
	switch v.(type) {
	case map[string]any, []any:
		if kept, ok := pick(v, path, src); ok || len(src.Include) > 0 {
			return kept, ok
		}
		return v, !hasMembers(v)
	default:
		return v, len(src.Include) == 0
	}
}

// hasMembers reports whether a composite holds anything: an empty one is kept, one
// that was emptied is not.
func hasMembers(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return len(v) > 0
	case []any:
		return len(v) > 0
	default:
		return false
	}
}

func matches(patterns []string, path string) bool {
	for _, p := range patterns {
		if query.MatchName(strings.TrimSpace(p), path) {
			return true
		}
	}
	return false
}
