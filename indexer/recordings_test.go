package indexer_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/storetest"
	"github.com/fresnel-search/fresnel/listener/notification"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// recorded returns the mutations of the recordings that match a glob, file by file.
func recorded(t testing.TB, c *catalog.Catalog, glob string) (ms []resource.Mutation) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "test", glob))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings %s: %v", glob, err)
	}
	for _, name := range files {
		for _, rec := range recording(t, name) {
			n, err := notification.Decode(rec, notification.DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			ms = append(ms, c.Mutations(n).Mutations...)
		}
	}
	return ms
}

func recording(t testing.TB, name string) (recs []stream.Record) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var line struct{ Topic, Value string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		recs = append(recs, stream.Record{Topic: line.Topic, Value: []byte(line.Value)})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return recs
}

// TestRecordingsBearCrashes folds what real services said, shuffled, a part of it
// twice, with faults, crashes and processes that take over from each other.
func TestRecordingsBearCrashes(t *testing.T) {
	c, err := catalog.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, glob := range []string{"notifications/*.jsonl.gz", "day/*notifications*.jsonl.gz"} {
		t.Run(glob, inBubble(func(t *testing.T) {
			ms := recorded(t, c, glob)
			w := newWorld(t, c, 4)
			w.config.CascadePage = 3
			rng := rand.New(rand.NewPCG(7, 7))
			visits := disturb(w, rng, 400)
			rng.Shuffle(len(ms), func(i, j int) { ms[i], ms[j] = ms[j], ms[i] })
			for i, m := range ms {
				w.tell(m)
				if i%10 == 0 {
					w.tell(ms[rng.IntN(i+1)])
				}
			}
			w.run(rng, 100)
			check(t, w)
			t.Logf("%d mutations told, %d in the log, %d documents, %d changes, %d port calls, %d visits",
				len(ms), len(w.log[0])+len(w.log[1])+len(w.log[2])+len(w.log[3]), len(w.docs), len(w.changes), w.calls, *visits)
		}))
	}
}

// TestSloppyStoreLeavesNoTrace: the same on the conformance kit's store that loses
// answers, is busy, conflicts and hides children until it is refreshed.
func TestSloppyStoreLeavesNoTrace(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ts := family()
		var list []*catalog.Type
		for _, typ := range ts {
			list = append(list, typ)
		}
		seed := rapid.Uint64().Draw(rt, "seed")
		store := storetest.NewSloppy(list, storetest.Faults{Seed: seed, Again: 0.1, Conflict: 0.1, Lost: 0.1, Stale: true})
		w := newWorld(rt, ts, rapid.IntRange(1, 4).Draw(rt, "partitions"))
		w.store = store
		rng := rand.New(rand.NewPCG(seed, 0))
		disturb(w, rng, rapid.IntRange(0, 10).Draw(rt, "disturbances"))
		w.tell(history(rt)...)
		w.run(rng, 12)
		for _, d := range store.All() {
			w.docs[d.Ref] = d
		}
		check(rt, w)
	})
}
