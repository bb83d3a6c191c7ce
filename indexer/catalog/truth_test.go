package catalog_test

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/fold"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/listener/notification"
	"github.com/fresnel-search/fresnel/test/day"
)

// folded folds all notifications and carries inheritance along until nothing moves.
func folded(t testing.TB, c *catalog.Catalog, ns []*notification.Notification) map[resource.Ref]*resource.Document {
	t.Helper()
	docs := map[resource.Ref]*resource.Document{}
	at := resource.Position{Log: "test"}
	apply := func(m *resource.Mutation) {
		d := docs[m.Ref]
		if d == nil {
			d = &resource.Document{Ref: m.Ref, Lineage: "test"}
			docs[m.Ref] = d
		}
		at.Offset++
		fold.Apply(&c.Type(m.Ref.Type).Rules, d, m, at)
		d.Outbox = nil
	}
	for _, n := range ns {
		res := c.Mutations(n)
		for i := range res.Mutations {
			if m := &res.Mutations[i]; m.Kind != resource.Event {
				apply(m)
			}
		}
	}
	for _, typ := range c.Types() {
		for ref, d := range docs {
			if ref.Type != typ.Name {
				continue
			}
			for _, p := range d.Parents {
				if parent := docs[p]; parent != nil {
					h := fold.HeritageOf(parent)
					apply(&resource.Mutation{Ref: ref, Kind: resource.Inherit, Stamp: h.Stamp, Inherit: &h})
				}
			}
		}
	}
	return docs
}

// shown are the live documents of a type as the search API shows them to operators.
func shown(t testing.TB, docs map[resource.Ref]*resource.Document, typ string) map[string]day.Object {
	t.Helper()
	out := map[string]day.Object{}
	for ref, d := range docs {
		if ref.Type != typ || d.Ghost() || d.Deleted {
			continue
		}
		var o day.Object
		if err := json.Unmarshal(resource.Render(d.Fields), &o); err != nil {
			t.Fatal(err)
		}
		out[ref.ID] = o
	}
	return out
}

// TestTheDayEndsInItsTruth folds the recorded day, in its order and shuffled, and
// compares every declared field with what the services listed at the end.
func TestTheDayEndsInItsTruth(t *testing.T) {
	t.Parallel()
	c := builtin(t)
	truth, err := day.Open("../../test/day")
	if err != nil {
		t.Fatal(err)
	}
	ns := recorded(t, "day/*.jsonl.gz")
	for _, seed := range []uint64{0, 1} {
		if seed > 0 {
			r := rand.New(rand.NewPCG(seed, seed))
			r.Shuffle(len(ns), func(i, j int) { ns[i], ns[j] = ns[j], ns[i] })
		}
		docs := folded(t, c, ns)
		for _, typ := range truth.Types() {
			report := truth.Compare(typ, shown(t, docs, typ))
			if seed == 0 {
				t.Logf("%s: %d resources, %d fields equal, differing %v", typ, report.Resources, report.Compared, report.Differ)
			}
			for _, p := range report.Problems {
				t.Errorf("seed %d: %s", seed, p)
			}
		}
		if t.Failed() {
			return
		}
	}
}

// TestEveryDeclaredFieldIsCompared holds the map against the catalogue.
func TestEveryDeclaredFieldIsCompared(t *testing.T) {
	t.Parallel()
	truth, err := day.Open("../../test/day")
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range builtin(t).Types() {
		declared := map[string]bool{}
		for _, f := range typ.Fields {
			declared[f.Name] = true
		}
		mapped := truth.Fields(typ.Name)
		for _, name := range mapped {
			if !declared[name] {
				t.Errorf("%s %s is mapped but not declared", typ.Name, name)
			}
			delete(declared, name)
		}
		if len(declared) > 0 {
			t.Errorf("%s: not compared: %s", typ.Name, strings.Join(slices.Sorted(maps.Keys(declared)), ", "))
		}
	}
}
