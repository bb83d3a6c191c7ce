package catalog

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/fresnel-search/fresnel/indexer/fold"
)

// compiler turns one spec into a type.
type compiler struct {
	s      *typeSpec
	t      *Type
	specs  map[string]valueSpec // how each field is had by default
	tables map[string]map[string]any
	maps   map[string]mapping
}

// mapping says how a payload becomes a document.
type mapping struct {
	copy, other bool
	drop        []string
	fields      map[string]*valueSpec // nil: not told by this source
}

var (
	typeName  = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*(::[A-Z][A-Za-z0-9]*)+$`)
	fieldName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_:-]*(\.[A-Za-z0-9_][A-Za-z0-9_:-]*)*$`)
	plural    = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)
)

func compileType(s *typeSpec) *Type {
	text := func(k string) string { return s.r.text(s.text[k]) }
	c := &compiler{
		s: s, specs: map[string]valueSpec{}, tables: map[string]map[string]any{}, maps: map[string]mapping{},
		t: &Type{
			Name: text("type"), Service: text("service"), ServiceType: text("service_type"), Plural: text("plural"),
			Description: text("description"), AdminType: s.r.flag(s.text["admin_type"], false), fields: map[string]Field{},
		},
	}
	if !typeName.MatchString(c.t.Name) {
		s.r.problem(s.text["type"], "%q is no type name, such as OS::Nova::Server", c.t.Name)
	}
	for _, k := range []string{"service", "service_type", "plural", "description"} {
		if s.text[k] == nil {
			s.r.problem(s.node, "%s: required", k)
		}
	}
	if p := s.text["plural"]; p != nil && !plural.MatchString(p.Value) {
		s.r.problem(p, "%q cannot stand in a URL", p.Value)
	}
	c.fields()
	c.rest()
	c.visibility()
	c.readTables()
	c.mappings()
	for i, src := range s.sources {
		if r := c.rule(src.r, src.node); r != nil {
			r.index = i
			c.t.rules = append(c.t.rules, r)
		}
	}
	c.t.hidden = &memo[bool]{} // from here on nothing about the type changes
	return c.t
}

