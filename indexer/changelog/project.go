package changelog

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
)

// Readers is the name under which operators see who may see a resource.
const Readers = "readers"

// Project returns the one change that the audience may see of an entry; false if it
// may see none. t is the resource's type: without one, which the catalogue has
// lost, nobody but operators sees anything. href gives paths in the search API.
//
// Who gains sight gets created, without before; who loses it gets deleted, with
// reference and revision only; in between the tenants' revisions have no gaps.
func Project(e *Entry, a Audience, t *catalog.Type, href func(resource.Ref) string) (change.Change, bool) {
	p := projection{e: e, a: a, t: t}
	p.c = change.Change{
		ID: e.ID, Action: e.Action, Time: e.Time, Late: e.Late, Lineage: e.Lineage,
		Resource: change.Resource{Type: e.Ref.Type, ID: e.Ref.ID, Href: href(e.Ref)},
		Revision: e.Revision,
	}
	if !a.operator() {
		if t == nil || t.AdminType && !a.All {
			return change.Change{}, false
		}
		p.hidden, p.c.Revision = t.Hidden, e.TenantRevision
	}
	if !p.act() {
		return change.Change{}, false
	}
	return p.c, true
}

func (a Audience) operator() bool { return a.All && a.Hidden }

// sees reports whether one of the readers is the audience's.
func (a Audience) sees(readers []resource.Principal) bool {
	if a.All {
		return true
	}
	return slices.ContainsFunc(readers, func(r resource.Principal) bool {
		return r == resource.Everyone || slices.Contains(a.Principals, r)
	})
}

// projection is a change being made for one audience.
type projection struct {
	e      *Entry
	a      Audience
	t      *catalog.Type
	hidden func(field string) bool // nil hides nothing
	c      change.Change
}

// act makes the change that fits what the audience saw before and sees after.
func (p *projection) act() bool {
	e := p.e
	sees := p.a.sees(e.Readers)
	// A deletion that is revision 1 is of a resource that was never shown.
	saw := (e.Action == change.Updated || e.Action == change.Deleted && e.Revision > 1) && p.a.sees(e.ReadersBefore)
	switch {
	case e.Action == change.Event:
		if !sees || e.WasDeleted && !p.a.All {
			return false
		}
	case saw && !sees:
		p.lose()
		return true
	case e.Action == change.Deleted && e.Revision > 1 && !saw, !sees:
		return false
	case e.Action == change.Updated && !saw:
		p.c.Action = change.Created
	case e.Action == change.Updated && !p.a.operator() && !e.TenantVisible:
		return false
	}
	if p.c.Action == change.Updated || p.c.Action == change.Deleted {
		p.differences()
	}
	p.show()
	return true
}

// lose makes the change of who loses sight: reference and revision, nothing else.
func (p *projection) lose() {
	e := p.e
	p.c.Action, p.c.Late = change.Deleted, false
	p.c.Cause = change.Cause{Kind: e.Cause.Kind}
	p.c.Revision = e.TenantRevision
	if e.TenantVisible {
		p.c.Revision-- // this transition is not theirs any more
	}
}

// show adds what may be seen of the resource as it is now.
func (p *projection) show() {
	e := p.e
	p.c.Cause = p.cause()
	p.c.Truncated = e.Truncated
	if p.hidden == nil || p.t.Rules.Owner == "" || !p.hidden(p.t.Rules.Owner) {
		p.c.Project = e.Owner
	}
	if e.Truncated {
		return
	}
	fields := e.Fields
	switch {
	case p.hidden != nil:
		fields = make(map[string]json.RawMessage, len(e.Fields))
		for name, v := range e.Fields {
			if v, ok := resource.Strip(name, v, p.hidden); ok {
				fields[name] = v
			}
		}
	case e.Action != change.Event && e.Fields[Readers] == nil:
		fields = maps.Clone(e.Fields)
		if fields == nil {
			fields = make(map[string]json.RawMessage, 1)
		}
		fields[Readers] = principals(e.Readers)
	}
	p.c.Document = resource.Render(fields)
}

// differences adds the changed fields that may be seen, and what they were.
func (p *projection) differences() {
	e := p.e
	for _, name := range e.Changed {
		was, ok := resource.Strip(name, e.Before[name], p.hidden)
		if !ok {
			continue
		}
		now, ok := resource.Strip(name, e.Fields[name], p.hidden)
		if !ok || !e.Truncated && bytes.Equal(was, now) {
			continue // they differ in hidden members only
		}
		p.change(name, was)
	}
	if p.a.operator() && !slices.Equal(e.ReadersBefore, e.Readers) && e.Fields[Readers] == nil {
		before := principals(e.ReadersBefore)
		if e.Truncated {
			before = nil
		}
		p.change(Readers, before)
		slices.Sort(p.c.Changed)
	}
}

func (p *projection) change(name string, was json.RawMessage) {
	p.c.Changed = append(p.c.Changed, name)
	if was == nil {
		return
	}
	if p.c.Before == nil {
		p.c.Before = make(map[string]json.RawMessage)
	}
	p.c.Before[name] = was
}

// cause is the cause as the audience may see it. A tenant does not learn the names
// of hosts, which publisher ids hold, nor who of another tenant did it.
func (p *projection) cause() change.Cause {
	c := p.e.Cause
	if p.a.All {
		return c
	}
	c.PublisherID = ""
	if !slices.Contains(p.a.Principals, resource.Project(c.InitiatorProject)) && !slices.Contains(p.a.Principals, resource.User(c.InitiatorUser)) {
		c.InitiatorUser, c.InitiatorProject = "", ""
	}
	return c
}

func principals(ps []resource.Principal) json.RawMessage {
	b := []byte{'['}
	for i, p := range ps {
		if i > 0 {
			b = append(b, ',')
		}
		b = resource.AppendString(b, string(p))
	}
	return append(b, ']')
}
