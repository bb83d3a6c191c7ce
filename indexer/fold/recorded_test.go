package fold_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/fold"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/listener/notification"
	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/plugins/change"
)

// recorded are the mutations of all recordings of a glob, through their codec.
func recorded(t *testing.T, c *catalog.Catalog, glob string) (log []*resource.Mutation) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../../test", glob))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings at %s: %v", glob, err)
	}
	for _, file := range files {
		eachRecord(t, file, func(rec stream.Record) {
			n, err := notification.Decode(rec, notification.DefaultLimits())
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			for _, m := range c.Mutations(n).Mutations {
				b := resource.EncodeMutation(&m)
				d, err := resource.DecodeMutation(b)
				if err != nil {
					t.Fatalf("%s: %v", file, err)
				}
				if again := resource.EncodeMutation(d); !bytes.Equal(b, again) {
					t.Fatalf("encoding again gives\n%s, want\n%s", again, b)
				}
				if d.Kind != resource.Event {
					log = append(log, d)
				}
			}
		})
	}
	return log
}

func eachRecord(t *testing.T, file string, do func(stream.Record)) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var l struct {
			Topic, Value string
			Timestamp    int64 `json:"timestamp_ms"`
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		do(stream.Record{Topic: l.Topic, Value: []byte(l.Value), Time: time.UnixMilli(l.Timestamp)})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

// world folds a log of many resources and carries inheritance through it, as the
// indexer does, in memory.
type world struct {
	t        *testing.T
	rules    map[string]*fold.Rules
	docs     map[resource.Ref]*resource.Document
	children map[resource.Ref]map[resource.Ref]bool
	log      []*resource.Mutation
	outcomes map[fold.Outcome]int
}

func foldWorld(t *testing.T, c *catalog.Catalog, log []*resource.Mutation) *world {
	t.Helper()
	w := &world{
		t: t, rules: map[string]*fold.Rules{}, docs: map[resource.Ref]*resource.Document{},
		children: map[resource.Ref]map[resource.Ref]bool{}, log: slices.Clone(log), outcomes: map[fold.Outcome]int{},
	}
	for _, typ := range c.Types() {
		w.rules[typ.Name] = &typ.Rules
	}
	for i := 0; i < len(w.log); i++ {
		w.fold(i)
	}
	return w
}

func (w *world) fold(i int) {
	m := w.log[i]
	r, d := w.rules[m.Ref.Type], w.docs[m.Ref]
	if d == nil {
		d = &resource.Document{Ref: m.Ref}
		w.docs[m.Ref] = d
	}
	before := d.Revision
	fold.Evict(d, "log", int64(i))
	outcome := fold.Apply(r, d, m, at(i))
	w.outcomes[outcome]++
	if (outcome == fold.Applied) != (d.Revision == before+1) || d.Revision > before+1 {
		w.t.Fatalf("%s %s: revision %d after %d", outcome, d.Ref, d.Revision, before)
	}
	if fold.CascadeNeeded(r, d, 0) {
		for child := range w.children[d.Ref] {
			w.inherit(w.docs[child], d)
		}
	}
	for _, ref := range d.Parents {
		if w.children[ref] == nil {
			w.children[ref] = map[resource.Ref]bool{}
		}
		w.children[ref][d.Ref] = true
		if parent := w.docs[ref]; parent != nil && fold.InheritNeeded(d, parent) {
			w.inherit(d, parent)
		}
	}
}

func (w *world) inherit(child, parent *resource.Document) {
	h := fold.HeritageOf(parent)
	w.log = append(w.log, &resource.Mutation{
		Ref: child.Ref, Kind: resource.Inherit, Stamp: h.Stamp, Inherit: &h, Cause: change.Cause{Kind: change.ByCascade},
	})
}

// ends is where every resource ended. What counts a parent's arrivals stays out.
func (w *world) ends() map[string]*resource.Document {
	ends := map[string]*resource.Document{}
	for ref, d := range w.docs {
		c := settled(d)
		c.State.Latest = resource.Stamp{}
		for key, h := range c.State.Heritage {
			h.Stamp, h.Edition = resource.Stamp{}, 0
			c.State.Heritage[key] = h
		}
		ends[ref.Key()] = c
	}
	return ends
}

func TestRecordingsEndTheSameInAnyOrder(t *testing.T) {
	t.Parallel()
	c, err := catalog.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, glob := range []string{"day/*.jsonl.gz", "notifications/*.jsonl.gz"} {
		log := recorded(t, c, glob)
		first := foldWorld(t, c, log)
		want := first.ends()
		t.Logf("%s: %d mutations of %d resources: %v", glob, len(first.log), len(want), first.outcomes)
		if len(want) < 20 {
			t.Errorf("%s: %d resources, want more", glob, len(want))
		}
		seeds := uint64(1)
		if checks := flag.Lookup("rapid.checks"); checks != nil && checks.Value.String() != checks.DefValue {
			seeds = 8 // make soak asks for more of everything
		}
		for seed := range seeds {
			t.Run(fmt.Sprintf("%s shuffled by %d", filepath.Dir(glob), seed), func(t *testing.T) {
				t.Parallel()
				again := slices.Concat(log, log, log)
				rand.New(rand.NewPCG(seed, 1)).Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
				got := foldWorld(t, c, again).ends()
				for _, key := range slices.Sorted(maps.Keys(want)) {
					if d := cmp.Diff(want[key], got[key], cmpopts.EquateEmpty()); d != "" {
						t.Errorf("%s ends otherwise (-recorded +shuffled):\n%s", key, d)
					}
				}
				if len(got) != len(want) {
					t.Errorf("%d resources, want %d", len(got), len(want))
				}
			})
		}
	}
}
