package dsl

import (
	"maps"
	"slices"
	"strings"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// Index is one index as searches see it: what it has, and what of that is hidden now.
// It is immutable and safe for concurrent use.
type Index struct {
	name   string // as _index gives it
	typ    *catalog.Type
	fields map[string]*leaf    // by full name
	names  map[string][]string // by nested field
	kinds  map[string]kind     // of all fields of the index, hidden ones too
}

// leaf is a declared field, or a member of a nested field's elements.
type leaf struct {
	name   string
	typ    catalog.FieldType
	path   string // the nested field that it is in; empty at the root
	hidden bool
	// Of a flattened field: some members stand among the veiled leaves, and the index
	// veils the members that the catalogue hides.
	split, agrees bool
}

// NewIndex joins what an index has by its layout with what the catalogue says of the
// type now: a field is searched as the index has it if both declare it. Name is the
// name of the index itself, not of an alias.
func NewIndex(name string, l *layout.Layout, now *catalog.Type) *Index {
	ix := &Index{name: name, typ: now, fields: map[string]*leaf{}, names: map[string][]string{}, kinds: map[string]kind{}}
	current := layout.Of(now)
	for _, f := range l.Fields {
		ix.addKind(f, f.Name)
		cf, ok := declared(now.Fields, f.Name)
		if !ok && f.Name != catalog.Other {
			continue
		}
		lf := &leaf{name: f.Name, typ: f.Type, hidden: cf.AdminOnly || now.Hidden(f.Name)}
		if f.Type == catalog.Flattened {
			lf.split = len(layout.Concern(l.AdminOnly, f.Name)) > 0
			lf.agrees = l.Agrees(f.Name, current)
		}
		ix.fields[f.Name] = lf
		for _, m := range f.Fields {
			ix.addMember(lf, m, cf)
		}
	}
	ix.listNames()
	return ix
}

// addMember adds a member of a nested field. Elements in elements are not searched.
func (ix *Index) addMember(in *leaf, m layout.Field, cf catalog.Field) {
	cm, ok := declared(cf.Fields, m.Name)
	if !ok || m.Type == catalog.Nested || m.Type == catalog.Flattened {
		return
	}
	name := in.name + "." + m.Name
	ix.fields[name] = &leaf{
		name: name, typ: m.Type, path: in.name, hidden: in.hidden || cm.AdminOnly || ix.typ.Hidden(name),
	}
}

// addKind notes what a field of the index is.
func (ix *Index) addKind(f layout.Field, name string) {
	switch f.Type {
	case catalog.Nested:
		for _, m := range f.Fields {
			ix.addKind(m, name+"."+m.Name)
		}
	case catalog.Text:
		ix.kinds[field(name)] = word
		ix.kinds[field(name)+"."+layout.Raw] = keyword
	default:
		ix.kinds[field(name)] = kind(f.Type)
	}
}

func declared(fields []catalog.Field, name string) (catalog.Field, bool) {
	i := slices.IndexFunc(fields, func(f catalog.Field) bool { return f.Name == name })
	if i < 0 {
		return catalog.Field{}, false
	}
	return fields[i], true
}

// listNames gathers the names that a caller may use in each nested scope, sorted.
func (ix *Index) listNames() {
	for _, name := range slices.Sorted(maps.Keys(ix.fields)) {
		l := ix.fields[name]
		if l.typ == catalog.Nested {
			continue
		}
		ix.names[l.path] = append(ix.names[l.path], name)
		if l.typ == catalog.Text {
			ix.names[l.path] = append(ix.names[l.path], name+"."+layout.Raw)
		}
	}
}

// kind is how the values of a target are compared.
type kind string

const (
	word    kind = "word"    // words of a text field
	keyword kind = "keyword" // whole strings
	long    kind = "long"
	double  kind = "double"
	date    kind = "date"
	boolean kind = "boolean"
	ip      kind = "ip"
	flat    kind = "flattened" // leaves of a flattened field
)

// target is where a query looks for the values of one field of one type.
type target struct {
	kind   kind
	fields []string // of the index; a flattened one has up to two
	path   string   // of leaves: what their keywords begin with
	whole  bool     // the flattened field itself and not a path in it
}

// lookup finds where the values of a field stand. A field that is unknown, hidden or
// out of the nested scope has no place.
func (ix *Index) lookup(name, nested string, scope *query.Scope) (target, bool) {
	if l := ix.fields[name]; l != nil {
		return ix.target(l, name, nested, scope)
	}
	if base, ok := strings.CutSuffix(name, "."+layout.Raw); ok {
		if l := ix.fields[base]; l != nil && l.typ == catalog.Text {
			return target{kind: keyword, fields: []string{field(name)}}, l.visible(nested, scope)
		}
	}
	if l := ix.flattened(name); l != nil {
		return ix.target(l, name, nested, scope)
	}
	return target{}, false
}

func (ix *Index) target(l *leaf, name, nested string, scope *query.Scope) (target, bool) {
	if !l.visible(nested, scope) {
		return target{}, false
	}
	switch l.typ {
	case catalog.Nested:
		return target{}, false
	case catalog.Text:
		return target{kind: word, fields: []string{field(name)}}, true
	case catalog.Flattened:
		t := target{kind: flat, path: name, whole: name == l.name}
		switch { // a hidden member is like one that no document has
		case scope.Hidden && l.split:
			t.fields = []string{layout.Leaves, layout.VeiledLeaves}
		case scope.Hidden || l.agrees && !ix.typ.Hidden(name):
			t.fields = []string{layout.Leaves}
		}
		return t, true
	default:
		return target{kind: kind(l.typ), fields: []string{field(name)}}, true
	}
}

func (l *leaf) visible(nested string, scope *query.Scope) bool {
	return l.path == nested && (scope.Hidden || !l.hidden)
}

// flattened finds the flattened field that name is a path in.
func (ix *Index) flattened(name string) *leaf {
	for i := len(name) - 1; i > 0; i-- {
		if name[i] != '.' {
			continue
		}
		if l := ix.fields[name[:i]]; l != nil {
			if l.typ == catalog.Flattened {
				return l
			}
			return nil
		}
	}
	return nil
}

// hasLeaves reports whether the index, hidden or not, has leaves at a path.
func (ix *Index) hasLeaves(path string) bool {
	for at := len(path); at > 0; at = strings.LastIndexByte(path[:at], '.') {
		if ix.kinds[field(path[:at])] == flat {
			return true
		}
	}
	return false
}

// field is the index's field of a declared name.
func field(name string) string { return layout.Fields + "." + name }

// expand finds the targets of a field name in which * stands for any characters.
func (ix *Index) expand(pattern, nested string, scope *query.Scope) (targets []target) {
	if !strings.Contains(pattern, "*") {
		if t, ok := ix.lookup(pattern, nested, scope); ok {
			return []target{t}
		}
		return nil
	}
	for _, name := range ix.names[nested] {
		if query.MatchName(pattern, name) {
			if t, ok := ix.lookup(name, nested, scope); ok {
				targets = append(targets, t)
			}
		}
	}
	return targets
}
