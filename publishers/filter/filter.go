// Package filter decides which changes a subscription wants: by resource type,
// action, event type, priority, and by the projects through whose eyes it looks.
//
// It never sees more than the subscriber may: Match takes a change that is already
// projected for the subscription's audience, so no condition can reveal a hidden
// field by delivery or silence. It is pure; its invariant: the same filter gives the
// same answer for the same change, at delivery, on a repeat and in a dry run.
package filter

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
)

// AllProjects in Projects stands for every project.
const AllProjects = "*"

// Filter is a conjunction: a change must satisfy each condition that is given. An
// empty list is no condition. Patterns may hold * for any characters and ? for one.
type Filter struct {
	// Types are patterns of resource types, such as OS::Neutron::*.
	Types   []string        `yaml:"types" json:"types,omitempty"`
	Actions []change.Action `yaml:"actions" json:"actions,omitempty"`
	// Projects are ids: what each of these projects may see, its own and what is
	// shared with it or public. "*", or none, is everything, as tenants see it.
	Projects []string `yaml:"projects" json:"projects,omitempty"`
	// EventTypes are patterns of the event type of the notification that caused the
	// change, such as compute.instance.*. Changes without one do not match.
	EventTypes []string `yaml:"event_types" json:"event_types,omitempty"`
	// MinPriority is the lowest priority wanted: debug, sample, audit, info, warn,
	// error or critical. A change whose cause has none counts as info.
	MinPriority string `yaml:"min_priority" json:"min_priority,omitempty"`
}

// priorities are the seven of oslo.messaging, from low to high: sample and audit are
// periodic reports that nobody has to act on, so they stand between debug and info.
var priorities = []string{"debug", "sample", "audit", "info", "warn", "error", "critical"}

// actions are what may be asked for.
var actions = []change.Action{change.Created, change.Updated, change.Deleted, change.Event}

// Validate reports everything that is wrong with the filter, by key.
func (f Filter) Validate() error {
	var errs []error
	blank := func(key string, values []string) {
		for i, v := range values {
			if strings.TrimSpace(v) == "" {
				errs = append(errs, fmt.Errorf("%s[%d]: is empty", key, i))
			}
		}
	}
	blank("types", f.Types)
	blank("projects", f.Projects)
	blank("event_types", f.EventTypes)
	for i, a := range f.Actions {
		if !slices.Contains(actions, a) {
			errs = append(errs, fmt.Errorf("actions[%d]: unknown action %q; one of created, updated, deleted, event", i, a))
		}
	}
	if slices.Contains(f.Projects, AllProjects) && len(f.Projects) > 1 {
		errs = append(errs, errors.New(`projects: "*" stands alone`))
	}
	if f.MinPriority != "" && rank(f.MinPriority) < 0 {
		errs = append(errs, fmt.Errorf("min_priority: unknown priority %q; one of %s", f.MinPriority, strings.Join(priorities, ", ")))
	}
	return errors.Join(errs...)
}

// Principals are those through whose eyes the subscription looks: the projects, and
// everyone. A resource that several of them see is still one. all says that it looks
// at everything instead.
func (f Filter) Principals() (who []resource.Principal, all bool) {
	if len(f.Projects) == 0 || slices.Contains(f.Projects, AllProjects) {
		return nil, true
	}
	who = append(who, resource.Everyone)
	for _, p := range f.Projects {
		who = append(who, resource.Project(p))
	}
	slices.Sort(who)
	return slices.Compact(who), false
}

// WantsType reports whether changes of a resource type can match at all.
func (f Filter) WantsType(resourceType string) bool { return anyOf(f.Types, resourceType) }

// Match reports whether the subscription wants the change, which is as its audience
// sees it.
func (f Filter) Match(c *change.Change) bool {
	return f.WantsType(c.Resource.Type) &&
		(len(f.Actions) == 0 || slices.Contains(f.Actions, c.Action)) &&
		anyOf(f.EventTypes, c.Cause.EventType) &&
		(f.MinPriority == "" || max(rank(c.Cause.Priority), 0) >= rank(f.MinPriority))
}

// anyOf reports whether one of the patterns matches; no patterns match everything.
func anyOf(patterns []string, s string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool { return glob(p, s) })
}

// Urgent reports whether a change of this priority goes before those of others: error
// and critical do.
func Urgent(priority string) bool { return rank(priority) >= rank("error") }

// rank orders priorities; -1 is an unknown one.
func rank(priority string) int {
	switch priority = strings.ToLower(priority); priority {
	case "":
		priority = "info"
	case "warning":
		priority = "warn"
	}
	return slices.Index(priorities, priority)
}

// glob matches in time proportional to the product of both lengths at worst.
func glob(pattern, s string) bool {
	star, mark := -1, 0
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
