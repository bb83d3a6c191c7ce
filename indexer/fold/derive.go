package fold

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/fresnel-search/fresnel/indexer/resource"
)

// derive computes anew what follows from fields and heritages: parents, owner and
// readers. They depend on the state alone, never on what they were.
func (f *folding) derive() {
	d := f.d
	owner := text(d.Fields[f.r.Owner])
	var parents []resource.Ref
	var readers []resource.Principal
	for i := range f.r.Parents {
		p := &f.r.Parents[i]
		id := text(d.Fields[p.Field])
		if id == "" {
			continue
		}
		ref := resource.Ref{Type: p.Type, ID: id}
		if !slices.Contains(parents, ref) {
			parents = append(parents, ref)
		}
		h, ok := d.State.Heritage[ref.Key()]
		if !ok {
			continue
		}
		if p.Owner && h.Owner != "" {
			owner = h.Owner
		}
		readers = appendInherited(readers, p, h.Readers)
	}
	for i := range f.r.Readers {
		readers = appendReaders(readers, f.r, &f.r.Readers[i], view{d, owner})
	}
	slices.Sort(readers)
	readers = slices.Compact(readers)
	d.Owner = owner
	if !slices.Equal(parents, d.Parents) {
		d.Parents = parents
	}
	if !slices.Equal(readers, d.Readers) {
		d.Readers = readers
	}
}

func appendInherited(to []resource.Principal, p *Parent, from []resource.Principal) []resource.Principal {
	if !p.Readers && !p.Members {
		return to
	}
	for _, r := range from {
		if p.Readers || r != resource.Everyone {
			to = append(to, r)
		}
	}
	return to
}

// view is a document with the owner that it is about to have.
type view struct {
	d     *resource.Document
	owner string
}

// appendReaders appends the principals that one rule gives sight to.
func appendReaders(to []resource.Principal, r *Rules, rd *Reader, v view) []resource.Principal {
	field := func(name string) json.RawMessage { return v.d.Fields[name] }
	if !met(rd.If, field) {
		return to
	}
	if rd.Set == "" {
		if !met(rd.When, field) {
			return to
		}
		if rd.Field == r.Owner && rd.Field != "" {
			// Whoever owns it by its parent's word sees it, not whom its own field names.
			return appendPrincipal(to, rd.As, v.owner)
		}
		return appendPrincipals(to, rd.As, field(rd.Field))
	}
	for _, e := range v.d.State.Sets[rd.Set].Elements {
		if e.Put.IsZero() {
			continue
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(e.Value, &members); err != nil {
			members = map[string]json.RawMessage{"": e.Value} // an element that is an id itself
		}
		if met(rd.When, func(name string) json.RawMessage { return members[name] }) {
			to = appendPrincipals(to, rd.As, members[rd.Field])
		}
	}
	return to
}

// met reports whether all conditions hold; what is absent is null.
func met(conditions map[string][]string, value func(string) json.RawMessage) bool {
	for name, allowed := range conditions {
		v := value(name)
		if v == nil {
			v = json.RawMessage("null")
		}
		if !slices.Contains(allowed, string(v)) {
			return false
		}
	}
	return true
}

// appendPrincipals appends those that an id, or a list of ids, stands for.
func appendPrincipals(to []resource.Principal, as string, v json.RawMessage) []resource.Principal {
	if as == "everyone" {
		return append(to, resource.Everyone)
	}
	if len(v) == 0 || v[0] != '[' {
		return appendPrincipal(to, as, text(v))
	}
	var ids []json.RawMessage
	if err := json.Unmarshal(v, &ids); err != nil {
		return to // no list of ids: it gives sight to nobody
	}
	for _, id := range ids {
		to = appendPrincipal(to, as, text(id))
	}
	return to
}

func appendPrincipal(to []resource.Principal, as, id string) []resource.Principal {
	switch {
	case id == "":
		return to
	case id == "*":
		return append(to, resource.Everyone)
	case as == "project":
		return append(to, resource.Project(id))
	case as == "user":
		return append(to, resource.User(id))
	case as == "domain":
		return append(to, resource.Domain(id))
	}
	return to
}

// text is the string or the number that v holds, else empty.
func text(v json.RawMessage) string {
	if len(v) < 2 {
		return string(bytes.Trim(v, `"`)) // one digit, or nothing
	}
	switch c := v[0]; {
	case c == '"':
		if s := v[1 : len(v)-1]; bytes.IndexByte(s, '\\') < 0 {
			return string(s)
		}
		var s string
		if err := json.Unmarshal(v, &s); err != nil {
			return ""
		}
		return s
	case c == '-' || c >= '0' && c <= '9':
		return string(v)
	}
	return ""
}
