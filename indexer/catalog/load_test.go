package catalog_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/fresnel-search/fresnel/configs/resources"
	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/listener/notification"
)

func builtin(t testing.TB) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Builtin()
	if err != nil {
		t.Fatalf("the built-in catalogue:\n%v", err)
	}
	return c
}

func dir(files map[string]string) fs.FS {
	d := fstest.MapFS{}
	for name, text := range files {
		d[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return d
}

// small is a whole type; "//" in it marks where tests put more.
const small = `type: OS::Test::Thing
service: test
service_type: test
plural: things
description: A thing.
fields:
  id: {type: keyword}
  name: {type: text}
  size: {type: long, admin_only: true}
  parts: {type: nested, set: id, fields: {id: {type: keyword}, color: {type: text}}}
sources:
  - {events: [thing.create], action: full, id: id}
//
`

func TestLoadNamesLineAndWhatIsAllowed(t *testing.T) {
	t.Parallel()
	more := func(s string) string { return strings.Replace(small, "//\n", s, 1) }
	change := func(from, to string) string {
		return strings.Replace(strings.Replace(small, "//\n", "", 1), from, to, 1)
	}
	tests := map[string]struct{ text, want string }{
		"unknown key":           {more("plurall: x\n"), "thing.yaml:13: unknown key plurall; did you mean plural? (allowed: "},
		"key twice":             {more("plural: x\n"), "thing.yaml:13: plural comes twice"},
		"unknown field key":     {change("{type: long, admin_only: true}", "{type: long, adminonly: true}"), "thing.yaml:9: unknown key adminonly; did you mean admin_only?"},
		"unknown field type":    {change("{type: long,", "{type: int,"), "thing.yaml:9: unknown field type int"},
		"no type":               {change("{type: long,", "{"), "thing.yaml:9: size.type: required"},
		"no id":                 {change("  id: {type: keyword}\n", ""), "fields.id: required"},
		"bad conversion":        {change("{type: text}\n  size", "{type: text, as: lowr}\n  size"), "thing.yaml:8: unknown conversion lowr; did you mean lower?"},
		"bad action":            {change("action: full", "action: fully"), "thing.yaml:12: unknown action fully; did you mean full?"},
		"no events":             {change("events: [thing.create], ", ""), "thing.yaml:12: a source needs events and an action"},
		"no source id":          {change(", id: id}", "}"), "thing.yaml:12: a source needs the id of the resource"},
		"unknown mapping":       {change("id: id}", "id: id, map: x}"), "thing.yaml:12: unknown mapping x"},
		"unknown mapped field":  {change("id: id}", "id: id, fields: {nam: x}}"), "thing.yaml:12: unknown field nam; did you mean name?"},
		"useless key":           {change("id: id}", "id: id, set: parts}"), "thing.yaml:12: set has no meaning with action: full"},
		"revive":                {change("id: id}", "id: id, revive: true}"), "revive needs a type with reusable: true"},
		"bad path":              {change("id: id}", "id: \"a b\"}"), `thing.yaml:12: "a b" is no path`},
		"open brace":            {change("id: id}", "id: \"{a\"}"), "lacks a closing brace"},
		"put without set":       {change("action: full", "action: put"), "thing.yaml:12: set: required"},
		"drop without key":      {change("action: full", "action: drop, set: parts"), "thing.yaml:12: a drop needs the key of the element"},
		"set without its key":   {change("set: id", "set: idd"), "the elements have no member idd to be their key"},
		"field below a field":   {change("  size:", "  name.x: {type: long}\n  size:"), "thing.yaml:9: name.x lies below the field name"},
		"reader's field":        {more("readers: [{as: project, field: projct}]\n"), "thing.yaml:13: unknown field projct"},
		"reader without field":  {more("readers: [{as: project}]\n"), "a reader needs a field"},
		"reader of no set":      {more("readers: [{as: project, set: name, field: x}]\n"), "name is no set"},
		"unknown parent":        {more("parents: [{type: \"OS::Test::Gone\", field: name, inherit: [readers]}]\n"), "thing.yaml:13: parent OS::Test::Gone is no type"},
		"inherit what":          {more("parents: [{type: \"OS::Test::Thing\", field: name, inherit: [all]}]\n"), "unknown thing to inherit all"},
		"text for a flag":       {more("reusable: perhaps\n"), "thing.yaml:13: this must be true or false"},
		"list for a mapping":    {more("tables: [1]\n"), "thing.yaml:13: this must be a mapping"},
		"no YAML":               {"a: [", "thing.yaml:1: read YAML"},
		"empty":                 {"", "thing.yaml:1: read YAML"},
		"two documents":         {"a: 1\n---\nb: 2\n", "a file holds one type"},
		"extends nothing":       {more("extend: true\n"), "extends a type that is not there"},
		"table without by":      {change("{type: text}\n  size", "{type: text, table: x}\n  size"), "table and by belong together"},
		"constant of bad type":  {change("{type: long,", "{type: long, value: many,"), `"many" is no long`},
		"type name":             {change("OS::Test::Thing", "thing"), `"thing" is no type name`},
		"implied of no set":     {more("implied: [{set: name, key: k, from: x, element: {a: 1}}]\n"), "an implied element needs a set"},
		"unknown way to belief": {change("{type: long,", "{type: long, believe: never,"), "unknown way to believe never"},
	}
	for name, tt := range tests {
		_, err := catalog.Load(dir(map[string]string{"thing.yaml": tt.text}))
		var problems catalog.Problems
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v\nwant %s", name, err, tt.want)
		}
	}
	if got := catalog.Check(resources.FS, dir(map[string]string{"a.yaml": change("A thing.", "Another.")})); len(got) != 0 {
		t.Errorf("a good type is refused: %v", got)
	}
}

func TestALaterFolderExtendsOrReplaces(t *testing.T) {
	t.Parallel()
	const more = `type: OS::Neutron::Net
extend: true
description: Ours.
admin_only: [name]
fields:
  vendor: {type: keyword, from: "x:vendor"}
sources:
  - {events: [network.update.end], action: ignore}
`
	c, err := catalog.Load(resources.FS, dir(map[string]string{"net.yaml": more, "thing.yaml": strings.Replace(small, "//\n", "", 1)}))
	if err != nil {
		t.Fatal(err)
	}
	net := c.Type("OS::Neutron::Net")
	if _, ok := net.Field("vendor"); !ok || net.Description != "Ours." || !net.Hidden("name") || !net.Hidden("provider:x") || len(net.Rules.Readers) != 2 {
		t.Errorf("extended type: %+v", net)
	}
	if res := c.Mutations(network("network.update.end", "p", nil)); res.Ignored != catalog.IgnoredRule {
		t.Errorf("the later source does not come first: %+v", res)
	}
	m := only(t, c, network("network.create.end", "p", map[string]any{"x:vendor": "acme"}))
	if string(m.Fields["vendor"]) != `"acme"` {
		t.Errorf("vendor = %s", m.Fields["vendor"])
	}
	replaced, err := catalog.Load(resources.FS, dir(map[string]string{"net.yaml": strings.NewReplacer("//\n", "", "OS::Test::Thing", "OS::Neutron::Net").Replace(small)}))
	if err != nil {
		t.Fatal(err)
	}
	if replaced.Type("OS::Neutron::Net").Plural != "things" {
		t.Error("a later file does not replace the type")
	}
}

func TestFieldsAndHiddenOnes(t *testing.T) {
	t.Parallel()
	c := builtin(t)
	for name, tt := range map[string]struct {
		typ    string
		field  catalog.FieldType // empty: no such field
		hidden bool
	}{
		"name":                             {"OS::Neutron::Net", catalog.Text, false},
		"name.raw":                         {"OS::Neutron::Net", catalog.Keyword, false},
		"status.raw":                       {"OS::Neutron::Net", "", false},
		"provider:network_type":            {"OS::Neutron::Net", catalog.Keyword, true},
		"provider:unheard":                 {"OS::Neutron::Net", "", true},
		"rbac_policy":                      {"OS::Neutron::Net", catalog.Nested, true},
		"rbac_policy.target_tenant":        {"OS::Neutron::Net", catalog.Keyword, true},
		"rbac_policy.x":                    {"OS::Neutron::Net", "", true},
		"other":                            {"OS::Neutron::Net", catalog.Flattened, true},
		"other.anything":                   {"OS::Neutron::Net", catalog.Keyword, true},
		"tags":                             {"OS::Neutron::Net", catalog.Keyword, false},
		"nonsense":                         {"OS::Neutron::Net", "", false},
		"flavor.id":                        {"OS::Nova::Server", catalog.Keyword, false},
		"flavor.name.raw":                  {"OS::Nova::Server", "", false},
		"flavor":                           {"OS::Nova::Server", "", false},
		"flavor.extra_specs.hw:x":          {"OS::Nova::Server", catalog.Keyword, false},
		"networks.ipv4_addr":               {"OS::Nova::Server", catalog.IP, false},
		"metadata.role":                    {"OS::Nova::Server", catalog.Keyword, false},
		"OS-EXT-SRV-ATTR:host":             {"OS::Nova::Server", catalog.Keyword, true},
		"security_group_rules.description": {"OS::Neutron::SecurityGroup", catalog.Text, false},
		"security_group_rules.description.raw": {
			"OS::Neutron::SecurityGroup", catalog.Keyword, false,
		},
		"binding:vif_details.port_filter": {"OS::Neutron::Port", catalog.Keyword, true},
		"members.member_id":               {"OS::Glance::Image", catalog.Keyword, true},
		"properties.os_distro":            {"OS::Glance::Image", catalog.Keyword, false},
	} {
		typ := c.Type(tt.typ)
		f, ok := typ.Field(name)
		if ok != (tt.field != "") || f.Type != tt.field || ok && f.Name != name {
			t.Errorf("%s.Field(%s) = %+v, %v, want %q", tt.typ, name, f, ok, tt.field)
		}
		if got := typ.Hidden(name); got != tt.hidden {
			t.Errorf("%s.Hidden(%s) = %v", tt.typ, name, got)
		}
	}
}

func TestParentsAndChildren(t *testing.T) {
	t.Parallel()
	c := builtin(t)
	if got := strings.Join(c.Children("OS::Neutron::Net"), " "); got != "OS::Neutron::Port OS::Neutron::Subnet" {
		t.Errorf("children of a network: %s", got)
	}
	if !c.Type("OS::Neutron::Net").Rules.Cascades || c.Type("OS::Neutron::Port").Rules.Cascades {
		t.Error("a network cascades and a port does not")
	}
	if got := c.Types(); len(got) != 10 || got[0].Name != "OS::Cinder::Volume" {
		t.Errorf("%d types", len(got))
	}
	if c.Type("OS::Nova::Nothing") != nil {
		t.Error("an unknown type is not nil")
	}
}

// TestTheLanguageCarriesTheOtherTypes writes what the remaining types need and the
// built-in ones do not use.
func TestTheLanguageCarriesTheOtherTypes(t *testing.T) {
	t.Parallel()
	const types = `type: OS::Swift::Container
service: swift
service_type: object-store
plural: containers
description: A container.
reusable: true
version: none
fields:
  id: {type: keyword}
  name: {type: text, from: [missing, container]}
  created_at: {type: date, from: x-timestamp, as: epoch}
  updated_at: {type: date, from: last-modified, as: http_date}
  metadata: {type: flattened, as: python_dict}
  masters: {type: keyword, as: host_port}
  records: {type: keyword, from: "records[].data"}
  cpu: {type: flattened, as: json}
  state: {type: keyword, table: states, by: [state]}
tables:
  states: {up: good, "*": bad}
sources:
  - {events: ["container.create", "container.metadata"], action: full, id: "{account}/{container}", revive: true}
`
	c, err := catalog.Load(dir(map[string]string{"container.yaml": types}))
	if err != nil {
		t.Fatal(err)
	}
	m := only(t, c, &notification.Notification{EventType: "Container.Create", Priority: "INFO", Payload: map[string]any{
		"account": "AUTH_p", "container": "c", "x-timestamp": "1700000000.25", "last-modified": "Tue, 14 Nov 2023 22:13:20 GMT",
		"metadata": `{'a': 'it"s', "b": "don't"}`, "masters": []any{map[string]any{"host": "192.0.2.1", "port": "53"}},
		"records": []any{map[string]any{"data": "192.0.2.1"}, map[string]any{"x": 1}}, "cpu": `{"arch": "x86"}`, "state": "down",
	}})
	for name, want := range map[string]string{
		"id": `"AUTH_p/c"`, "name": `"c"`, "created_at": `"2023-11-14T22:13:20.25Z"`, "updated_at": `"2023-11-14T22:13:20Z"`,
		"metadata": `{"a":"it\"s","b":"don't"}`, "masters": `["192.0.2.1:53"]`, "records": `["192.0.2.1"]`, "cpu": `{"arch":"x86"}`, "state": `"bad"`,
	} {
		if got := string(m.Fields[name]); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	if m.Ref != (resource.Ref{Type: "OS::Swift::Container", ID: "AUTH_p/c"}) || !m.Revives {
		t.Errorf("mutation %+v", m)
	}
}