func (c *compiler) fields() {
	for _, n := range c.s.fields {
		f, v := c.field(n.r, n)
		switch {
		case !fieldName.MatchString(n.name) || n.name == Other || strings.HasPrefix(n.name, Other+"."):
			n.r.problem(n.at, "%q cannot be a field's name", n.name)
		case strings.HasSuffix(n.name, ".raw"):
			n.r.problem(n.at, "%q: .raw is what text fields have beside them", n.name)
		}
		c.t.Fields = append(c.t.Fields, f)
		c.t.fields[f.Name] = f
		c.specs[f.Name] = v
	}
	slices.SortFunc(c.t.Fields, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	for _, n := range c.s.fields {
		for p := parentName(n.name); p != ""; p = parentName(p) {
			if _, taken := c.t.fields[p]; taken {
				n.r.problem(n.at, "%s lies below the field %s", n.name, p)
			}
		}
	}
	if id, ok := c.t.fields["id"]; !ok || id.Type != Keyword {
		c.s.r.problem(c.s.node, "fields.id: required, of type keyword")
	}
	c.t.fields[Other] = Field{Name: Other, Type: Flattened, Description: "what the catalogue does not declare"}
	for _, g := range c.s.adminOnly {
		c.t.AdminOnly = append(c.t.AdminOnly, g.r.text(g.node))
	}
}

// The members of a field that are about the field, not about its value.
const fieldKeys = "type set admin_only facet options link description fields"

func (c *compiler) field(r reader, n named) (Field, valueSpec) {
	m := r.members(n.value, append(fieldsOf(fieldKeys), fieldsOf(valueKeys)...)...)
	f := Field{
		Name: n.name, Set: r.text(m["set"]), AdminOnly: r.flag(m["admin_only"], false), Facet: r.flag(m["facet"], false),
		Options: r.flag(m["options"], false), Link: r.text(m["link"]), Description: r.text(m["description"]),
		Type: FieldType(r.oneOf(m["type"], "field type", "keyword", "text", "date", "long", "double", "boolean", "ip", "flattened", "nested")),
	}
	if m["type"] == nil {
		r.problem(n.at, "%s.type: required", n.name)
	}
	v := readValue(r, n.at, m)
	for _, inner := range r.named(m["fields"]) {
		mf, mv := c.field(r, inner)
		if mf.Set != "" {
			r.problem(inner.at, "a member of an element cannot be a set")
		}
		f.Fields = append(f.Fields, mf)
		v.members = append(v.members, mv)
	}
	v.field = f
	c.checkField(r, n.at, f)
	return f, v
}

func (c *compiler) checkField(r reader, at *yaml.Node, f Field) {
	if (f.Type == Nested) != (len(f.Fields) > 0) {
		r.problem(at, "%s: fields belong to a nested field, which must have some", f.Name)
	}
	switch {
	case f.Set == "":
	case f.Type == Nested:
		if !slices.ContainsFunc(f.Fields, func(m Field) bool { return m.Name == f.Set }) {
			r.problem(at, "%s: the elements have no member %s to be their key", f.Name, f.Set)
		}
	case f.Set != Itself || f.Type == Flattened:
		r.problem(at, `%s: a set of scalars has set: "."`, f.Name)
	}
	if f.Link != "" && !typeName.MatchString(f.Link) {
		r.problem(at, "%s: %q is no type name", f.Name, f.Link)
	}
}

func (c *compiler) rest() {
	r, n := c.s.r, c.s.text["rest"]
	if n == nil {
		return
	}
	m := r.members(n, "path", "list", "item", "params")
	c.t.Rest = Rest{Path: r.text(m["path"]), List: r.text(m["list"]), Item: r.text(m["item"])}
	if c.t.Rest.Path == "" {
		r.problem(n, "rest.path: required")
	}
	for _, p := range r.pairs(m["params"]) {
		if c.t.Rest.Params == nil {
			c.t.Rest.Params = map[string]string{}
		}
		c.t.Rest.Params[p.key] = r.text(p.value)
	}
}

// visibility makes the fold's rules.
func (c *compiler) visibility() {
	s, t := c.s, c.t
	t.Rules = fold.Rules{
		Type: t.Name, Reusable: s.r.flag(s.text["reusable"], false), Owner: s.r.text(s.text["owner"]), Hidden: t.Hidden,
	}
	if t.Rules.Owner != "" {
		c.mustField(s.r, s.text["owner"], t.Rules.Owner)
	}
	for _, l := range s.readers {
		t.Rules.Readers = append(t.Rules.Readers, c.readerRule(l.r, l.node))
	}
	for _, l := range s.parents {
		m := l.r.members(l.node, "type", "field", "inherit")
		p := fold.Parent{Type: l.r.text(m["type"]), Field: l.r.text(m["field"])}
		c.mustField(l.r, l.node, p.Field)
		for _, n := range l.r.items(m["inherit"]) {
			switch l.r.oneOf(n, "thing to inherit", "readers", "members", "owner", "deletion") {
			case "readers":
				p.Readers = true
			case "members":
				p.Members = true
			case "owner":
				p.Owner = true
			case "deletion":
				p.Deletion = true
			}
		}
		t.Rules.Parents = append(t.Rules.Parents, p)
	}
}

func (c *compiler) readerRule(r reader, n *yaml.Node) fold.Reader {
	m := r.members(n, "as", "field", "set", "when", "if")
	out := fold.Reader{
		As: r.oneOf(m["as"], "kind of reader", "project", "user", "domain", "everyone"), Field: r.text(m["field"]), Set: r.text(m["set"]),
		When: r.allowed(m["when"]), If: r.allowed(m["if"]),
	}
	if (out.Field == "") != (out.As == "everyone") {
		r.problem(n, "a reader needs a field, everyone has none")
	}
	c.mustFields(r, n, out.If)
	if out.Set == "" {
		if out.Field != "" {
			c.mustField(r, n, out.Field)
		}
		c.mustFields(r, n, out.When)
		return out
	}
	c.mustField(r, n, out.Set)
	if f := c.t.fields[out.Set]; f.Set == "" {
		r.problem(n, "%s is no set", out.Set)
	}
	for _, name := range append(keys(out.When), out.Field) {
		if !slices.ContainsFunc(c.t.fields[out.Set].Fields, func(f Field) bool { return f.Name == name }) {
			r.problem(n, "the elements of %s have no member %s", out.Set, name)
		}
	}
	return out
}

// allowed reads conditions: names with the values that they may have.
func (r reader) allowed(n *yaml.Node) map[string][]string {
	var out map[string][]string
	for _, p := range r.pairs(n) {
		if out == nil {
			out = map[string][]string{}
		}
		for _, item := range r.items(p.value) {
			out[p.key] = append(out[p.key], string(canonical(r.scalar(item))))
		}
	}
	return out
}

func (c *compiler) mustFields(r reader, n *yaml.Node, conds map[string][]string) {
	for name := range conds {
		c.mustField(r, n, name)
	}
}

// mustField reports a field that is not declared.
func (c *compiler) mustField(r reader, n *yaml.Node, name string) {
	if _, ok := c.t.fields[name]; !ok {
		names := make([]string, len(c.t.Fields))
		for i, f := range c.t.Fields {
			names[i] = f.Name
		}
		r.unknown(n, "field", name, names)
	}
}

func (c *compiler) readTables() {
	for _, n := range c.s.tables {
		table := map[string]any{}
		for _, p := range n.r.pairs(n.value) {
			table[p.key] = n.r.scalar(p.value)
		}
		c.tables[n.name] = table
	}
}

// defaultMapping is the mapping of rules that name none.
const defaultMapping = "default"

func (c *compiler) mappings() {
	r := c.s.r
	base := mapping{copy: true, other: r.flag(c.s.text["other"], true), drop: r.texts(c.s.text["drop"]), fields: map[string]*valueSpec{}}
	c.maps[defaultMapping] = base
	for _, n := range c.s.maps {
		c.maps[n.name] = c.readMapping(n.r, n.r.members(n.value, fieldsOf(mappingKeys)...), base)
	}
}

// The members of a mapping, which a rule may have as well.
const mappingKeys = "copy other drop fields"

// readMapping reads a mapping on top of another.
func (c *compiler) readMapping(r reader, m map[string]*yaml.Node, base mapping) mapping {
	out := mapping{
		copy: r.flag(m["copy"], base.copy), other: r.flag(m["other"], base.other),
		drop: append(slices.Clone(base.drop), r.texts(m["drop"])...), fields: map[string]*valueSpec{},
	}
	maps.Copy(out.fields, base.fields)
	for _, p := range r.pairs(m["fields"]) {
		if p.value.Kind == yaml.ScalarNode && p.value.Tag == "!!null" {
			out.fields[p.key] = nil
			continue
		}
		var v valueSpec
		if p.value.Kind == yaml.ScalarNode {
			v = valueSpec{r: r, at: p.at, from: []string{r.text(p.value)}, hasFrom: true}
		} else {
			v = readValue(r, p.at, r.members(p.value, append(fieldsOf(valueKeys), "fields")...))
			for _, inner := range r.named(r.child(p.value, "fields")) {
				mv := readValue(r, inner.at, r.members(inner.value, fieldsOf(valueKeys)...))
				mv.field.Name = inner.name
				v.members = append(v.members, mv)
			}
		}
		out.fields[p.key] = &v
	}
	return out
}

func (r reader) child(n *yaml.Node, key string) *yaml.Node {
	for _, p := range r.pairs(n) {
		if p.key == key {
			return p.value
		}
	}
	return nil
}

func keys(m map[string][]string) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// jsonOf is a node of scalars and mappings as JSON.
func (r reader) jsonOf(n *yaml.Node) json.RawMessage {
	if n != nil && n.Kind == yaml.MappingNode {
		m := map[string]any{}
		for _, p := range r.pairs(n) {
			m[p.key] = r.scalar(p.value)
		}
		return canonical(m)
	}
	if n == nil {
		return nil
	}
	return canonical(r.scalar(n))
}
