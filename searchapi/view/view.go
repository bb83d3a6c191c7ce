// Package view shows documents as a scope sees them: without what is for operators
// only, with the members that were asked for, with the revision that the scope counts.
//
// It finds nothing and knows no store; every store shows its hits through it. Its
// invariant: a scope without Hidden is shown no field, and no member of one, that the
// catalogue hides now, however the document was stored.
package view

import (
	"encoding/json"
	"fmt"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/resource/wire"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// View knows what each type hides. It is immutable and safe for concurrent use.
type View struct{ types map[string]*mask }

// New makes the view of the types.
func New(types []*catalog.Type) *View {
	v := &View{types: make(map[string]*mask, len(types))}
	for _, t := range types {
		v.types[t.Name] = newMask(t)
	}
	return v
}

// mask is what one type hides.
type mask struct {
	t      *catalog.Type
	hidden map[string]bool // declared names, of members with their field's before them
	veiled bool            // members inside of fields may be hidden one by one
}

func newMask(t *catalog.Type) *mask {
	m := &mask{t: t, hidden: map[string]bool{}, veiled: len(t.AdminOnly) > 0}
	for _, f := range t.Fields {
		m.add(f, f.Name, false)
	}
	return m
}

func (m *mask) add(f catalog.Field, name string, within bool) {
	hidden := within || f.AdminOnly || m.t.Hidden(name)
	if hidden {
		m.hidden[name] = true
	}
	for _, inner := range f.Fields {
		m.add(inner, name+"."+inner.Name, hidden)
		m.veiled = m.veiled || m.hidden[name+"."+inner.Name] && !hidden
	}
}

func (m *mask) hides(name string) bool { return m.hidden[name] || m.t.Hidden(name) }

// Hit shows a document to a scope, without score and sort values.
func (v *View) Hit(d *resource.Document, scope *query.Scope, src *query.Source) (query.Hit, error) {
	h := query.Hit{Ref: d.Ref, Revision: d.TenantRevision}
	if scope.Hidden {
		h.Revision = d.Revision
	}
	shown := v.Fields(d.Ref.Type, d.Fields, scope)
	if _, ok := shown["id"]; !ok {
		id, err := resource.Canonical(d.Ref.ID)
		if err != nil {
			return h, fmt.Errorf("id of %s: %w", d.Ref, err)
		}
		shown["id"] = id
	}
	var err error
	h.Source, err = selected(resource.Render(shown), src)
	return h, err
}

// Fields are the fields of a document that a scope sees. For a scope with Hidden that
// is the map given; else it is left as it is. Of an unknown type nothing is visible.
func (v *View) Fields(typ string, fields map[string]json.RawMessage, scope *query.Scope) map[string]json.RawMessage {
	if scope.Hidden {
		return fields
	}
	out := make(map[string]json.RawMessage, len(fields)+1)
	m := v.types[typ]
	if m == nil {
		return out
	}
	for name, raw := range fields {
		if m.hides(name) {
			continue
		}
		if m.veiled && len(raw) > 0 && (raw[0] == '{' || raw[0] == '[') {
			raw = m.visibleMembers(name, raw)
		}
		if raw != nil {
			out[name] = raw
		}
	}
	return out
}

// visibleMembers drops hidden members; nil if the value is no JSON.
func (m *mask) visibleMembers(name string, raw json.RawMessage) json.RawMessage {
	r := wire.NewReader(raw)
	v := r.Any()
	if r.Close() != nil {
		return nil
	}
	if !m.dropHidden(name, v) {
		return raw
	}
	kept, err := resource.Canonical(v)
	if err != nil {
		return nil
	}
	return kept
}

// dropHidden reports whether it dropped anything.
func (m *mask) dropHidden(path string, v any) (dropped bool) {
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			if p := path + "." + key; m.hides(p) {
				delete(v, key)
				dropped = true
			} else if m.dropHidden(p, inner) {
				dropped = true
			}
		}
	case []any:
		for _, e := range v {
			dropped = m.dropHidden(path, e) || dropped
		}
	}
	return dropped
}
