// Package policy decides what a caller may see and puts it on the parsed query:
// which types, which resources, which fields. It is the only place that turns a
// caller into a scope.
//
// It authenticates nobody (searchapi/identity does) and never looks at text. Its
// invariant: a Request that passed Restrict can be given to any store, and no answer
// to it tells the caller anything about a resource or a field out of its scope.
package policy

// Caller is who asks, as the identity service vouched for.
type Caller struct {
	UserID    string
	ProjectID string
	DomainID  string
	Roles     []string // lower case
	// Admin may see fields for operators and, where asked for, all projects.
	Admin bool
	// AllProjects makes every request one for all projects: identity "none".
	AllProjects bool
}
