package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
)

func testDocuments(t *testing.T, open Open) {
	t.Run("what is written is loaded whole and in order", func(t *testing.T) {
		h := open(t, Types())
		a := full()
		b := Doc(resource.Ref{Type: Server, ID: "b <&> é"}, nil, map[string]string{"name": `"<b>&é"`})
		wrote := h.write(t, a, b)
		absent := resource.Ref{Type: Server, ID: "none"}
		got := h.load(t, b.Ref, absent, a.Ref)
		want := []resource.Document{wrote[1], {Ref: absent}, wrote[0]}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("Load (-want +got):\n%s", diff)
		}
	})
	t.Run("a write at another version than the stored one conflicts", func(t *testing.T) {
		testConflicts(t, open(t, Types()))
	})
	t.Run("one bad document does not hold up the others", func(t *testing.T) {
		h := open(t, Types())
		old := h.write(t, Doc(resource.Ref{Type: Server, ID: "old"}, nil, nil))[0]
		stale := old
		stale.Version++
		bad := Doc(resource.Ref{Type: Server, ID: "bad"}, nil, map[string]string{"name": `{"no":`})
		fine := Doc(resource.Ref{Type: Server, ID: "fine"}, nil, nil)
		out, err := h.Store.Write(t.Context(), []resource.Document{stale, bad, fine})
		if err != nil {
			t.Fatal(err)
		}
		if !errors.Is(out[0].Err, indexer.ErrConflict) || !errors.Is(out[1].Err, indexer.ErrRejected) || out[2].Err != nil {
			t.Errorf("Write of a stale, a bad and a good document = %v", out)
		}
	})
	t.Run("versions do not come back after a sweep", func(t *testing.T) {
		h := open(t, Types())
		ref := resource.Ref{Type: Server, ID: "s"}
		d := h.write(t, tombstone(ref))[0]
		if n, err := h.Store.Sweep(t.Context(), time.Now().Add(time.Hour), 10); n != 1 || err != nil {
			t.Fatalf("Sweep = %d, %v, want 1", n, err)
		}
		d2 := h.write(t, Doc(ref, nil, nil))[0]
		if d2.Version == d.Version {
			t.Errorf("a document written after the sweep has version %d again", d.Version)
		}
	})
	t.Run("a sweep takes old tombstones only, the given number at most", func(t *testing.T) {
		testSweep(t, open(t, Types()))
	})
}

func testConflicts(t *testing.T, h Harness) {
	ref := resource.Ref{Type: Server, ID: "x"}
	first := h.write(t, Doc(ref, nil, map[string]string{"status": `"A"`}))[0]
	next := first
	next.Fields = map[string]json.RawMessage{"status": json.RawMessage(`"B"`)}
	second := h.write(t, next)[0]
	for name, version := range map[string]int64{"the version before": first.Version, "none": 0, "a later one": second.Version + 1} {
		d := Doc(ref, nil, nil)
		d.Version = version
		out, err := h.Store.Write(t.Context(), []resource.Document{d})
		if err != nil || !errors.Is(out[0].Err, indexer.ErrConflict) {
			t.Errorf("Write at %s = %v, %v, want a conflict", name, out, err)
		}
	}
	absent := Doc(resource.Ref{Type: Server, ID: "y"}, nil, nil)
	absent.Version = 1
	if out, err := h.Store.Write(t.Context(), []resource.Document{absent}); err != nil || !errors.Is(out[0].Err, indexer.ErrConflict) {
		t.Errorf("Write at version 1 of what is not stored = %v, %v, want a conflict", out, err)
	}
	if got := h.load(t, ref)[0]; string(got.Fields["status"]) != `"B"` || got.Version != second.Version {
		t.Errorf("after conflicts the document is %s at %d", got.Fields["status"], got.Version)
	}
}

