package fold_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/fresnel-search/fresnel/indexer/fold"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
)

func at(offset int) resource.Position {
	return resource.Position{Log: "log", Partition: 1, Offset: int64(offset)}
}

// settled is what must not depend on order: everything but the revisions and what
// counts arrivals.
func settled(d *resource.Document) *resource.Document {
	c := d.Clone()
	c.Revision, c.TenantRevision, c.Outbox = 0, 0, nil
	c.Changed = resource.Document{}.Changed
	c.State.Edition, c.State.Shown = 0, resource.Stamp{}
	return c
}

func diff(a, b *resource.Document) string { return cmp.Diff(a, b, cmpopts.EquateEmpty()) }

func foldAll(r *fold.Rules, log []*resource.Mutation) *resource.Document {
	d := &resource.Document{Ref: self}
	for i, m := range log {
		fold.Apply(r, d, m, at(i))
	}
	return d
}

func genRules(t *rapid.T) *fold.Rules { return rules(rapid.Bool().Draw(t, "reusable")) }

func TestFoldReachesWhatTheWholeLogSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r, log := genRules(t), genMutations(t)
		d, want := foldAll(r, log), modelOf(r, log)
		if d.Deleted != want.gone() || d.Ghost() == want.named {
			t.Fatalf("deleted %v, ghost %v; want %v, %v", d.Deleted, d.Ghost(), want.gone(), !want.named)
		}
		if diff := cmp.Diff(want.fields, d.Fields, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("fields differ (-want +got):\n%s", diff)
		}
		if d.Owner != want.owner() {
			t.Fatalf("owner %q, want %q", d.Owner, want.owner())
		}
		if diff := cmp.Diff(want.readers(), d.Readers, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("readers differ (-want +got):\n%s", diff)
		}
	})
}

func TestFoldDependsOnNoOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r, log := genRules(t), genMutations(t)
		again := slices.Concat(log, rapid.SliceOfN(rapid.SampledFrom(log), 0, 6).Draw(t, "repeats"))
		again = rapid.Permutation(again).Draw(t, "shuffled")
		if d := diff(settled(foldAll(r, log)), settled(foldAll(r, again))); d != "" {
			t.Fatalf("another order ends otherwise (-first +other):\n%s", d)
		}
	})
}

func TestFoldDependsOnNoBatching(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r, log := genRules(t), genMutations(t)
		want := foldAll(r, log)
		var shown []resource.Entry
		d := &resource.Document{Ref: self}
		for i, m := range log {
			if rapid.Bool().Draw(t, "next batch") { // stored and loaded, with what was settled gone
				fold.Evict(d, "log", int64(i))
				d = reload(t, d)
			}
			n := len(d.Outbox)
			fold.Apply(r, d, m, at(i))
			shown = append(shown, d.Outbox[n:]...)
		}
		if d := cmp.Diff(want.Outbox, shown, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("other batches show otherwise (-one +many):\n%s", d)
		}
		d.Outbox = want.Outbox
		if d := diff(want, d); d != "" {
			t.Fatalf("other batches end otherwise (-one +many):\n%s", d)
		}
	})
}

// reload takes a document through the codecs of what a store keeps.
func reload(t *rapid.T, d *resource.Document) *resource.Document {
	c := *d
	var err error
	c.Fields = maps.Clone(d.Fields)
	if c.State, err = resource.DecodeState(resource.EncodeState(&d.State), c.Fields); err != nil {
		t.Fatal(err)
	}
	if c.Outbox, err = resource.DecodeOutbox(resource.EncodeOutbox(d.Outbox)); err != nil {
		t.Fatal(err)
	}
	if diff := diff(d, &c); diff != "" {
		t.Fatalf("the codecs lose something (-stored +loaded):\n%s", diff)
	}
	return &c
}

// shown is what an operator sees of a document.
type shown struct {
	Phase, Owner string
	Fields       map[string]json.RawMessage
	Readers      []resource.Principal
}

func shownOf(d *resource.Document) shown {
	s := shown{Phase: "live", Owner: d.Owner, Fields: maps.Clone(d.Fields), Readers: d.Readers}
	switch {
	case d.Ghost():
		return shown{Phase: "ghost"}
	case d.Deleted:
		return shown{Phase: "deleted"}
	}
	return s
}

// tenants is what a tenant with sight sees of it.
func tenants(s shown, r *fold.Rules) map[string]string {
	seen := map[string]string{"": s.Phase}
	for name, v := range s.Fields {
		if v, ok := resource.Strip(name, v, r.Hidden); ok {
			seen[name] = string(v)
		}
	}
	return seen
}

