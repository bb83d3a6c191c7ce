package catalog

import (
	"encoding/json"
	"strings"

	"github.com/fresnel-search/fresnel/listener/notification"
)

// value says how one field, or one member of a nested field, is had from a payload.
type value struct {
	from     []payloadPath // the first that is there and neither null nor empty
	constant any           // instead of from
	by       []payloadPath // with table: the paths whose texts make the key
	table    map[string]any
	as       []conversion
	where    []condition // on the items of a list
	unsaid   bool        // null says nothing
	always   bool        // absent means null, for a source that always sends it
	believe  string      // when a true value may be taken
	members  []binding   // of a nested field
}

// binding is a field, or a member, and its value.
type binding struct {
	name  string
	typ   FieldType
	set   string
	value value
}

// implied is an element of a set that a boolean of the payload stands for.
type implied struct {
	set     string
	key     string
	from    payloadPath
	element json.RawMessage
	believe string
}

// The ways to believe a true value that depends on who asked. A false one is always
// believed: too few see a resource rather than too many.
const (
	believeAlways = "always"
	believeOwner  = "owner"  // in a create, or if the owner's project asked
	believeCreate = "create" // in a create
)

// get evaluates the value. said is false if the payload says nothing of it.
func (v *value) get(payload any, t FieldType) (out any, said bool) {
	switch {
	case v.constant != nil:
		return v.constant, true
	case v.table != nil:
		out, said = v.lookup(payload)
	default:
		out, said = v.first(payload)
	}
	if !said {
		return nil, v.always
	}
	if out == nil && v.unsaid {
		return nil, false
	}
	for _, convert := range v.as {
		if out = convert(out); out == (unfit{}) {
			return nil, false
		}
	}
	if out == nil {
		return nil, !v.unsaid
	}
	if t == Nested {
		out = v.nested(out)
	} else {
		out = fit(t, v.filter(out))
	}
	if out == (unfit{}) {
		return nil, false
	}
	return out, true
}

// first is what the first path gives that has something; else null if any is there.
func (v *value) first(payload any) (any, bool) {
	var fallback any
	said := false
	for _, p := range v.from {
		x, ok := p.find(payload)
		if !ok {
			continue
		}
		if x != nil && (x != "" || len(v.from) == 1) {
			return x, true
		}
		if !said || x != nil {
			fallback, said = x, true
		}
	}
	return fallback, said
}

// lookup joins the key from its paths and looks it up: the whole, then the first
// part, then the table's default. The first path must be there.
func (v *value) lookup(payload any) (any, bool) {
	parts := make([]string, len(v.by))
	for i, p := range v.by {
		x, ok := p.find(payload)
		if i == 0 && (!ok || x == nil) {
			return nil, false
		}
		parts[i], _ = scalarText(x)
	}
	for _, key := range []string{strings.Join(parts, "/"), parts[0], "*"} {
		if x, ok := v.table[key]; ok {
			return x, true
		}
	}
	return nil, true
}

func (v *value) filter(x any) any {
	list, ok := x.([]any)
	if !ok || len(v.where) == 0 {
		return x
	}
	kept := make([]any, 0, len(list))
	for _, item := range list {
		if meets(v.where, item) {
			kept = append(kept, item)
		}
	}
	return kept
}

// nested makes a list of objects that hold only the declared members.
func (v *value) nested(x any) any {
	list, ok := v.filter(x).([]any)
	if !ok {
		list = []any{x}
	}
	out := make([]any, 0, len(list))
	for _, item := range list {
		if e, ok := v.element(item); ok {
			out = append(out, e)
		}
	}
	return out
}

// element is one item of a nested field. Members without value are left out.
func (v *value) element(item any) (any, bool) {
	if _, ok := item.(map[string]any); !ok {
		return nil, false
	}
	e := make(map[string]any, len(v.members))
	for i := range v.members {
		m := &v.members[i]
		if x, said := m.value.get(item, m.typ); said && x != nil {
			e[m.name] = x
		}
	}
	return e, len(e) > 0
}

// elements makes the elements of a set, by key, of the items of a list. Items that
// have no key are left out.
func (b *binding) elements(list any) (map[string]json.RawMessage, bool) {
	items, ok := list.([]any)
	if !ok {
		return nil, false
	}
	out := make(map[string]json.RawMessage, len(items))
	for _, item := range b.value.filter(items).([]any) {
		if key, e, ok := b.keyed(item); ok {
			out[key] = e
		}
	}
	return out, true
}

// keyed is one element with its key.
func (b *binding) keyed(item any) (string, json.RawMessage, bool) {
	if b.set == Itself {
		x := fit(b.typ, item)
		key, ok := scalarText(x)
		return key, canonical(x), ok && key != ""
	}
	e, ok := b.value.element(item)
	if !ok {
		return "", nil, false
	}
	key, ok := scalarText(e.(map[string]any)[b.set])
	return key, canonical(e), ok && key != ""
}

// believed reports whether a true value may be taken from this notification.
func believed(how string, n *notification.Notification, create bool, owner string) bool {
	switch how {
	case believeCreate:
		return create
	case believeOwner:
		return create || owner != "" && n.Context.ProjectID == owner
	default:
		return true
	}
}