func testSweep(t *testing.T, h Harness) {
	var refs []resource.Ref
	bury := func(n int) {
		for range n {
			ref := resource.Ref{Type: Server, ID: fmt.Sprint("dead", len(refs))}
			refs = append(refs, ref)
			h.write(t, tombstone(ref))
		}
	}
	began := time.Now()
	bury(3)
	between := time.Now().Add(time.Millisecond)
	for !time.Now().After(between) {
		runtime.Gosched()
	}
	bury(2)
	alive := h.write(t, Doc(resource.Ref{Type: Server, ID: "alive"}, nil, nil))[0]
	for _, step := range []struct {
		before  time.Time
		n, want int
	}{{began, 10, 0}, {between, 2, 2}, {between, 10, 1}, {between, 10, 0}} {
		if n, err := h.Store.Sweep(t.Context(), step.before, step.n); n != step.want || err != nil {
			t.Errorf("Sweep of at most %d written before %s = %d, %v, want %d", step.n, step.before, n, err, step.want)
		}
		h.refresh(t)
	}
	for i, d := range h.load(t, append(refs, alive.Ref)...) {
		if swept := d.Version == 0; swept != (i < 3) {
			t.Errorf("%s: swept %t", d.Ref, swept)
		}
	}
}

// tombstone is of a resource that was deleted long ago, as its source says.
func tombstone(ref resource.Ref) resource.Document {
	d := Doc(ref, nil, nil)
	d.Deleted = true
	d.State.Deleted = resource.Stamp{Time: 1000, Message: "gone"}
	return d
}

// full is a document with something in every place.
func full() resource.Document {
	d := Doc(resource.Ref{Type: Server, ID: "a"}, []resource.Principal{"*", "project:p"}, map[string]string{
		"name": `"web-01"`, "size": `12345678901234567890`, "load": `1.50`, "other.k.x": `{"a":[1,{"b":null}]}`,
		"networks": `[{"name":"n1","version":4}]`,
	})
	s1, s2 := resource.Stamp{Time: 5, Version: 1, Message: "m1"}, resource.Stamp{Time: 6, Message: "m2"}
	delete(d.State.Fields, "networks")
	d.State.Sets = map[string]resource.Set{"networks": {Cleared: s1, Elements: map[string]resource.Element{
		"n1": {Put: s2, Value: json.RawMessage(`{"name":"n1","version":4}`)},
		"n2": {Drop: s2},
	}}}
	d.State.Revived = s1
	d.Owner = "p"
	d.Parents = []resource.Ref{{Type: Port, ID: "q"}}
	d.State.Heritage = map[string]resource.Heritage{Port + "/q": {
		Parent: d.Parents[0], Stamp: s1, Edition: 2, Owner: "p", Readers: []resource.Principal{"project:p"},
	}}
	d.Outbox = []resource.Entry{{
		At: resource.Position{Log: "l", Partition: 3, Offset: 9}, Action: change.Updated, Revision: 3, TenantRevision: 2,
		TenantVisible: true, Time: d.Changed, Changed: []string{"name"},
		Before: map[string]json.RawMessage{"name": json.RawMessage(`"web-00"`)}, ReadersBefore: []resource.Principal{"*"},
		Cause: change.Cause{Kind: change.ByNotification, EventType: "x.update", Timestamp: d.Changed, MessageID: "m"},
	}}
	return d
}

func testChildren(t *testing.T, open Open) {
	h := open(t, Types())
	parent := resource.Ref{Type: Server, ID: "parent"}
	page := func(after string, n int) (ids []string) {
		t.Helper()
		refs, err := h.Store.Children(t.Context(), indexer.ChildQuery{Parent: parent, Child: Port, After: after, N: n, Refresh: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range refs {
			if r.Type != Port {
				t.Errorf("child of type %s, want %s", r.Type, Port)
			}
			ids = append(ids, r.ID)
		}
		return ids
	}
	child := func(id string) resource.Document {
		d := Doc(resource.Ref{Type: Port, ID: id}, nil, nil)
		d.Parents = []resource.Ref{{Type: Server, ID: "another"}, parent}
		return d
	}
	ghost, dead, foreign := child("c"), child("d"), child("e")
	ghost.Revision, ghost.TenantRevision = 0, 0
	dead.Deleted = true
	foreign.Parents = foreign.Parents[:1]
	other := child("f")
	other.Ref.Type = Server
	docs := h.write(t, child("b"), ghost, dead, foreign, child("a"), other)
	want := func(name string, got []string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	want("live children and ghosts, by id", page("", 10), "a", "b", "c")
	want("a first page", page("", 2), "a", "b")
	want("the page after", page("b", 2), "c")
	docs[0].Parents = docs[0].Parents[:1]
	docs[4].Deleted = true
	docs[2].Deleted = false
	docs[1].Parents = docs[1].Parents[1:]
	h.write(t, docs[0], docs[4], docs[2], docs[1])
	want("children that left, died or came back", page("", 10), "c", "d")
}
