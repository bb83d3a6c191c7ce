package fold_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/fresnel-search/fresnel/indexer/fold"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
)

func raw(s string) json.RawMessage { return json.RawMessage(s) }

var self = resource.Ref{Type: "T", ID: "1"}

func rules(reusable bool) *fold.Rules {
	return &fold.Rules{
		Type: "T", Reusable: reusable, Owner: "owner", Cascades: true,
		Readers: []fold.Reader{
			{As: "project", Field: "owner"},
			{As: "user", Field: "users"},
			{As: "everyone", When: map[string][]string{"public": {"true"}}},
			{As: "project", Set: "members", Field: "id", When: map[string][]string{"status": {`"ok"`}}, If: map[string][]string{"public": {"false", "null"}}},
		},
		Parents: []fold.Parent{
			{Type: "N", Field: "net", Readers: true, Deletion: true},
			{Type: "Z", Field: "zone", Members: true, Owner: true},
		},
		Hidden: func(f string) bool { return f == "secret" || f == "data.secret" || f == "members.secret" },
	}
}

// values of each field, as they may come.
var values = map[string][]string{
	"name":   {`"a"`, `"b"`, `null`},
	"secret": {`1`, `2`, `null`},
	"data":   {`{"a":1,"secret":1}`, `{"a":1,"secret":2}`, `{"a":2,"secret":1}`},
	"owner":  {`"p1"`, `"p2"`, `null`},
	"users":  {`["u1","u2"]`, `"u3"`, `["*"]`, `null`},
	"public": {`true`, `false`},
	"net":    {`"1"`, `"2"`, `null`},
	"zone":   {`"1"`},
}

var members = []string{
	`{"id":"p3","status":"ok"}`, `{"id":"p4","status":"ok","secret":1}`, `{"id":"p4","status":"ok","secret":2}`, `{"id":"p5","status":"no"}`,
}

func genStamp(t *rapid.T) resource.Stamp {
	return resource.Stamp{
		Time:    rapid.Int64Range(1, 8).Draw(t, "time"),
		Version: rapid.Int64Range(0, 1).Draw(t, "version"),
		Message: rapid.SampledFrom([]string{"m", "n"}).Draw(t, "message"),
	}
}

func genElements(t *rapid.T, nulls bool) map[string]json.RawMessage {
	es := map[string]json.RawMessage{}
	for _, key := range []string{"a", "b", "c"} {
		choice := rapid.IntRange(-3, len(members)).Draw(t, "element "+key)
		switch {
		case choice >= 0 && choice < len(members):
			es[key] = raw(members[choice])
		case choice == len(members) && nulls:
			es[key] = raw(`null`)
		}
	}
	return es
}

// genHeritage draws one word of one of three parents; words of one parent with one
// edition are the same, as one parent document gives them.
func genHeritage(t *rapid.T) *resource.Heritage {
	parent := rapid.SampledFrom([]resource.Ref{{Type: "N", ID: "1"}, {Type: "N", ID: "2"}, {Type: "Z", ID: "1"}, {Type: "X", ID: "1"}}).Draw(t, "parent")
	e := rapid.Int64Range(1, 5).Draw(t, "edition")
	h := &resource.Heritage{Parent: parent, Edition: e, Stamp: resource.Stamp{Time: 1 + e/2, Message: "h"}}
	h.Owner = []string{"p1", "p6", ""}[e%3]
	h.Readers = [][]resource.Principal{{resource.Project("p7")}, nil, {resource.Everyone, resource.Project("p8")}}[(e+int64(len(parent.ID)))%3]
	if e >= 4 {
		h.Deleted = resource.Stamp{Time: 2, Message: "h"}
	}
	return h
}

func genMutation(t *rapid.T) *resource.Mutation {
	kinds := []resource.Kind{resource.Full, resource.Full, resource.Partial, resource.Partial, resource.Delete, resource.Put, resource.Drop, resource.Inherit}
	m := &resource.Mutation{
		Ref: self, Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), Stamp: genStamp(t),
		Cause: change.Cause{Kind: change.ByNotification},
	}
	switch m.Kind {
	case resource.Inherit:
		m.Inherit = genHeritage(t)
		m.Stamp = m.Inherit.Stamp
		m.Cause.Kind = change.ByCascade
	case resource.Put, resource.Drop:
		m.Elements = map[string]map[string]json.RawMessage{"members": genElements(t, true)}
	default:
		m.Fields = map[string]json.RawMessage{}
		for _, name := range []string{"name", "secret", "data", "owner", "users", "public", "net", "zone"} {
			if i := rapid.IntRange(-2, len(values[name])-1).Draw(t, name); i >= 0 {
				m.Fields[name] = raw(values[name][i])
			}
		}
		m.Revives = m.Kind != resource.Delete && rapid.IntRange(0, 3).Draw(t, "revives") == 0
		switch rapid.IntRange(0, 5).Draw(t, "sets") {
		case 0:
			m.Sets = map[string]map[string]json.RawMessage{"members": genElements(t, false)}
		case 1:
			m.Elements = map[string]map[string]json.RawMessage{"members": genElements(t, true)}
		}
	}
	return m
}

