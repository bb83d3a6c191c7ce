// Package catalog knows the resource types: one YAML file each says which
// notifications concern it, how a payload becomes fields, and who may see it.
// It turns notifications into mutations and tells stores and searches what fields
// there are.
//
// It is pure: it reads no topic and no store, and folds nothing. Its invariant: the
// same catalogue makes the same mutations of the same notification, byte for byte,
// and nothing reaches a mutation that a rule does not let through.
package catalog

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/fresnel-search/fresnel/indexer/fold"
)

// FieldType is how a field is stored and searched.
type FieldType string

// The field types. Text is analysed and has an unanalysed twin NAME.raw; Nested is
// an array of objects that are searched one by one; Flattened holds any JSON and is
// searched by its leaves as keywords.
const (
	Keyword   FieldType = "keyword"
	Text      FieldType = "text"
	Date      FieldType = "date"
	Long      FieldType = "long"
	Double    FieldType = "double"
	Boolean   FieldType = "boolean"
	IP        FieldType = "ip"
	Flattened FieldType = "flattened"
	Nested    FieldType = "nested"
)

// Other is the flattened field that takes what the catalogue does not declare: in
// Document.Fields each unknown key has a register of its own, "other.KEY".
const Other = "other"

// Itself as a Field's Set says that the elements are scalars and their own keys.
const Itself = "."

// Field is one declared field. Its name may have dots: flavor.id is member id of
// object flavor in the document.
type Field struct {
	Name        string
	Type        FieldType
	Set         string // the member of an element that is its key, or Itself; empty if the field is no set
	AdminOnly   bool   // only operators see it
	Facet       bool   // facets list it
	Options     bool   // facets list its values
	Link        string // the type of the resource that it names
	Description string
	Fields      []Field // of a nested field's elements, names relative to it
}

// Type is one resource type.
type Type struct {
	Name        string // OS::Nova::Server
	Service     string // nova
	ServiceType string // compute: the Keystone catalogue's name for the service
	Plural      string // servers: for URLs
	Description string
	Fields      []Field // sorted by name
	// AdminOnly are globs of field names, declared or not, that only operators see.
	AdminOnly []string
	// AdminType says that only admins may see resources of this type at all.
	AdminType bool
	Rules     fold.Rules
	// Rest is where the service lists its resources.
	Rest Rest

	hidden *memo[bool] // what Hidden has said; nil remembers nothing
	fields map[string]Field
	rules  []*rule
}

// Rest declares a service's REST collection, for a backfill.
type Rest struct {
	Path   string            // /v2.0/networks, below the service's endpoint
	List   string            // the member that holds the list: networks
	Item   string            // the path of one resource with {id}, if the list shows too little
	Params map[string]string // of the query
}

// Catalog is a set of resource types. It is immutable and safe for concurrent use.
type Catalog struct {
	types []*Type
	index map[string]*Type
	exact map[string][]*rule // by event type, in the order of types and rules
	wild  []*rule            // rules with a pattern, in the same order
	known memo[[]*rule]      // what candidates has found
}

// Types returns all types, sorted by name.
func (c *Catalog) Types() []*Type { return slices.Clone(c.types) }

// Type returns the type of that name, nil if there is none.
func (c *Catalog) Type(name string) *Type { return c.index[name] }

// Children returns the types that name parentType as their parent, sorted.
func (c *Catalog) Children(parentType string) []string {
	var names []string
	for _, t := range c.types {
		if slices.ContainsFunc(t.Rules.Parents, func(p fold.Parent) bool { return p.Type == parentType }) {
			names = append(names, t.Name)
		}
	}
	return names
}

// Field finds a field by the name that a search may use: a declared one, its NAME.raw
// (a keyword), NAME.MEMBER of a nested or flattened one, other and other.KEY. The
// Field returned has the name asked for.
func (t *Type) Field(name string) (Field, bool) {
	if f, ok := t.fields[name]; ok {
		return f, true
	}
	if base, ok := strings.CutSuffix(name, ".raw"); ok {
		if f, ok := t.Field(base); ok && f.Type == Text {
			f.Name, f.Type = name, Keyword
			return f, true
		}
	}
	for at := strings.IndexByte(name, '.'); at > 0; {
		if f, ok := t.fields[name[:at]]; ok {
			return member(f, name, name[at+1:])
		}
		next := strings.IndexByte(name[at+1:], '.')
		if next < 0 {
			break
		}
		at += 1 + next
	}
	return Field{}, false
}

// member finds what is below a nested or flattened field.
func member(f Field, name, rest string) (Field, bool) {
	if f.Type == Flattened && rest != "" {
		return Field{Name: name, Type: Keyword, AdminOnly: f.AdminOnly}, true
	}
	for _, m := range f.Fields {
		switch {
		case m.Name == rest:
			m.Name, m.AdminOnly = name, m.AdminOnly || f.AdminOnly
			return m, true
		case m.Type == Text && m.Name+".raw" == rest:
			m.Name, m.Type, m.AdminOnly = name, Keyword, m.AdminOnly || f.AdminOnly
			return m, true
		case strings.HasPrefix(rest, m.Name+"."):
			m.AdminOnly = m.AdminOnly || f.AdminOnly
			return member(m, name, rest[len(m.Name)+1:])
		}
	}
	return Field{}, false
}

// Hidden reports whether a field, a member of one or its .raw is for operators only.
// An undeclared name is hidden if a glob of AdminOnly says so.
func (t *Type) Hidden(field string) bool {
	if t.hidden == nil {
		return t.hides(field)
	}
	verdict, ok := t.hidden.get(field)
	if !ok {
		verdict = t.hides(field)
		t.hidden.put(field, verdict)
	}
	return verdict
}

func (t *Type) hides(field string) bool {
	if f, ok := t.Field(field); ok && f.AdminOnly {
		return true
	}
	for name := parentName(field); name != ""; name = parentName(name) {
		if t.fields[name].AdminOnly {
			return true
		}
	}
	for _, glob := range t.AdminOnly {
		if glob == field+".*" {
			return true
		}
		for name := field; name != ""; name = parentName(name) {
			if match(glob, name) {
				return true
			}
		}
	}
	return false
}

// parentName cuts the last part off a dotted name.
func parentName(name string) string {
	return name[:max(0, strings.LastIndexByte(name, '.'))]
}

// match reports whether a name matches a glob; "/" is nothing special in names.
func match(glob, name string) bool {
	if !strings.ContainsAny(glob, `*?[\`) {
		return glob == name
	}
	if prefix, ok := strings.CutSuffix(glob, "*"); ok && !strings.ContainsAny(prefix, `*?[\`) {
		return strings.HasPrefix(name, prefix)
	}
	ok, err := path.Match(strings.ReplaceAll(glob, "/", "|"), strings.ReplaceAll(name, "/", "|"))
	return err == nil && ok
}

// assemble makes a catalogue of compiled types.
func assemble(types map[string]*Type) *Catalog {
	c := &Catalog{index: types, exact: map[string][]*rule{}}
	for _, name := range slices.Sorted(maps.Keys(types)) {
		t := types[name]
		c.types = append(c.types, t)
		for _, r := range t.rules {
			for _, pattern := range r.events {
				if strings.ContainsAny(pattern, "*?[") {
					c.wild = append(c.wild, r)
					break
				}
				c.exact[pattern] = append(c.exact[pattern], r)
			}
		}
	}
	for _, t := range c.types {
		t.Rules.Cascades = len(c.Children(t.Name)) > 0
	}
	return c
}
