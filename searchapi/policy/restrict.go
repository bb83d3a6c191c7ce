package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

var (
	// ErrForbidden says that the caller is known and may not do this.
	ErrForbidden = errors.New("forbidden")
	// ErrUnauthenticated says that it is not known who the caller is. What wraps it
	// may say why, and never shows the token.
	ErrUnauthenticated = errors.New("authentication required")
)

// Catalog is what a policy must know of the resource types.
type Catalog interface {
	Types() []*catalog.Type
	Type(name string) *catalog.Type
}

// Policy restricts requests. It is immutable and safe for concurrent use.
type Policy struct{ catalog Catalog }

// New returns the policy over the types of a catalogue.
func New(c Catalog) *Policy { return &Policy{catalog: c} }

// Restrict puts on r what its caller may see: the scope, and the types, which then
// are never empty. Dates in the query become instants relative to now, where a field
// that the caller can see holds dates. A type that does not exist is a *query.Error;
// if none of the types asked for is open to the caller, the error is ErrForbidden.
func (p *Policy) Restrict(c Caller, r *query.Request, now time.Time) error {
	scope := p.Scope(c, r.AllProjects)
	types, err := p.types(c, r.Types)
	if err != nil {
		return err
	}
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = t.Name
	}
	n, err := query.Resolve(r.Query, now, func(field string) bool { return isDate(types, scope.Hidden, field) })
	if err != nil {
		return err
	}
	r.Types, r.Query, r.Scope, r.AllProjects = names, n, &scope, scope.All
	return nil
}

// Scope is what a caller may see. Only admins get all projects, and only if they
// ask for them; anybody else's asking is not answered, as in Searchlight.
func (p *Policy) Scope(c Caller, allProjects bool) query.Scope {
	s := query.Scope{Hidden: c.Admin, All: c.AllProjects || c.Admin && allProjects}
	if s.All {
		return s
	}
	if c.ProjectID != "" {
		s.Principals = append(s.Principals, resource.Project(c.ProjectID))
	}
	if c.UserID != "" {
		s.Principals = append(s.Principals, resource.User(c.UserID))
	}
	if c.DomainID != "" {
		s.Principals = append(s.Principals, resource.Domain(c.DomainID))
	}
	s.Principals = append(s.Principals, resource.Everyone)
	return s
}

// Type finds a type that is open to the caller by its name, such as
// OS::Nova::Server, or by its plural, such as servers. One that is not open is
// query.ErrNotFound, like one that does not exist.
func (p *Policy) Type(c Caller, name string) (*catalog.Type, error) {
	if t := p.catalog.Type(name); t != nil && open(c, t) {
		return t, nil
	}
	var found []*catalog.Type
	var names []string
	for _, t := range p.catalog.Types() {
		if t.Plural == name && open(c, t) {
			found, names = append(found, t), append(names, t.Name)
		}
	}
	switch len(found) {
	case 0:
		return nil, query.ErrNotFound
	case 1:
		return found[0], nil
	}
	return nil, &query.Error{Path: "type", Detail: fmt.Sprintf("%s are of several types; say which: %s", name, strings.Join(names, ", "))}
}

// open reports whether a caller may see resources of a type at all.
func open(c Caller, t *catalog.Type) bool { return c.Admin || !t.AdminType }

// types returns the types asked for, all if none were, without those that are not
// open to the caller, in catalogue order.
func (p *Policy) types(c Caller, asked []string) ([]*catalog.Type, error) {
	for _, name := range asked {
		if p.catalog.Type(name) == nil {
			return nil, p.unknownType(c, name)
		}
	}
	var out []*catalog.Type
	for _, t := range p.catalog.Types() {
		if open(c, t) && (len(asked) == 0 || slices.Contains(asked, t.Name)) {
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: none of the resource types asked for is open to you: %s", ErrForbidden, strings.Join(asked, ", "))
	}
	return out, nil
}

func (p *Policy) unknownType(c Caller, name string) error {
	var names []string
	for _, t := range p.catalog.Types() {
		if open(c, t) {
			names = append(names, t.Name)
		}
	}
	hint := ""
	if n := query.Nearest(name, names); n != "" {
		hint = "did you mean " + n + "? "
	}
	const most = 128
	if len(name) > most {
		name = name[:most] + "..."
	}
	return &query.Error{Path: "type", Detail: fmt.Sprintf("unknown resource type %q; %sknown are: %s", name, hint, strings.Join(names, ", "))}
}

// isDate reports whether a field holds dates in every one of the types that has it.
// A field that the caller cannot see is like one that does not exist.
func isDate(types []*catalog.Type, hidden bool, field string) bool {
	found := false
	for _, t := range types {
		f, ok := t.Field(field)
		if !ok || !hidden && t.Hidden(field) {
			continue
		}
		if f.Type != catalog.Date {
			return false
		}
		found = true
	}
	return found
}
