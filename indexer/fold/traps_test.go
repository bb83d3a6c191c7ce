package fold_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fresnel-search/fresnel/indexer/fold"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
)

func stamp(time int64) resource.Stamp { return resource.Stamp{Time: time, Message: "m"} }

// say is a mutation with fields as pairs of name and value.
func say(kind resource.Kind, time int64, fields ...string) *resource.Mutation {
	m := &resource.Mutation{Ref: self, Kind: kind, Stamp: stamp(time), Fields: map[string]json.RawMessage{}}
	for i := 0; i < len(fields); i += 2 {
		m.Fields[fields[i]] = raw(fields[i+1])
	}
	return m
}

func create(time int64, fields ...string) *resource.Mutation {
	m := say(resource.Full, time, fields...)
	m.Revives = true
	return m
}

func element(kind resource.Kind, time int64, key, v string) *resource.Mutation {
	m := say(kind, time)
	m.Elements = map[string]map[string]json.RawMessage{"members": {key: raw(v)}}
	return m
}

func wholeSet(time int64, keysAndValues ...string) *resource.Mutation {
	m := say(resource.Full, time)
	set := map[string]json.RawMessage{}
	for i := 0; i < len(keysAndValues); i += 2 {
		set[keysAndValues[i]] = raw(keysAndValues[i+1])
	}
	m.Sets = map[string]map[string]json.RawMessage{"members": set}
	return m
}

func inherit(edition int64, h resource.Heritage) *resource.Mutation {
	h.Edition, h.Stamp = edition, stamp(edition)
	return &resource.Mutation{Ref: self, Kind: resource.Inherit, Stamp: h.Stamp, Inherit: &h}
}

func network(id string, readers ...resource.Principal) resource.Heritage {
	return resource.Heritage{Parent: resource.Ref{Type: "N", ID: id}, Readers: readers}
}

// play folds in turn and checks the outcomes, one letter each: a, s, t(stale).
func play(t *testing.T, r *fold.Rules, outcomes string, log ...*resource.Mutation) *resource.Document {
	t.Helper()
	d := &resource.Document{Ref: self}
	got := ""
	for i, m := range log {
		o := fold.Apply(r, d, m, at(i))
		got += map[fold.Outcome]string{fold.Applied: "a", fold.Silent: "s", fold.Stale: "t"}[o]
	}
	if got != outcomes {
		t.Errorf("outcomes %q, want %q", got, outcomes)
	}
	return d
}

func wantFields(t *testing.T, d *resource.Document, want string) {
	t.Helper()
	if got := string(resource.Render(d.Fields)); got != want {
		t.Errorf("document %s, want %s", got, want)
	}
}

func wantActions(t *testing.T, d *resource.Document, want string) {
	t.Helper()
	var got []string
	for _, e := range d.Outbox {
		if e.Action != "" {
			got = append(got, string(e.Action))
		}
	}
	if s := strings.Join(got, " "); s != want {
		t.Errorf("actions %q, want %q", s, want)
	}
}

func TestRepeatedValueGuardsAgainstALateThird(t *testing.T) {
	t.Parallel()
	d := play(t, rules(false), "ast", say(resource.Full, 1, "name", `"a"`), say(resource.Partial, 5, "name", `"a"`), say(resource.Partial, 3, "name", `"b"`))
	wantFields(t, d, `{"name":"a"}`)
}

func TestPutBeforeClearedStaysAway(t *testing.T) {
	t.Parallel()
	r := rules(false)
	d := play(t, r, "at", wholeSet(5, "b", members[0]), element(resource.Put, 3, "a", members[1]))
	wantFields(t, d, `{"members":[`+members[0]+`]}`)
	d = play(t, r, "sa", element(resource.Put, 3, "a", members[1]), wholeSet(5, "b", members[0]))
	wantFields(t, d, `{"members":[`+members[0]+`]}`)
	d = play(t, r, "aa", wholeSet(5, "b", members[0]), element(resource.Put, 7, "a", members[1]))
	wantFields(t, d, `{"members":[`+members[1]+`,`+members[0]+`]}`)
}

func TestDropBeforePutInTimeLeavesTheElement(t *testing.T) {
	t.Parallel()
	for _, log := range [][]*resource.Mutation{
		{say(resource.Full, 1), element(resource.Put, 3, "a", members[0]), element(resource.Drop, 5, "a", `null`), element(resource.Put, 4, "a", members[1])},
		{say(resource.Full, 1), element(resource.Drop, 5, "a", `null`), element(resource.Put, 4, "a", members[1]), element(resource.Put, 3, "a", members[0])},
	} {
		if d := foldAll(rules(false), log); d.Fields["members"] != nil {
			t.Errorf("members %s, want none", d.Fields["members"])
		}
	}
}

