package filter_test

import (
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/publishers/filter"
)

func port() *change.Change {
	return &change.Change{
		Action:   change.Updated,
		Resource: change.Resource{Type: "OS::Neutron::Port", ID: "p1"},
		Cause:    change.Cause{Kind: change.ByNotification, EventType: "port.update.end", Priority: "WARN"},
	}
}

func TestFilterMatchesWhenEveryConditionHolds(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		filter filter.Filter
		want   bool
	}{
		"no condition":             {filter.Filter{}, true},
		"type":                     {filter.Filter{Types: []string{"OS::Nova::*", "OS::Neutron::*"}}, true},
		"exact type":               {filter.Filter{Types: []string{"OS::Neutron::Port"}}, true},
		"type's beginning only":    {filter.Filter{Types: []string{"OS::Neutron"}}, false},
		"another type":             {filter.Filter{Types: []string{"OS::Nova::*"}}, false},
		"action":                   {filter.Filter{Actions: []change.Action{change.Created, change.Updated}}, true},
		"another action":           {filter.Filter{Actions: []change.Action{change.Event}}, false},
		"event type":               {filter.Filter{EventTypes: []string{"port.*.end"}}, true},
		"another event type":       {filter.Filter{EventTypes: []string{"port.*.start"}}, false},
		"priority, any case":       {filter.Filter{MinPriority: "Warning"}, true},
		"lower priority":           {filter.Filter{MinPriority: "info"}, true},
		"higher priority":          {filter.Filter{MinPriority: "error"}, false},
		"all but one hold":         {filter.Filter{Types: []string{"*"}, Actions: []change.Action{change.Updated}, MinPriority: "critical"}, false},
		"projects judge elsewhere": {filter.Filter{Projects: []string{"someone"}}, true},
	} {
		if got := tt.filter.Match(port()); got != tt.want {
			t.Errorf("%s: Match() = %v, want %v", name, got, tt.want)
		}
		if err := tt.filter.Validate(); err != nil {
			t.Errorf("%s: Validate() = %v", name, err)
		}
	}
}

func TestChangeWithoutNotificationHasPriorityInfoAndNoEventType(t *testing.T) {
	t.Parallel()
	c := port()
	c.Cause = change.Cause{Kind: change.BySync}
	for f, want := range map[*filter.Filter]bool{
		{MinPriority: "info"}:        true,
		{MinPriority: "warn"}:        false,
		{EventTypes: []string{"p*"}}: false,
	} {
		if got := f.Match(c); got != want {
			t.Errorf("%+v.Match() = %v, want %v", *f, got, want)
		}
	}
}

func TestProjectSeesItsOwnAndWhatIsPublic(t *testing.T) {
	t.Parallel()
	who, all := filter.Filter{Projects: []string{"b", "a", "b"}}.Principals()
	if d := cmp.Diff([]resource.Principal{"*", "project:a", "project:b"}, who); d != "" || all {
		t.Errorf("Principals() = %v, %v\n%s", who, all, d)
	}
	for _, everything := range [][]string{nil, {"*"}} {
		if who, all := (filter.Filter{Projects: everything}).Principals(); !all || who != nil {
			t.Errorf("Principals() of %q = %v, %v, want everything", everything, who, all)
		}
	}
}

func TestValidateNamesEveryBadKey(t *testing.T) {
	t.Parallel()
	err := filter.Filter{
		Types: []string{"OS::*", ""}, Actions: []change.Action{"renamed"}, Projects: []string{"*", "p"},
		EventTypes: []string{" "}, MinPriority: "loud",
	}.Validate()
	for _, key := range []string{"types[1]: ", "actions[0]: ", "projects: ", "event_types[0]: ", "min_priority: "} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("Validate() = %v, want %q", err, key)
		}
	}
}

func TestPatternsMatchLikeShellPatterns(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab.*?]{0,8}`).Draw(t, "pattern")
		s := rapid.StringMatching(`[ab.]{0,8}`).Draw(t, "string")
		c := &change.Change{Resource: change.Resource{Type: s}}
		want, err := path.Match(pattern, s)
		if err != nil {
			t.Fatal(err)
		}
		if got := (filter.Filter{Types: []string{pattern}}).Match(c); got != want {
			t.Errorf("pattern %q on %q = %v, want %v", pattern, s, got, want)
		}
	})
}
