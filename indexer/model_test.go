package indexer_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/changelog"
	"github.com/fresnel-search/fresnel/indexer/fold"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
)

// types is a catalogue of three generations, and of one type whose ids are used again.
type types map[string]*catalog.Type

func (ts types) Type(name string) *catalog.Type { return ts[name] }

func (ts types) Children(parent string) (names []string) {
	for name, t := range ts {
		if slices.ContainsFunc(t.Rules.Parents, func(p fold.Parent) bool { return p.Type == parent }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func family() types {
	owner := fold.Reader{As: "project", Field: "project"}
	ts := types{}
	for _, r := range []fold.Rules{
		{
			Type: "Net", Owner: "project", Cascades: true,
			Readers: []fold.Reader{owner, {As: "project", Set: "members", Field: "project"}},
		},
		{
			Type: "Port", Owner: "project", Readers: []fold.Reader{owner}, Cascades: true,
			Parents: []fold.Parent{{Type: "Net", Field: "net", Readers: true, Deletion: true}},
		},
		{
			Type: "Subnet", Readers: []fold.Reader{owner},
			Parents: []fold.Parent{{Type: "Net", Field: "net", Readers: true, Owner: true, Deletion: true}},
		},
		{
			Type: "Address", Readers: []fold.Reader{owner},
			Parents: []fold.Parent{{Type: "Port", Field: "port", Readers: true, Deletion: true}},
		},
		{
			Type: "Flavor", Reusable: true, Readers: []fold.Reader{{As: "everyone"}},
			Hidden: func(field string) bool { return field == "secret" },
		},
	} {
		ts[r.Type] = &catalog.Type{Name: r.Type, Rules: r}
	}
	return ts
}

func raw(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func ref(typ string, n int) resource.Ref { return resource.Ref{Type: typ, ID: fmt.Sprint("x", n)} }

func stamp(n int) resource.Stamp {
	return resource.Stamp{Time: int64(n) * 1000, Message: fmt.Sprint("m", n)}
}

// said is a mutation with the cause that a notification gives it.
func said(kind resource.Kind, r resource.Ref, at int, fields map[string]any) resource.Mutation {
	m := resource.Mutation{
		Ref: r, Kind: kind, Stamp: stamp(at),
		Cause: change.Cause{
			Kind: change.ByNotification, EventType: "thing." + string(kind), Timestamp: stamp(at).When(), MessageID: stamp(at).Message,
		},
	}
	for name, v := range fields {
		if m.Fields == nil {
			m.Fields = make(map[string]json.RawMessage)
		}
		m.Fields[name] = raw(v)
	}
	return m
}

// history draws mutations of a small world, in the order of a log that is out of
// order, with repetitions.
func history(t *rapid.T) []resource.Mutation {
	n := rapid.IntRange(1, 40).Draw(t, "mutations")
	times := rapid.Permutation(sequence(n)).Draw(t, "times")
	var ms []resource.Mutation
	for i := range n {
		ms = append(ms, drawMutation(t, times[i]+1))
		if again := ms[rapid.IntRange(0, len(ms)-1).Draw(t, "again")]; rapid.IntRange(0, 5).Draw(t, "repeat") == 0 {
			ms = append(ms, again)
		}
	}
	return ms
}

func sequence(n int) (s []int) {
	for i := range n {
		s = append(s, i)
	}
	return s
}

func drawMutation(t *rapid.T, at int) resource.Mutation {
	typ := rapid.SampledFrom([]string{"Net", "Net", "Port", "Port", "Subnet", "Address", "Flavor"}).Draw(t, "type")
	id := rapid.IntRange(0, 2).Draw(t, "id")
	r := ref(typ, id)
	kind := rapid.SampledFrom([]resource.Kind{
		resource.Full, resource.Full, resource.Full, resource.Partial, resource.Partial, resource.Delete,
		resource.Put, resource.Drop, resource.Event,
	}).Draw(t, "kind")
	small := rapid.IntRange(0, 2)
	m := said(kind, r, at, nil)
	switch kind {
	case resource.Full, resource.Partial:
		m.Fields = map[string]json.RawMessage{"size": raw(small.Draw(t, "size"))}
		if kind == resource.Full {
			m.Fields["project"] = raw(fmt.Sprint("p", small.Draw(t, "project")))
			// Nothing moves from one parent to another.
			m.Fields["net"], m.Fields["port"] = raw(ref("Net", id%2).ID), raw(ref("Port", id%2).ID)
			m.Fields["secret"] = raw(small.Draw(t, "secret"))
			m.Revives = typ == "Flavor"
		}
	case resource.Put, resource.Drop:
		member, v := fmt.Sprint("p", small.Draw(t, "member")), json.RawMessage("null")
		if kind == resource.Put {
			v = raw(map[string]string{"project": member})
		}
		m.Elements = map[string]map[string]json.RawMessage{"members": {member: v}}
	case resource.Event:
		m.Fields = map[string]json.RawMessage{"usage": raw(small.Draw(t, "usage"))}
	default: // a delete has nothing more to say
	}
	return m
}

// expected is what the logs of mutations mean, folded in one go without any fault.
type expected struct {
	docs    map[resource.Ref]*resource.Document
	entries map[resource.Ref][]string // the change log's values, in order
	applied int64
	total   int64
}

// replay folds the logs of the world from their beginnings. Lineages are random, so
// they are taken from what is stored.
func replay(w *world) expected {
	want := expected{docs: map[resource.Ref]*resource.Document{}, entries: map[resource.Ref][]string{}}
	for id, log := range w.log {
		for _, rec := range log {
			want.total++
			m, err := resource.DecodeMutation(rec.Value)
			if err != nil {
				continue // poison
			}
			d := want.docs[m.Ref]
			if d == nil {
				d = &resource.Document{Ref: m.Ref, Lineage: w.docs[m.Ref].Lineage}
			}
			switch m.Kind {
			case resource.Cascade:
				continue
			case resource.Event:
				seen := &resource.Document{Ref: m.Ref}
				if !d.Ghost() {
					seen.Readers, seen.Deleted = d.Readers, d.Deleted
				}
				want.add(changelog.FromEvent(m, seen))
				continue
			default:
			}
			want.docs[m.Ref] = d
			at := resource.Position{Log: "log", Partition: id, Offset: rec.Offset}
			if fold.Apply(&w.catalog.Type(m.Ref.Type).Rules, d, m, at) == fold.Applied {
				want.applied++
				want.add(changelog.FromDocument(d, &d.Outbox[len(d.Outbox)-1]))
			}
			d.Outbox = nil
		}
	}
	return want
}

func (x *expected) add(e changelog.Entry) {
	value := string(changelog.Encode(&e))
	if e.Action == change.Event {
		value = shown(&e)
	}
	x.entries[e.Ref] = append(x.entries[e.Ref], value)
}

// shown is an event without who may see it: said twice, others may the second time.
func shown(e *changelog.Entry) string {
	c := *e
	c.Readers, c.WasDeleted = nil, false
	return string(changelog.Encode(&c))
}

// check compares a world at rest with what its logs mean.
func check(t rapid.TB, w *world) {
	t.Helper()
	want := replay(w)
	checkDocuments(t, w, want)
	checkChanges(t, w, want)
	checkHeritage(t, w)
	checkBooks(t, w, want)
}

func checkDocuments(t rapid.TB, w *world, want expected) {
	t.Helper()
	for r, d := range want.docs {
		got := w.docs[r]
		same := *d
		same.Version, same.Outbox = got.Version, got.Outbox
		if reflect.DeepEqual(same, got) {
			continue
		}
		if diff := cmp.Diff(*d, got, cmpopts.IgnoreFields(resource.Document{}, "Version", "Outbox"), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%s is not what its log means (-want +got):\n%s", r, diff)
		}
	}
	if len(w.docs) != len(want.docs) {
		t.Fatalf("%d documents, want %d", len(w.docs), len(want.docs))
	}
}

// checkChanges wants each entry at least once, with one id the same bytes, and first
// occurrences in order: revisions 1, 2, 3... without gaps.
func checkChanges(t rapid.TB, w *world, want expected) {
	t.Helper()
	got := make(map[resource.Ref][]string)
	byID := make(map[string]string)
	for _, rec := range w.changes {
		e, err := changelog.Decode(rec.Value)
		if err != nil {
			t.Fatal(err)
		}
		value := string(rec.Value)
		if e.Action == change.Event {
			value = shown(e)
		}
		switch first, seen := byID[e.ID]; {
		case !seen:
			byID[e.ID] = value
			got[e.Ref] = append(got[e.Ref], value)
		case first != value:
			t.Fatalf("change %s has two forms:\n%s\n%s", e.ID, first, value)
		}
		if string(rec.Key) != e.Ref.Key() {
			t.Fatalf("change of %s has key %s", e.Ref, rec.Key)
		}
	}
	for r, entries := range want.entries {
		// An event said twice has one id.
		if diff := cmp.Diff(unique(entries), got[r]); diff != "" {
			t.Fatalf("changes of %s (-want +got):\n%s", r, diff)
		}
	}
	if len(got) != len(want.entries) {
		t.Fatalf("changes of %d resources, want %d", len(got), len(want.entries))
	}
}

// unique leaves the first entry of each id.
func unique(entries []string) (out []string) {
	seen := make(map[string]bool)
	for _, s := range entries {
		var e struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal([]byte(s), &e); err != nil {
			panic(err)
		}
		if !seen[e.ID] {
			seen[e.ID] = true
			out = append(out, s)
		}
	}
	return out
}

// checkHeritage wants every child to have what its parents are at the end, by an
// account that knows no cascades: what sources said, folded in the order of stamps,
// parents first.
func checkHeritage(t rapid.TB, w *world) {
	t.Helper()
	told := make(map[resource.Ref][]*resource.Mutation)
	for _, log := range w.log {
		for _, rec := range log {
			m, err := resource.DecodeMutation(rec.Value)
			if err != nil {
				continue
			}
			switch m.Kind {
			case resource.Inherit, resource.Cascade, resource.Event:
			default:
				told[m.Ref] = append(told[m.Ref], m)
			}
		}
	}
	docs := make(map[resource.Ref]*resource.Document)
	var settle func(r resource.Ref) *resource.Document
	settle = func(r resource.Ref) *resource.Document {
		if d := docs[r]; d != nil || told[r] == nil {
			return d
		}
		d := &resource.Document{Ref: r}
		docs[r] = d
		ms := told[r]
		slices.SortStableFunc(ms, func(a, b *resource.Mutation) int { return a.Stamp.Compare(b.Stamp) })
		rules := &w.catalog.Type(r.Type).Rules
		for _, m := range ms {
			fold.Apply(rules, d, m, resource.Position{})
		}
		for _, p := range slices.Clone(d.Parents) {
			if parent := settle(p); parent != nil && !parent.Ghost() {
				h := fold.HeritageOf(parent)
				fold.Apply(rules, d, &resource.Mutation{Ref: r, Kind: resource.Inherit, Stamp: h.Stamp, Inherit: &h}, resource.Position{})
			}
		}
		return d
	}
	for r := range told {
		want, got := settle(r), w.docs[r]
		if want.Deleted != got.Deleted || want.Ghost() != got.Ghost() {
			t.Fatalf("%s: deleted %v, ghost %v; want %v, %v", r, got.Deleted, got.Ghost(), want.Deleted, want.Ghost())
		}
		if want.Deleted || want.Ghost() {
			continue // a cascade leaves tombstones out, and nobody sees a ghost
		}
		if diff := cmp.Diff(want.Readers, got.Readers, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("readers of %s (-want +got):\n%s%s", r, diff, story(w, r))
		}
		if want.Owner != got.Owner {
			t.Fatalf("owner of %s = %q, want %q", r, got.Owner, want.Owner)
		}
	}
}

// story is all that was said of a resource, in the order of its log.
func story(w *world, r resource.Ref) (out string) {
	for _, log := range w.log {
		for _, rec := range log {
			if string(rec.Key) == r.Key() {
				out += fmt.Sprintf("%d/%d %s\n", rec.Partition, rec.Offset, rec.Value)
			}
		}
	}
	return out
}

func checkBooks(t rapid.TB, w *world, want expected) {
	t.Helper()
	var mutations, applied int64
	for id, c := range w.committed {
		if c.metadata == "" {
			continue
		}
		var tally indexer.Tally
		if err := json.Unmarshal([]byte(c.metadata), &tally); err != nil {
			t.Fatal(err)
		}
		if !tally.Balanced() || tally.Mutations != int64(len(w.log[id])) {
			t.Fatalf("books of partition %d do not add up to %d: %s", id, len(w.log[id]), c.metadata)
		}
		mutations += tally.Mutations
		applied += tally.Applied
	}
	if mutations != want.total || applied != want.applied {
		t.Fatalf("books: %d mutations, %d applied; want %d, %d", mutations, applied, want.total, want.applied)
	}
}