func TestElementsMakeNothingVisible(t *testing.T) {
	t.Parallel()
	d := play(t, rules(false), "sss", element(resource.Put, 1, "a", members[0]), element(resource.Drop, 2, "b", `null`), inherit(3, network("1", "project:p9")))
	if !d.Ghost() || len(d.Outbox) != 0 {
		t.Errorf("revision %d with %d entries, want a ghost without any", d.Revision, len(d.Outbox))
	}
	if o := fold.Apply(rules(false), d, say(resource.Full, 1, "net", `"1"`), at(4)); o != fold.Applied || d.Revision != 1 {
		t.Errorf("the first to name it is %s, revision %d, want applied, 1", o, d.Revision)
	}
	if want := []resource.Principal{"project:p3", "project:p9"}; !slices.Equal(d.Readers, want) {
		t.Errorf("readers %v, want %v", d.Readers, want)
	}
}

func TestDeleteBeforeCreateStaysDeleted(t *testing.T) {
	t.Parallel()
	d := play(t, rules(false), "as", say(resource.Delete, 5), say(resource.Full, 3, "name", `"a"`))
	wantActions(t, d, "deleted")
	if !d.Deleted || d.Revision != 1 {
		t.Errorf("deleted %v at revision %d, want true at 1", d.Deleted, d.Revision)
	}
	wantFields(t, d, `{"name":"a"}`)
}

func TestUpdateAfterDeleteRaisesNothing(t *testing.T) {
	t.Parallel()
	late := say(resource.Partial, 500, "name", `"zombie"`)
	late.Stamp.Version = 99
	d := play(t, rules(false), "aas", say(resource.Full, 1, "name", `"a"`), say(resource.Delete, 5), late)
	if !d.Deleted {
		t.Error("an update after the delete made the resource visible")
	}
	// The deletion, shown again, is the one that it was.
	if got := string(fold.AsOf(d, 1).Fields["name"]); got != `"a"` {
		t.Errorf("the deletion showed name %s, want \"a\"", got)
	}
}

func TestRevivalForgetsTheEarlierLifeOfAReusedID(t *testing.T) {
	t.Parallel()
	old := []*resource.Mutation{create(1, "name", `"old"`, "users", `"u3"`), element(resource.Put, 2, "a", members[0]), say(resource.Delete, 5)}
	reborn := create(7, "name", `"new"`)
	for _, log := range [][]*resource.Mutation{
		{old[0], old[1], old[2], reborn}, {reborn, old[2], old[1], old[0]}, {old[2], reborn, old[0], old[1]}, {old[1], reborn, old[0], old[2]},
	} {
		d := foldAll(rules(true), log)
		wantFields(t, d, `{"name":"new"}`)
		if d.Deleted || len(d.Readers) != 0 {
			t.Errorf("deleted %v, readers %v, want a live resource without readers", d.Deleted, d.Readers)
		}
	}
	d := foldAll(rules(true), []*resource.Mutation{old[0], old[2], reborn})
	wantActions(t, d, "created deleted created")
	// An id that is never used again is the same thing read again: it keeps what it had.
	d = foldAll(rules(false), []*resource.Mutation{old[0], old[2], reborn})
	wantFields(t, d, `{"name":"new","users":"u3"}`)
}

func TestRevivalBeforeTheDeletionIsNone(t *testing.T) {
	t.Parallel()
	for _, reusable := range []bool{true, false} {
		for _, log := range [][]*resource.Mutation{
			{create(1, "name", `"a"`), say(resource.Delete, 5), create(3, "name", `"b"`)},
			{say(resource.Delete, 5), create(3, "name", `"b"`), create(1, "name", `"a"`)},
		} {
			if d := foldAll(rules(reusable), log); !d.Deleted {
				t.Errorf("reusable %v: a create before the deletion revived it", reusable)
			}
		}
	}
}

func TestParentsWordInBothOrders(t *testing.T) {
	t.Parallel()
	older, newer := inherit(3, network("1", "project:p8")), inherit(4, network("1", "project:p9", resource.Everyone))
	child := say(resource.Full, 9, "net", `"1"`, "owner", `"p1"`)
	want := []resource.Principal{resource.Everyone, "project:p1", "project:p9"}
	d := play(t, rules(false), "aaa", child, older, newer)
	if !slices.Equal(d.Readers, want) {
		t.Errorf("readers %v, want %v", d.Readers, want)
	}
	d = play(t, rules(false), "aat", child, newer, older)
	if !slices.Equal(d.Readers, want) {
		t.Errorf("in the other order readers %v, want %v", d.Readers, want)
	}
	if d.TenantRevision != 1 || !d.Outbox[1].Late {
		t.Errorf("tenant revision %d, late %v; a change of readers alone counts for no tenant, and is late", d.TenantRevision, d.Outbox[1].Late)
	}
}

func TestParentsReadersGoWithTheLink(t *testing.T) {
	t.Parallel()
	log := []*resource.Mutation{inherit(8, network("1", "project:p8")), inherit(2, network("2", "project:p2")), say(resource.Full, 1, "net", `"1"`), say(resource.Partial, 9, "net", `"2"`)}
	d := foldAll(rules(false), log)
	if want := []resource.Principal{"project:p2"}; !slices.Equal(d.Readers, want) {
		t.Errorf("readers %v, want those of the parent named last, %v", d.Readers, want)
	}
	if want := []resource.Ref{{Type: "N", ID: "2"}}; !cmp.Equal(d.Parents, want) {
		t.Errorf("parents %v, want %v", d.Parents, want)
	}
}

