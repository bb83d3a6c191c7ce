package catalog

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// valueSpec is a value as a file says it.
type valueSpec struct {
	r        reader
	at       *yaml.Node
	field    Field // of a member: its name and type
	from     []string
	hasFrom  bool
	constant *yaml.Node
	by       []string
	table    *yaml.Node
	as       []*yaml.Node
	where    *yaml.Node
	unsaid   bool
	hasNull  bool
	always   bool
	believe  string
	members  []valueSpec
}

// The members that say how a value is had.
const valueKeys = "from value by table as where null always believe"

func readValue(r reader, at *yaml.Node, m map[string]*yaml.Node) valueSpec {
	v := valueSpec{
		r: r, at: at, from: r.texts(m["from"]), hasFrom: m["from"] != nil, constant: m["value"], by: r.texts(m["by"]), table: m["table"],
		as: r.items(m["as"]), where: m["where"], always: r.flag(m["always"], false),
		unsaid: r.oneOf(m["null"], "way with null", "unsaid", "clear") == "unsaid", hasNull: m["null"] != nil,
		believe: r.oneOf(m["believe"], "way to believe", believeAlways, believeOwner, believeCreate),
	}
	if (m["table"] == nil) != (m["by"] == nil) {
		r.problem(at, "table and by belong together")
	}
	if m["value"] != nil && (v.hasFrom || m["table"] != nil) {
		r.problem(at, "value stands alone, without from or table")
	}
	return v
}

// on is what a mapping's value becomes on top of the field's own: what the mapping
// does not say about members, conversions and null stays.
func (v valueSpec) on(base valueSpec) valueSpec {
	out := v
	out.field = base.field
	if len(v.as) == 0 && v.table == nil && v.constant == nil {
		out.as = base.as
	}
	if v.where == nil {
		out.where = base.where
	}
	if v.believe == "" {
		out.believe = base.believe
	}
	if !v.hasNull {
		out.unsaid = base.unsaid
	}
	if !v.hasFrom && v.constant == nil && v.table == nil {
		out.from, out.hasFrom, out.constant, out.table, out.by = base.from, base.hasFrom, base.constant, base.table, base.by
	}
	out.members = slices.Clone(base.members)
	for _, m := range v.members {
		for i := range out.members {
			if out.members[i].field.Name == m.field.Name {
				out.members[i] = m.on(out.members[i])
			}
		}
	}
	return out
}

// compile makes the value of a field or member.
func (c *compiler) compile(v valueSpec) value {
	out := value{unsaid: v.unsaid, always: v.always, believe: v.believe}
	from := v.from
	if !v.hasFrom && v.constant == nil && v.table == nil {
		from = []string{v.field.Name}
	}
	for _, s := range from {
		if s == "none" {
			continue
		}
		out.from = append(out.from, c.path(v.r, v.at, s))
	}
	for _, s := range v.by {
		out.by = append(out.by, c.path(v.r, v.at, s))
	}
	if v.constant != nil {
		if out.constant = fit(v.field.Type, v.r.scalar(v.constant)); out.constant == nil || out.constant == (unfit{}) {
			v.r.problem(v.constant, "%q is no %s", v.constant.Value, v.field.Type)
		}
	}
	if v.table != nil {
		out.table = c.tables[v.r.text(v.table)]
		if out.table == nil {
			names := make([]string, 0, len(c.tables))
			for name := range c.tables {
				names = append(names, name)
			}
			v.r.unknown(v.table, "table", v.table.Value, names)
		}
	}
	out.as = c.conversions(v.r, v.as)
	out.where = c.conditions(v.r, v.where)
	for _, m := range v.members {
		out.members = append(out.members, binding{name: m.field.Name, typ: m.field.Type, value: c.compile(m)})
	}
	return out
}

func (c *compiler) conversions(r reader, names []*yaml.Node) (out []conversion) {
	known := conversions()
	for _, n := range names {
		convert, ok := known[r.text(n)]
		if !ok {
			all := make([]string, 0, len(known))
			for k := range known {
				all = append(all, k)
			}
			r.unknown(n, "conversion", n.Value, all)
			continue
		}
		out = append(out, convert)
	}
	return out
}

