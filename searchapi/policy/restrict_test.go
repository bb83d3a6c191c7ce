package policy_test

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/searchapi/policy"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

func builtin(t *testing.T) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// types are a catalogue of types made by hand.
type types []*catalog.Type

func (ts types) Types() []*catalog.Type { return ts }

func (ts types) Type(name string) *catalog.Type {
	for _, t := range ts {
		if t.Name == name {
			return t
		}
	}
	return nil
}

func cloud() types {
	return types{
		{Name: "OS::Ironic::Node", Plural: "nodes", AdminType: true},
		{Name: "OS::Ironic::Port", Plural: "ports", AdminType: true},
		{Name: "OS::Neutron::Port", Plural: "ports"},
		{Name: "OS::Nova::Server", Plural: "servers"},
	}
}

var (
	member = policy.Caller{UserID: "u", ProjectID: "p", DomainID: "d", Roles: []string{"member"}}
	admin  = policy.Caller{UserID: "a", ProjectID: "p", Admin: true}
)

func TestRestrictPutsTheCallerOnTheRequest(t *testing.T) {
	t.Parallel()
	own := []resource.Principal{"project:p", "user:u", "domain:d", "*"}
	for _, c := range []struct {
		name   string
		caller policy.Caller
		all    bool
		want   query.Scope
	}{
		{"a member", member, false, query.Scope{Principals: own}},
		{"a member who asks for all projects", member, true, query.Scope{Principals: own}},
		{"an admin", admin, false, query.Scope{Hidden: true, Principals: []resource.Principal{"project:p", "user:a", "*"}}},
		{"an admin who asks for all projects", admin, true, query.Scope{Hidden: true, All: true}},
		{"identity none", policy.Caller{Admin: true, AllProjects: true}, false, query.Scope{Hidden: true, All: true}},
		{"nobody in particular", policy.Caller{}, false, query.Scope{Principals: []resource.Principal{"*"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := query.Request{Query: query.MatchAll{}, AllProjects: c.all}
			if err := policy.New(cloud()).Restrict(c.caller, &r, time.Now()); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(&c.want, r.Scope); d != "" {
				t.Error(d)
			}
			if r.AllProjects != c.want.All {
				t.Errorf("AllProjects = %v, want %v", r.AllProjects, c.want.All)
			}
		})
	}
}

func TestRestrictLeavesOnlyTypesThatAreOpen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		caller policy.Caller
		asked  string
		want   string
		fails  string
	}{
		{"all of a member's", member, "", "OS::Neutron::Port OS::Nova::Server", ""},
		{"all of an admin's", admin, "", "OS::Ironic::Node OS::Ironic::Port OS::Neutron::Port OS::Nova::Server", ""},
		{"in catalogue order, once", member, "OS::Nova::Server OS::Neutron::Port OS::Nova::Server", "OS::Neutron::Port OS::Nova::Server", ""},
		{"without those of admins", member, "OS::Ironic::Node OS::Nova::Server", "OS::Nova::Server", ""},
		{"none left", member, "OS::Ironic::Node", "", "none of the resource types"},
		{"misspelt", member, "OS::Nova::Sever", "", "did you mean OS::Nova::Server?"},
		{"misspelt, of admins", member, "OS::Ironic::Nod", "", "known are: OS::Neutron::Port, OS::Nova::Server"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := query.Request{Query: query.MatchAll{}, Types: strings.Fields(c.asked)}
			err := policy.New(cloud()).Restrict(c.caller, &r, time.Now())
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Fatalf("Restrict = %v, want an error with %q", err, c.fails)
				}
				var unknown *query.Error
				if forbidden := errors.Is(err, policy.ErrForbidden); forbidden == errors.As(err, &unknown) {
					t.Errorf("Restrict = %v, want either ErrForbidden or a *query.Error", err)
				}
				return
			}
			if err != nil || strings.Join(r.Types, " ") != c.want {
				t.Errorf("Restrict = %v, %v, want %v", r.Types, err, c.want)
			}
		})
	}
}

func TestTypeIsFoundByNameAndByPluralIfItIsOpen(t *testing.T) {
	t.Parallel()
	p := policy.New(cloud())
	for _, c := range []struct {
		caller     policy.Caller
		name, want string
	}{
		{member, "OS::Nova::Server", "OS::Nova::Server"},
		{member, "servers", "OS::Nova::Server"},
		{member, "ports", "OS::Neutron::Port"},
		{admin, "nodes", "OS::Ironic::Node"},
	} {
		if got, err := p.Type(c.caller, c.name); err != nil || got.Name != c.want {
			t.Errorf("Type(%q) = %v, %v, want %s", c.name, got, err, c.want)
		}
	}
	for _, name := range []string{"nodes", "OS::Ironic::Node", "nothing"} {
		if _, err := p.Type(member, name); !errors.Is(err, query.ErrNotFound) {
			t.Errorf("Type(%q) of a member = %v, want not found", name, err)
		}
	}
	if _, err := p.Type(admin, "ports"); err == nil || !strings.Contains(err.Error(), "OS::Ironic::Port, OS::Neutron::Port") {
		t.Errorf("Type of an ambiguous plural = %v, want both names", err)
	}
}

func TestRestrictResolvesDatesOfVisibleFieldsOnly(t *testing.T) {
	t.Parallel()
	p := policy.New(builtin(t))
	now := time.Date(2026, 5, 2, 12, 0, 0, 0, time.UTC)
	r := query.Request{Types: []string{"OS::Nova::Server"}, Query: query.Range{Field: "created_at", GTE: "now-1d/d"}}
	if err := p.Restrict(member, &r, now); err != nil {
		t.Fatal(err)
	}
	want := query.Node(query.Range{Field: "created_at", GTE: "2026-05-01T00:00:00.000000000Z"})
	if d := cmp.Diff(want, r.Query); d != "" {
		t.Error(d)
	}
	r = query.Request{Query: query.Range{Field: "created_at", GTE: "soon"}}
	var e *query.Error
	if err := p.Restrict(member, &r, now); !errors.As(err, &e) || e.Path != "query.range.created_at.gte" {
		t.Errorf("Restrict of no date = %v", err)
	}
}

func TestNothingDependsOnWhetherAFieldIsHidden(t *testing.T) {
	t.Parallel()
	const yaml = `
type: OS::Test::Thing
service: test
service_type: test
plural: things
description: A thing with a date that only operators see.
readers: [{as: project, field: project_id}]
admin_only: [audited_at]
fields:
  id: {type: keyword, description: The id.}
  project_id: {type: keyword, description: The project.}
  audited_at: {type: date, description: When somebody looked.}
sources:
  - {events: [thing.create], action: full, id: id, create: true}
`
	c, err := catalog.Load(fstest.MapFS{"thing.yaml": {Data: []byte(yaml)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"audited_at", "nowhere"} {
		r := query.Request{Query: query.Range{Field: field, GTE: "soon"}}
		if err := policy.New(c).Restrict(member, &r, time.Now()); err != nil {
			t.Errorf("Restrict of %s = %v, want nothing to be said", field, err)
		}
	}
	r := query.Request{Query: query.Range{Field: "audited_at", GTE: "soon"}}
	if err := policy.New(c).Restrict(admin, &r, time.Now()); err == nil {
		t.Error("an admin is not told that this is no date")
	}
}