func genMutations(t *rapid.T) []*resource.Mutation {
	return rapid.SliceOfN(rapid.Custom(genMutation), 1, 12).Draw(t, "mutations")
}

// model is what a log of mutations comes to, found from all of them at once and not
// one after the other: the independent word on what the fold must reach.
type model struct {
	named            bool
	deleted, revived resource.Stamp
	horizon          resource.Stamp
	fields           map[string]json.RawMessage
	heritage         map[resource.Ref]resource.Heritage
}

func modelOf(r *fold.Rules, log []*resource.Mutation) *model {
	w := &model{fields: map[string]json.RawMessage{}, heritage: map[resource.Ref]resource.Heritage{}}
	var deletions []resource.Stamp
	for _, m := range log {
		switch {
		case m.Kind == resource.Delete:
			deletions = append(deletions, m.Stamp)
		case m.Kind == resource.Inherit && m.Inherit.Parent.Type == "N" && !m.Inherit.Deleted.IsZero():
			deletions = append(deletions, m.Inherit.Deleted)
		case m.Revives && m.Stamp.After(w.revived):
			w.revived = m.Stamp
		}
		w.named = w.named || slices.Contains([]resource.Kind{resource.Full, resource.Partial, resource.Delete}, m.Kind)
		if h := m.Inherit; h != nil && (w.heritage[h.Parent].Parent.IsZero() || h.Newer(w.heritage[h.Parent])) {
			w.heritage[h.Parent] = *h
		}
	}
	for _, d := range deletions {
		if d.After(w.deleted) {
			w.deleted = d
		}
		if r.Reusable && w.revived.After(d) && d.After(w.horizon) {
			w.horizon = d
		}
	}
	for name := range values {
		w.register(name, log)
	}
	w.members(log)
	return w
}

func (w *model) gone() bool {
	return w.named && !w.deleted.IsZero() && w.deleted.Compare(w.revived) >= 0
}

func (w *model) register(name string, log []*resource.Mutation) {
	var at resource.Stamp
	var best json.RawMessage
	for _, m := range log {
		v, ok := m.Fields[name]
		if !ok || !m.Stamp.After(w.horizon) {
			continue
		}
		if string(v) == "null" {
			v = nil
		}
		if c := m.Stamp.Compare(at); c > 0 || c == 0 && bytes.Compare(v, best) > 0 {
			at, best = m.Stamp, v
		}
	}
	if best != nil {
		w.fields[name] = best
	}
}

func (w *model) members(log []*resource.Mutation) {
	var cleared resource.Stamp
	puts, drops, best := map[string]resource.Stamp{}, map[string]resource.Stamp{}, map[string]json.RawMessage{}
	for _, m := range log {
		if !m.Stamp.After(w.horizon) {
			continue
		}
		if _, ok := m.Sets["members"]; ok && m.Stamp.After(cleared) {
			cleared = m.Stamp
		}
		for _, es := range []map[string]json.RawMessage{m.Sets["members"], m.Elements["members"]} {
			for key, v := range es {
				if string(v) == "null" || m.Kind == resource.Drop {
					if m.Stamp.After(drops[key]) {
						drops[key] = m.Stamp
					}
				} else if c := m.Stamp.Compare(puts[key]); c > 0 || c == 0 && bytes.Compare(v, best[key]) > 0 {
					puts[key], best[key] = m.Stamp, v
				}
			}
		}
	}
	var present []string
	for _, key := range []string{"a", "b", "c"} {
		if puts[key].After(drops[key]) && puts[key].Compare(cleared) >= 0 {
			present = append(present, string(best[key]))
		}
	}
	if len(present) > 0 || !cleared.IsZero() {
		w.fields["members"] = raw("[" + strings.Join(present, ",") + "]")
	}
}

func (w *model) parent(typ, field string) resource.Heritage {
	id := strings.Trim(string(w.fields[field]), `"`)
	return w.heritage[resource.Ref{Type: typ, ID: id}]
}

func (w *model) owner() string {
	if o := w.parent("Z", "zone").Owner; o != "" {
		return o
	}
	return strings.Trim(string(w.fields["owner"]), `"`)
}

func (w *model) readers() []resource.Principal {
	var rs []resource.Principal
	if w.owner() != "" {
		rs = append(rs, resource.Project(w.owner()))
	}
	switch u := string(w.fields["users"]); u {
	case `["*"]`:
		rs = append(rs, resource.Everyone)
	case `["u1","u2"]`:
		rs = append(rs, resource.User("u1"), resource.User("u2"))
	case `"u3"`:
		rs = append(rs, resource.User("u3"))
	}
	if string(w.fields["public"]) == "true" {
		rs = append(rs, resource.Everyone)
	} else {
		for i := range 6 {
			if strings.Contains(string(w.fields["members"]), fmt.Sprintf(`{"id":"p%d","status":"ok"`, i)) {
				rs = append(rs, resource.Project(fmt.Sprintf("p%d", i)))
			}
		}
	}
	rs = append(rs, w.parent("N", "net").Readers...)
	for _, p := range w.parent("Z", "zone").Readers {
		if p != resource.Everyone {
			rs = append(rs, p)
		}
	}
	slices.Sort(rs)
	return slices.Compact(rs)
}