func TestParentTakesItsChildrenAlong(t *testing.T) {
	t.Parallel()
	gone := network("1", "project:p8")
	gone.Deleted = stamp(6)
	child := say(resource.Full, 1, "net", `"1"`)
	for _, log := range [][]*resource.Mutation{{child, inherit(7, gone)}, {inherit(7, gone), child}} {
		d := foldAll(rules(false), log)
		if !d.Deleted || d.State.Deleted != stamp(6) {
			t.Errorf("deleted %v at %v, want true at the parent's deletion", d.Deleted, d.State.Deleted)
		}
	}
}

func TestOwnerByTheParentSeesAndTheOldOneDoesNot(t *testing.T) {
	t.Parallel()
	zone := inherit(5, resource.Heritage{Parent: resource.Ref{Type: "Z", ID: "1"}, Owner: "p9", Readers: []resource.Principal{resource.Everyone, "project:p5"}})
	d := foldAll(rules(false), []*resource.Mutation{say(resource.Full, 1, "zone", `"1"`, "owner", `"p1"`), zone})
	if want := []resource.Principal{"project:p5", "project:p9"}; d.Owner != "p9" || !slices.Equal(d.Readers, want) {
		t.Errorf("owner %q, readers %v, want p9, %v", d.Owner, d.Readers, want)
	}
}

func TestCascadeAndInheritAreAskedForWhenNeeded(t *testing.T) {
	t.Parallel()
	r := rules(false)
	parent := foldAll(r, []*resource.Mutation{say(resource.Full, 1, "owner", `"p1"`), say(resource.Partial, 2, "name", `"a"`), say(resource.Partial, 3, "owner", `"p2"`), say(resource.Delete, 4)})
	for from, want := range []bool{true, true, true, true, false} {
		if got := fold.CascadeNeeded(r, parent, from); got != want {
			t.Errorf("CascadeNeeded from entry %d = %v, want %v", from, got, want)
		}
	}
	one := parent.Clone()
	one.Outbox = one.Outbox[1:2]
	one.Owner, one.Readers = "p1", []resource.Principal{"project:p1"}
	if fold.CascadeNeeded(r, one, 0) {
		t.Error("a change of the name asks for a cascade")
	}
	parent.Ref = resource.Ref{Type: "N", ID: "1"}
	child := foldAll(r, []*resource.Mutation{say(resource.Full, 1, "net", `"1"`)})
	if !fold.InheritNeeded(child, parent) {
		t.Error("a child without its parent's word asks for none")
	}
	h := fold.HeritageOf(parent)
	if h.Deleted != stamp(4) || h.Owner != "p2" {
		t.Errorf("heritage %+v, want deleted at 4, owner p2", h)
	}
	fold.Apply(r, child, &resource.Mutation{Ref: self, Kind: resource.Inherit, Stamp: h.Stamp, Inherit: &h}, at(9))
	if fold.InheritNeeded(child, parent) || !child.Deleted {
		t.Error("the parent's word was not taken")
	}
}

func TestTooLargeCountsWhatIsShown(t *testing.T) {
	t.Parallel()
	d := foldAll(rules(false), []*resource.Mutation{say(resource.Full, 1, "name", `"`+strings.Repeat("x", resource.MaxDocument)+`"`)})
	if !fold.TooLarge(d) {
		t.Error("a document beyond the limit is not too large")
	}
	if fold.TooLarge(foldAll(rules(false), []*resource.Mutation{say(resource.Full, 1, "name", `"x"`)})) {
		t.Error("a small document is too large")
	}
}

func TestEventsAndStrangersAreProgrammerErrors(t *testing.T) {
	t.Parallel()
	stranger := say(resource.Full, 1)
	stranger.Ref.ID = "2"
	for _, m := range []*resource.Mutation{say(resource.Event, 1), say(resource.Cascade, 1), stranger} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s of %s was folded", m.Kind, m.Ref)
				}
			}()
			fold.Apply(rules(false), &resource.Document{Ref: self}, m, at(0))
		}()
	}
}

func TestDeletionIsShownWithItsReaders(t *testing.T) {
	t.Parallel()
	d := foldAll(rules(false), []*resource.Mutation{say(resource.Full, 1, "owner", `"p1"`), say(resource.Delete, 2, "owner", `null`)})
	e := d.Outbox[1]
	if diff := cmp.Diff([]resource.Principal{"project:p1"}, e.ReadersBefore, cmpopts.EquateEmpty()); e.Action != change.Deleted || diff != "" {
		t.Errorf("action %s, readers before (-want +got):\n%s", e.Action, diff)
	}
}

func TestUndoFillsADocumentThatWasLeftEmpty(t *testing.T) {
	t.Parallel()
	d := foldAll(rules(false), []*resource.Mutation{say(resource.Full, 1, "name", `"a"`), say(resource.Partial, 2, "name", `null`)})
	d.Fields = nil // as a store may load it
	wantFields(t, fold.AsOf(d, 0), `{"name":"a"}`)
}
