package oracle

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/indexer/changelog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/test/harness"
)

// Said are the mutations of a log by resource, in log order.
func Said(t testing.TB, mutations []harness.Entry) map[resource.Ref][]*resource.Mutation {
	t.Helper()
	said := map[resource.Ref][]*resource.Mutation{}
	for _, e := range mutations {
		m, err := resource.DecodeMutation(e.Value)
		if err != nil {
			t.Errorf("mutation %d/%d of %q: %v: %q", e.Partition, e.Offset, e.Key, err, e.Value)
			continue
		}
		said[m.Ref] = append(said[m.Ref], m)
	}
	return said
}

// Firsts are the first occurrences of each change by resource, in log order, and
// all ids. Repeats must have the same bytes.
func Firsts(t testing.TB, changes []harness.Entry) (map[resource.Ref][]*changelog.Entry, map[string]bool) {
	t.Helper()
	bytes := map[string]string{}
	ids := map[string]bool{}
	by := map[resource.Ref][]*changelog.Entry{}
	for _, e := range changes {
		c, err := changelog.Decode(e.Value)
		if err != nil {
			t.Errorf("change %d/%d of %q: %v: %q", e.Partition, e.Offset, e.Key, err, e.Value)
			continue
		}
		value := string(e.Value)
		if c.Action == change.Event {
			// Announced twice, it goes to those who see the resource at each time; what
			// they are shown is the same.
			shown := *c
			shown.Readers, shown.WasDeleted = nil, false
			value = string(changelog.Encode(&shown))
		}
		if before, ok := bytes[c.ID]; ok {
			if before != value {
				t.Errorf("change %s of %s came again with other bytes:\n%s\n%s", c.ID, c.Ref, before, value)
			}
			continue
		}
		bytes[c.ID], ids[c.ID] = value, true
		by[c.Ref] = append(by[c.Ref], c)
	}
	return by, ids
}

// Visible are the transitions in a resource's change log that show more than other
// readers. The revisions must be 1, 2, 3...
func Visible(t testing.TB, ref resource.Ref, entries []*changelog.Entry) []Transition {
	t.Helper()
	var out []Transition
	revision := int64(0)
	for _, e := range entries {
		if e.Action == change.Event {
			continue
		}
		if revision++; e.Revision != revision {
			t.Errorf("%s: revision %d comes where %d is due", ref, e.Revision, revision)
		}
		if e.Action == change.Updated && !slices.ContainsFunc(e.Changed, func(f string) bool { return f != changelog.Readers }) {
			continue
		}
		tr := Transition{Action: e.Action}
		if e.Action != change.Deleted {
			tr.Fields = map[string]string{}
			for k, v := range e.Fields {
				tr.Fields[k] = string(v)
			}
		}
		out = append(out, tr)
	}
	return out
}

// Delivered checks that every change of a log reached the receiver, and nothing
// else, in order per resource.
func Delivered(t testing.TB, r *harness.Receiver, ids map[string]bool) {
	t.Helper()
	got := map[string]bool{}
	for res, cs := range r.Firsts(t) {
		last := int64(0)
		for _, c := range cs {
			got[c.ID] = true
			if c.Action == change.Event {
				continue
			}
			if c.Revision <= last {
				t.Errorf("%s/%s: revision %d is delivered after %d", res.Type, res.ID, c.Revision, last)
			}
			last = c.Revision
		}
	}
	if !maps.Equal(ids, got) {
		d := cmp.Diff(slices.Sorted(maps.Keys(ids)), slices.Sorted(maps.Keys(got)))
		t.Errorf("changes in the log and changes delivered differ (-log +delivered):\n%.2000s", d)
	}
}
