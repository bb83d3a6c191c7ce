package catalog

import (
	"maps"

	"gopkg.in/yaml.v3"
)

// typeSpec is one resource type as its files say it, before it is compiled.
type typeSpec struct {
	r      reader // of the file that said it first
	node   *yaml.Node
	extend bool
	text   map[string]*yaml.Node // the plain members, by key
	fields []named
	tables []named
	maps   []named
	// Lists that a later file adds to.
	adminOnly, readers, parents, implied, sources []located
}

// named is a member of a mapping, located an item of a list, with the file it is in.
type named struct {
	r     reader
	name  string
	at    *yaml.Node
	value *yaml.Node
}

type located struct {
	r    reader
	node *yaml.Node
}

// The members of a type that are one value each.
const plainKeys = "service service_type plural description admin_type reusable owner version rest drop other"

// readType reads one file into a spec.
func readType(r reader, root *yaml.Node) *typeSpec {
	allowed := []string{"type", "extend", "fields", "tables", "mappings", "admin_only", "readers", "parents", "implied", "sources"}
	plain := fieldsOf(plainKeys)
	m := r.members(root, append(allowed, plain...)...)
	s := &typeSpec{r: r, node: root, extend: r.flag(m["extend"], false), text: map[string]*yaml.Node{}}
	s.text["type"] = m["type"]
	for _, k := range plain {
		if m[k] != nil {
			s.text[k] = m[k]
		}
	}
	s.fields, s.tables, s.maps = r.named(m["fields"]), r.named(m["tables"]), r.named(m["mappings"])
	s.adminOnly, s.readers, s.parents = r.located(m["admin_only"]), r.located(m["readers"]), r.located(m["parents"])
	s.implied, s.sources = r.located(m["implied"]), r.located(m["sources"])
	return s
}

func (r reader) named(n *yaml.Node) (out []named) {
	for _, p := range r.pairs(n) {
		out = append(out, named{r: r, name: p.key, at: p.at, value: p.value})
	}
	return out
}

func (r reader) located(n *yaml.Node) (out []located) {
	for _, item := range r.items(n) {
		out = append(out, located{r: r, node: item})
	}
	return out
}

// merge extends s by a later file: its values and named members win, its sources
// come first, its other lists are added.
func (s *typeSpec) merge(o *typeSpec) {
	maps.Copy(s.text, o.text)
	s.fields, s.tables, s.maps = override(s.fields, o.fields), override(s.tables, o.tables), override(s.maps, o.maps)
	s.adminOnly = append(s.adminOnly, o.adminOnly...)
	s.readers = append(s.readers, o.readers...)
	s.parents = append(s.parents, o.parents...)
	s.implied = append(s.implied, o.implied...)
	s.sources = append(append([]located{}, o.sources...), s.sources...)
}

func override(old, later []named) []named {
	out := append([]named{}, old...)
	for _, n := range later {
		replaced := false
		for i := range out {
			if out[i].name == n.name {
				out[i], replaced = n, true
			}
		}
		if !replaced {
			out = append(out, n)
		}
	}
	return out
}