func TestEveryVisibleDifferenceIsOneEntry(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r, log := genRules(t), genMutations(t)
		d := &resource.Document{Ref: self}
		for i, m := range log {
			before, was := d.Clone(), shownOf(d)
			outcome := fold.Apply(r, d, m, at(i))
			now := shownOf(d)
			visible := !cmp.Equal(was, now, cmpopts.EquateEmpty())
			if visible != (outcome == fold.Applied) {
				t.Fatalf("mutation %d is %s, but visible difference is %v", i, outcome, visible)
			}
			if outcome == fold.Stale {
				if d := cmp.Diff(before, d); d != "" {
					t.Fatalf("stale mutation %d moved the document:\n%s", i, d)
				}
				continue
			}
			if !bytes.Equal(resource.EncodeState(&d.State), resource.EncodeState(&before.State)) != true {
				t.Fatalf("mutation %d is %s, but moved nothing", i, outcome)
			}
			step, tenantStep := int64(0), int64(0)
			if visible {
				step = 1
			}
			if !cmp.Equal(tenants(was, r), tenants(now, r)) {
				tenantStep = 1
			}
			if d.Revision != before.Revision+step || d.TenantRevision != before.TenantRevision+tenantStep {
				t.Fatalf("mutation %d: revisions %d, %d after %d, %d; want steps %d, %d", i,
					d.Revision, d.TenantRevision, before.Revision, before.TenantRevision, step, tenantStep)
			}
			if visible {
				checkEntry(t, was, now, d)
			}
		}
	})
}

func checkEntry(t *rapid.T, was, now shown, d *resource.Document) {
	e := d.Outbox[len(d.Outbox)-1]
	want := change.Updated
	switch {
	case now.Phase == "deleted":
		want = change.Deleted
	case was.Phase != "live":
		want = change.Created
	}
	if e.Action != want || e.Revision != d.Revision || e.TenantRevision != d.TenantRevision {
		t.Fatalf("entry %+v, want action %s and revisions %d, %d", e, want, d.Revision, d.TenantRevision)
	}
	if !slices.IsSorted(e.Changed) {
		t.Fatalf("changed fields %q are not sorted", e.Changed)
	}
	if want != change.Updated {
		return
	}
	for name := range values {
		if bytes.Equal(was.Fields[name], now.Fields[name]) == slices.Contains(e.Changed, name) {
			t.Fatalf("field %s went from %s to %s, changed is %q", name, was.Fields[name], now.Fields[name], e.Changed)
		}
		if v, ok := e.Before[name]; ok && !bytes.Equal(v, was.Fields[name]) {
			t.Fatalf("before of %s is %s, was %s", name, v, was.Fields[name])
		}
	}
}

func TestUndoGivesBackWhatWasShown(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r, log := genRules(t), genMutations(t)
		d := &resource.Document{Ref: self}
		history := []*resource.Document{d.Clone()}
		for i, m := range log {
			n := len(d.Outbox)
			fold.Apply(r, d, m, at(i))
			if len(d.Outbox) > n {
				history = append(history, d.Clone())
			}
		}
		if len(history) == 1 {
			return // nothing was shown, so there is nothing to undo
		}
		for i := range history {
			got, want := fold.AsOf(d, i-1), history[i]
			got.State, want.State = resource.State{}, resource.State{}
			got.Changed, got.Parents, got.Outbox = want.Changed, want.Parents, want.Outbox
			if d := diff(want, got); d != "" {
				t.Fatalf("after %d of %d entries (-was +undone):\n%s", i, len(history)-1, d)
			}
		}
	})
}

func TestReplayFindsEverythingStaleAndTheSameEntries(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r, log := genRules(t), genMutations(t)
		d := foldAll(r, log)
		want := d.Clone()
		from := rapid.IntRange(0, len(log)-1).Draw(t, "from")
		for i := from; i < len(log); i++ {
			if o := fold.Apply(r, d, log[i], at(i)); o != fold.Stale {
				t.Fatalf("mutation %d is %s when it comes again, want stale", i, o)
			}
		}
		if d := diff(want, d); d != "" {
			t.Fatalf("a replay moved the document:\n%s", d)
		}
		fold.Evict(d, "log", int64(from))
		for _, e := range want.Outbox {
			if kept := slices.ContainsFunc(d.Outbox, func(k resource.Entry) bool { return k.At == e.At }); kept != (e.At.Offset >= int64(from)) {
				t.Fatalf("entry at %d kept: %v, batch starts at %d", e.At.Offset, kept, from)
			}
		}
		if fold.Evict(d, "another log", 0); d.Outbox != nil {
			t.Fatalf("entries of another log are kept")
		}
	})
}