func (c *compiler) path(r reader, n *yaml.Node, s string) payloadPath {
	p, err := parsePath(s)
	if err != nil {
		r.problem(n, "%v", err)
	}
	return p
}

func (c *compiler) paths(r reader, n *yaml.Node) (out []payloadPath) {
	for _, item := range r.items(n) {
		out = append(out, c.path(r, item, r.text(item)))
	}
	return out
}

func (c *compiler) conditions(r reader, n *yaml.Node) (out []condition) {
	for _, p := range r.pairs(n) {
		cond := condition{path: c.path(r, p.at, p.key), values: map[string]bool{}}
		for _, item := range r.items(p.value) {
			s, ok := scalarText(r.scalar(item))
			if !ok {
				s = "null"
			}
			cond.values[s] = true
		}
		out = append(out, cond)
	}
	return out
}

func (c *compiler) template(r reader, n *yaml.Node) template {
	t, err := parseTemplate(r.text(n))
	if err != nil {
		r.problem(n, "%v", err)
	}
	return t
}

// The members of a source.
const ruleKeys = "events priorities action payload when id version create revive map set list key whole drop_keys as also description"

func (c *compiler) rule(r reader, n *yaml.Node) *rule {
	m := r.members(n, append(fieldsOf(ruleKeys), fieldsOf(mappingKeys)...)...)
	out := &rule{
		typ: c.t, payload: c.paths(r, m["payload"]), when: c.conditions(r, m["when"]),
		create: r.flag(m["create"], false), revive: r.flag(m["revive"], false), whole: r.flag(m["whole"], false),
		action: action(r.oneOf(m["action"], "action", "full", "partial", "delete", "put", "drop", "event", "ignore")),
	}
	for _, e := range r.texts(m["events"]) {
		out.events = append(out.events, strings.ToLower(e))
	}
	if len(out.events) == 0 || m["action"] == nil {
		r.problem(n, "a source needs events and an action")
		return nil
	}
	for _, p := range r.texts(m["priorities"]) {
		if out.priorities == nil {
			out.priorities = map[string]bool{}
		}
		out.priorities[strings.ToUpper(p)] = true
	}
	for _, id := range r.items(m["id"]) {
		out.id = append(out.id, c.template(r, id))
	}
	if out.action != actIgnore && len(out.id) == 0 {
		r.problem(n, "a source needs the id of the resource")
	}
	switch out.action {
	case actFull, actPartial, actEvent:
		c.version(r, m["version"], out)
		c.document(r, m, out)
		c.also(r, m["also"], out)
	case actPut, actDrop:
		c.version(r, m["version"], out)
		c.elements(r, n, m, out)
	case actDelete, actIgnore:
		c.version(r, m["version"], out)
	}
	c.checkRule(r, m, out)
	return out
}

// also compiles elements that a document's payload puts or drops besides.
func (c *compiler) also(r reader, n *yaml.Node, out *rule) {
	if n == nil {
		return
	}
	m := r.members(n, "action", "set", "list", "key", "drop_keys", "as")
	sub := &rule{typ: c.t, action: action(r.oneOf(m["action"], "action", "put", "drop"))}
	c.elements(r, n, m, sub)
	if sub.action == "" || sub.element == nil {
		r.problem(n, "also needs an action and a set")
		return
	}
	out.also = sub
}

// checkRule reports members that the action has no use for.
func (c *compiler) checkRule(r reader, m map[string]*yaml.Node, out *rule) {
	useless := map[action]string{
		actFull: "set list key whole drop_keys as", actPartial: "set list key whole drop_keys as", actEvent: "also set list key whole drop_keys as create revive",
		actPut: "also create revive map copy other fields drop", actDrop: "also create revive map copy other fields drop whole",
		actDelete: "also set list key whole drop_keys as create revive map copy other fields drop",
		actIgnore: "also set list key whole drop_keys as create revive map copy other fields drop payload id version",
	}
	for k := range strings.FieldsSeq(useless[out.action]) {
		if m[k] != nil {
			r.problem(m[k], "%s has no meaning with action: %s", k, out.action)
		}
	}
	if out.revive && !c.t.Rules.Reusable {
		r.problem(m["revive"], "revive needs a type with reusable: true")
	}
}

