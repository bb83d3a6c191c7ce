// Package oracle says, from the definitions of the design and nothing of the code
// that folds, what a run must have come to: what each resource shows after each of
// its mutations, and whether a recorded history keeps the invariants.
//
// It runs nothing and injects nothing; it judges what the tests recorded. Its
// invariant: it imports the code under test for its nouns and codecs only.
package oracle

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"github.com/fresnel-search/fresnel/indexer/fold"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
)

// shown is what a document shows at one moment, by the oracle.
type shown struct {
	named, deleted bool
	fields         map[string]string
}

// Transition is one visible difference.
type Transition struct {
	Action change.Action
	Fields map[string]string
}

// model says what a resource shows after each of its mutations: it looks at all
// mutations so far, every time, and keeps no state between.
type model struct{ rules *fold.Rules }

// Transitions are the visible differences that the mutations of one resource make,
// in log order. Differences of the readers alone are not among them.
func Transitions(rules *fold.Rules, ms []*resource.Mutation) []Transition {
	o := model{rules}
	var out []Transition
	before := shown{}
	for i := range ms {
		now := o.shown(ms[:i+1])
		switch {
		case !now.named:
		case now.deleted:
			if !before.deleted {
				out = append(out, Transition{Action: change.Deleted})
			}
		case before.deleted || !before.named:
			out = append(out, Transition{change.Created, now.fields})
		case !maps.Equal(before.fields, now.fields):
			out = append(out, Transition{change.Updated, now.fields})
		}
		before = now
	}
	return out
}

// shown is what the resource shows when exactly these mutations have come.
func (o model) shown(ms []*resource.Mutation) shown {
	var s shown
	var deleted, revived resource.Stamp
	for _, m := range ms {
		if m.Kind == resource.Full || m.Kind == resource.Partial || m.Kind == resource.Delete {
			s.named = true
		}
		if m.Kind == resource.Delete {
			deleted = later(deleted, m.Stamp)
		}
		if m.Revives {
			revived = later(revived, m.Stamp)
		}
	}
	fields := func(cut resource.Stamp) map[string]string { return o.fields(ms, cut) }
	all := fields(resource.Stamp{})
	for _, m := range ms {
		if m.Kind == resource.Inherit && o.inheritsDeletion(m.Inherit.Parent, all) {
			deleted = later(deleted, m.Inherit.Deleted)
		}
	}
	s.deleted = !deleted.IsZero() && !revived.After(deleted)
	s.fields = all
	if o.rules.Reusable && !deleted.IsZero() && !s.deleted {
		s.fields = fields(deleted)
	}
	return s
}

// inheritsDeletion reports whether the resource goes with this parent.
func (o model) inheritsDeletion(parent resource.Ref, fields map[string]string) bool {
	return slices.ContainsFunc(o.rules.Parents, func(p fold.Parent) bool {
		id, err := json.Marshal(parent.ID)
		return err == nil && p.Deletion && p.Type == parent.Type && fields[p.Field] == string(id)
	})
}

func later(a, b resource.Stamp) resource.Stamp {
	if b.After(a) {
		return b
	}
	return a
}

// fields are the values with the latest stamps, of statements after the cut.
func (o model) fields(ms []*resource.Mutation, cut resource.Stamp) map[string]string {
	type said struct {
		stamp resource.Stamp
		value json.RawMessage
	}
	registers := map[string]said{}
	cleared := map[string]resource.Stamp{}
	puts, drops := map[string]map[string]said{}, map[string]map[string]resource.Stamp{}
	put := func(set, key string, v json.RawMessage, at resource.Stamp) {
		if puts[set] == nil {
			puts[set], drops[set] = map[string]said{}, map[string]resource.Stamp{}
		}
		if isNull(v) {
			drops[set][key] = later(drops[set][key], at)
		} else if at.Compare(puts[set][key].stamp) >= 0 {
			puts[set][key] = said{at, v}
		}
	}
	for _, m := range ms {
		if m.Kind == resource.Inherit || m.Kind == resource.Cascade || m.Kind == resource.Event || !m.Stamp.After(cut) {
			continue
		}
		for f, v := range m.Fields {
			if m.Stamp.Compare(registers[f].stamp) >= 0 {
				registers[f] = said{m.Stamp, v}
			}
		}
		for set, elements := range m.Sets {
			cleared[set] = later(cleared[set], m.Stamp)
			for k, v := range elements {
				put(set, k, v, m.Stamp)
			}
		}
		for set, elements := range m.Elements {
			for k, v := range elements {
				put(set, k, v, m.Stamp)
			}
		}
	}
	out := map[string]string{}
	for f, r := range registers {
		if !isNull(r.value) {
			out[f] = string(r.value)
		}
	}
	for set := range cleared {
		out[set] = "[]" // known to be empty
	}
	for set, elements := range puts {
		var present [][]byte
		for _, k := range slices.Sorted(maps.Keys(elements)) {
			e := elements[k]
			if e.stamp.After(drops[set][k]) && e.stamp.Compare(cleared[set]) >= 0 {
				present = append(present, e.value)
			}
		}
		if len(present) > 0 {
			out[set] = "[" + string(bytes.Join(present, []byte(","))) + "]"
		}
	}
	return out
}

func isNull(v json.RawMessage) bool { return len(v) == 0 || string(v) == "null" }
