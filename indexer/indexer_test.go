package indexer_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// TestCrashesAnywhereLeaveNoTrace: whatever fails or dies in whichever port call, the
// documents are what the log means, every transition is in the change log with one
// id and one form, in order and without gaps, children have what their parents
// have, and the books add up.
func TestCrashesAnywhereLeaveNoTrace(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt, family(), rapid.IntRange(1, 4).Draw(rt, "partitions"))
		w.config.CascadePage = rapid.IntRange(1, 3).Draw(rt, "page")
		w.config.CacheDocuments = rapid.IntRange(1, 20).Draw(rt, "cache")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		faults := rapid.IntRange(0, 30).Draw(rt, "faults")
		w.plan = func(string) fault {
			if faults == 0 || rng.IntN(6) > 0 {
				return none
			}
			faults--
			return fault(1 + rng.IntN(4))
		}
		w.tell(history(rt)...)
		w.run(rng, 12)
		check(rt, w)
	})
}

// TestZombiesAndInterleavingsLeaveNoTrace: while one process is within any port call,
// others handle batches of other partitions, or take over its own and leave it
// behind as a writer that does not know yet; single documents of a write fail.
func TestZombiesAndInterleavingsLeaveNoTrace(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt, family(), rapid.IntRange(1, 4).Draw(rt, "partitions"))
		w.config.CascadePage = rapid.IntRange(1, 3).Draw(rt, "page")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		disturb(w, rng, rapid.IntRange(0, 60).Draw(rt, "disturbances"))
		w.tell(history(rt)...)
		w.run(rng, 8)
		check(rt, w)
	})
}

// disturb lets n port calls, about, go wrong, and other processes work within others.
// It returns the count of those visits.
func disturb(w *world, rng *rand.Rand, n int) *int {
	faults, left, visits := n/4, n, 0
	w.plan = func(string) fault {
		if faults == 0 || rng.IntN(10) > 0 {
			return none
		}
		faults--
		return fault(1 + rng.IntN(4))
	}
	procs, depth := []*process{nil, w.start(), w.start()}, 0
	w.within = func(string) {
		if depth+1 == len(procs) || left == 0 || rng.IntN(4) > 0 {
			return
		}
		left--
		visits++
		depth++
		defer func() { depth-- }()
		id, n := rng.IntN(w.partitions), 1+rng.IntN(6)
		if _, died := w.survive(func() (bool, error) { return procs[depth].step(context.Background(), id, n) }); died {
			procs[depth] = w.start()
		}
	}
	return &visits
}

// TestEveryPortCallMayFailOrDie goes through all port calls of one history, in each
// of four ways: an error or a crash, before or after it was done.
func TestEveryPortCallMayFailOrDie(t *testing.T) { inBubble(testEveryPortCall)(t) }

// inBubble makes the pauses between attempts take no time.
func inBubble(f func(*testing.T)) func(*testing.T) {
	return func(t *testing.T) { synctest.Test(t, f) }
}

func testEveryPortCall(t *testing.T) {
	tell := func(w *world) {
		w.tell(
			said(resource.Full, ref("Net", 0), 1, map[string]any{"project": "a"}),
			said(resource.Full, ref("Port", 0), 2, map[string]any{"project": "b", "net": "x0"}),
			said(resource.Full, ref("Port", 1), 3, map[string]any{"project": "b", "net": "x0"}),
			said(resource.Full, ref("Address", 0), 4, map[string]any{"port": "x0"}),
			said(resource.Partial, ref("Net", 0), 5, map[string]any{"project": "c"}),
			said(resource.Event, ref("Net", 0), 6, map[string]any{"usage": 1}),
			said(resource.Delete, ref("Port", 1), 7, nil),
			said(resource.Delete, ref("Net", 0), 8, nil),
		)
		w.append([]stream.Record{{Topic: indexer.MutationsTopic, Key: []byte("poison"), Value: []byte("{")}})
	}
	calls := 0
	for n := 0; n == 0 || n <= calls; n++ {
		for f := failBefore; f <= crashAfter; f++ {
			w := newWorld(t, family(), 2)
			w.config.CascadePage = 1
			var hit string
			w.plan = func(op string) fault {
				if op == "items" || w.calls != n {
					return none
				}
				hit = op
				return f
			}
			tell(w)
			w.run(rand.New(rand.NewPCG(uint64(n), 0)), 4)
			calls = max(calls, w.calls)
			check(t, w)
			if t.Failed() {
				t.Fatalf("after fault %d in call %d (%s)", f, n, hit)
			}
			if len(w.letters) != 1 {
				t.Fatalf("%d dead letters after fault %d in call %d (%s), want 1", len(w.letters), f, n, hit)
			}
		}
	}
	t.Logf("%d port calls", calls)
}