// version is the rule's own, "none", or the type's.
func (c *compiler) version(r reader, n *yaml.Node, out *rule) {
	if n == nil {
		r, n = c.s.r, c.s.text["version"]
		if out.action == actPut || out.action == actDrop {
			return // an element's version is not the resource's
		}
	}
	if n != nil && n.Value != "none" {
		out.version = c.paths(r, n)
	}
}

// document compiles what a full, partial or event takes from a payload.
func (c *compiler) document(r reader, m map[string]*yaml.Node, out *rule) {
	name := defaultMapping
	if m["map"] != nil {
		name = r.text(m["map"])
	}
	base, ok := c.maps[name]
	if !ok {
		names := make([]string, 0, len(c.maps))
		for k := range c.maps {
			names = append(names, k)
		}
		r.unknown(m["map"], "mapping", name, names)
		return
	}
	mp := c.readMapping(r, m, base)
	out.other, out.drop = mp.other && out.action != actEvent, mp.drop
	out.covered = map[string]bool{}
	for _, f := range c.t.Fields {
		c.bind(out, mp, f)
	}
	for field, v := range mp.fields {
		if _, declared := c.t.fields[field]; !declared && v != nil {
			c.mustField(v.r, v.at, field)
		}
	}
	for _, t := range out.id {
		out.cover(t.paths)
	}
	out.cover(out.version)
	if mp.copy && out.action != actEvent {
		c.impliedOf(out)
	}
}

// bind compiles one field of a document.
func (c *compiler) bind(out *rule, mp mapping, f Field) {
	spec, over := c.specs[f.Name], false
	if v, ok := mp.fields[f.Name]; ok {
		if out.cover([]payloadPath{{f.Name}}); v == nil {
			return
		}
		spec, over = v.on(spec), true
	}
	if !over && !mp.copy || f.Name == "id" {
		return
	}
	b := binding{name: f.Name, typ: f.Type, set: f.Set, value: c.compile(spec)}
	if out.action == actPartial && !over {
		b.value.always = false
	}
	out.cover(b.value.from)
	out.cover(b.value.by)
	if f.Name == c.t.Rules.Owner {
		out.owner = b.value.from
	}
	if f.Set != "" {
		out.sets = append(out.sets, b)
		return
	}
	out.fields = append(out.fields, b)
}

// cover notes members of the payload that are no undeclared ones.
func (r *rule) cover(paths []payloadPath) {
	for _, p := range paths {
		if len(p) > 0 {
			r.covered[p.root()] = true
		}
	}
}

func (c *compiler) impliedOf(out *rule) {
	for _, l := range c.s.implied {
		m := l.r.members(l.node, "set", "key", "from", "element", "believe")
		im := implied{
			set: l.r.text(m["set"]), key: l.r.text(m["key"]), element: l.r.jsonOf(m["element"]),
			believe: l.r.oneOf(m["believe"], "way to believe", believeAlways, believeOwner, believeCreate),
		}
		if m["from"] == nil || im.key == "" || im.element == nil || c.t.fields[im.set].Set == "" {
			l.r.problem(l.node, "an implied element needs a set of the type, a key, from and the element")
			continue
		}
		im.from = c.path(l.r, m["from"], l.r.text(m["from"]))
		out.implied = append(out.implied, im)
	}
}

// elements compiles what a put or drop takes from a payload.
func (c *compiler) elements(r reader, n *yaml.Node, m map[string]*yaml.Node, out *rule) {
	set := r.text(m["set"])
	f := c.t.fields[set]
	if f.Set == "" {
		r.problem(n, "set: required, the name of a field with a set")
		return
	}
	spec := c.specs[set]
	out.element = &binding{name: set, typ: f.Type, set: f.Set, value: c.compile(spec)}
	if m["list"] != nil {
		out.list = c.path(r, m["list"], r.text(m["list"]))
	}
	out.asItems = c.conversions(r, r.items(m["as"]))
	if m["key"] != nil {
		t := c.template(r, m["key"])
		out.key = &t
	}
	for _, k := range r.items(m["drop_keys"]) {
		out.dropKeys = append(out.dropKeys, c.template(r, k))
	}
	if out.action == actDrop && f.Set != Itself && out.key == nil {
		r.problem(n, "a drop needs the key of the element")
	}
	if out.whole && out.list == nil {
		r.problem(n, "whole needs the list of all elements")
	}
}
