package indexer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/changelog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/plugins/change"
)

// handle gives a partition's whole log from an offset on to a handler.
func (w *world) handle(h stream.Handler, from int64) (indexer.Tally, error) {
	w.t.Helper()
	metadata, err := h.Handle(context.Background(), stream.Batch{
		Partition: stream.Partition{Topic: indexer.MutationsTopic}, Records: slices.Clone(w.log[0][from:]), HighWater: int64(len(w.log[0])),
	})
	var tally indexer.Tally
	if err != nil {
		return tally, err
	}
	if err := json.Unmarshal([]byte(metadata), &tally); err != nil {
		w.t.Fatal(err)
	}
	if !tally.Balanced() {
		w.t.Errorf("books do not add up: %s", metadata)
	}
	return tally, nil
}

func (w *world) handler() stream.Handler {
	return w.start().x.NewHandler(stream.Assignment{Partition: stream.Partition{Topic: indexer.MutationsTopic}})
}

func (w *world) entries(t *testing.T) (es []*changelog.Entry) {
	t.Helper()
	for _, rec := range w.changes {
		e, err := changelog.Decode(rec.Value)
		if err != nil {
			t.Fatal(err)
		}
		es = append(es, e)
	}
	return es
}

func TestBatchCoalescesWritesButNoTransitions(t *testing.T) {
	w := newWorld(t, family(), 1)
	r := ref("Flavor", 1)
	w.tell(
		said(resource.Full, r, 1, map[string]any{"size": 1}),
		said(resource.Partial, r, 2, map[string]any{"size": 2}),
		said(resource.Partial, r, 3, map[string]any{"size": 2}),
		said(resource.Delete, r, 4, nil),
	)
	tally, err := w.handle(w.handler(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(indexer.Tally{Mutations: 4, Applied: 3, Silent: 1}, tally); diff != "" {
		t.Errorf("tally (-want +got):\n%s", diff)
	}
	var got []string
	for _, e := range w.entries(t) {
		got = append(got, fmt.Sprint(e.Action, e.Revision, string(e.Before["size"])))
	}
	if diff := cmp.Diff([]string{"created1", "updated21", "deleted3"}, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if len(w.writes) != 1 || len(w.writes[0]) != 1 {
		t.Errorf("%d writes, want 1 of 1 document", len(w.writes))
	}
}

func TestUnchangedDocumentsAreNotWritten(t *testing.T) {
	w := newWorld(t, family(), 1)
	m := said(resource.Full, ref("Flavor", 1), 1, map[string]any{"size": 1})
	w.tell(m)
	h := w.handler()
	if _, err := w.handle(h, 0); err != nil {
		t.Fatal(err)
	}
	w.tell(m, said(resource.Event, m.Ref, 2, nil))
	w.calls, w.writes = 0, nil
	tally, err := w.handle(h, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(w.writes) != 0 || tally.Stale != 1 || tally.Forwarded != 1 {
		t.Errorf("%d writes, tally %+v", len(w.writes), tally)
	}
}

func TestSameHandlerCountsARepeatedBatchOnce(t *testing.T) {
	w := newWorld(t, family(), 1)
	w.tell(said(resource.Full, ref("Flavor", 1), 1, nil), said(resource.Delete, ref("Flavor", 1), 2, nil))
	h := w.handler()
	for range 3 { // as when the commit keeps failing
		tally, err := w.handle(h, 0)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(indexer.Tally{Mutations: 2, Applied: 2}, tally); diff != "" {
			t.Fatalf("tally (-want +got):\n%s", diff)
		}
	}
	if got := w.start().x.Total(); got.Mutations != 0 {
		t.Errorf("a process without partitions counts %+v", got)
	}
}

func TestPoisonIsBuriedAndTheRestGoesOn(t *testing.T) {
	w := newWorld(t, family(), 1)
	w.tell(said(resource.Full, ref("Flavor", 1), 1, nil), said(resource.Full, ref("Unheard", 1), 2, nil))
	w.append([]stream.Record{{Topic: indexer.MutationsTopic, Key: []byte("k"), Value: []byte(`{"v":99}`)}})
	w.tell(said(resource.Full, ref("Flavor", 2), 3, nil))
	tally, err := w.handle(w.handler(), 0)
	if err != nil {
		t.Fatal(err)
	}
	want := indexer.Tally{Mutations: 4, Applied: 2, Dead: map[string]int64{"malformed": 1, "unknown_type": 1}}
	if diff := cmp.Diff(want, tally); diff != "" {
		t.Errorf("tally (-want +got):\n%s", diff)
	}
	d := w.letters["mutation/fresnel.mutations/0/2"]
	if d.Reason != "malformed" || string(d.Value) != `{"v":99}` || d.Offset != 2 || d.Topic != indexer.MutationsTopic {
		t.Errorf("dead letter = %+v", d)
	}
}

func TestMutationThatOutgrowsTheDocumentIsUndone(t *testing.T) {
	w := newWorld(t, family(), 1)
	r := ref("Flavor", 1)
	w.tell(
		said(resource.Full, r, 1, map[string]any{"size": 1}),
		said(resource.Partial, r, 2, map[string]any{"size": 2, "other.blob": strings.Repeat("x", 300<<10)}),
		said(resource.Partial, r, 3, map[string]any{"name": "small"}),
	)
	tally, err := w.handle(w.handler(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if tally.Dead["too_large"] != 1 || tally.Applied != 2 {
		t.Errorf("tally = %+v", tally)
	}
	d := w.docs[r]
	if string(d.Fields["size"]) != "1" || string(d.Fields["name"]) != `"small"` || d.Revision != 2 {
		t.Errorf("document = %+v", d)
	}
	if es := w.entries(t); len(es) != 2 || es[1].Revision != 2 {
		t.Errorf("%d changes, want revisions 1 and 2", len(es))
	}
}

func TestOutboxOfAHotResourceStaysSmall(t *testing.T) {
	w := newWorld(t, family(), 1)
	r := ref("Flavor", 1)
	for i := range 40 {
		w.tell(said(resource.Full, r, i+1, map[string]any{"blob": fmt.Sprint(i, strings.Repeat("x", 30<<10))}))
	}
	tally, err := w.handle(w.handler(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if tally.Applied != 40 || len(w.changes) != 40 {
		t.Errorf("tally = %+v with %d changes", tally, len(w.changes))
	}
	for i, docs := range w.writes {
		if n := docs[0].OutboxSize(); n > 256<<10 {
			t.Errorf("write %d has an outbox of %d bytes", i, n)
		}
	}
	if len(w.writes) < 4 {
		t.Errorf("%d writes; is the outbox measured?", len(w.writes))
	}
}

func TestRejectedMutationsAreGivenUpAlone(t *testing.T) {
	w := newWorld(t, family(), 1)
	bad := func(d *resource.Document) bool { return string(d.Fields["size"]) == `"many"` }
	w.reject = bad
	w.tell(
		said(resource.Full, ref("Flavor", 1), 1, map[string]any{"size": 1}),
		said(resource.Partial, ref("Flavor", 1), 2, map[string]any{"size": "many"}),
		said(resource.Partial, ref("Flavor", 1), 3, map[string]any{"name": "n"}),
		said(resource.Full, ref("Flavor", 2), 4, map[string]any{"size": "many"}),
		said(resource.Full, ref("Flavor", 3), 5, map[string]any{"size": 3}),
	)
	tally, err := w.handle(w.handler(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if tally.Dead["rejected"] != 2 || tally.Applied != 3 {
		t.Errorf("tally = %+v", tally)
	}
	if d := w.docs[ref("Flavor", 1)]; string(d.Fields["size"]) != "1" || string(d.Fields["name"]) != `"n"` || d.Revision != 2 {
		t.Errorf("document = %+v", d)
	}
	if len(w.letters) != 2 || len(w.changes) != 3 {
		t.Errorf("%d dead letters, %d changes; want 2, 3", len(w.letters), len(w.changes))
	}
}

func TestOnlyBusyDocumentsAreWrittenAgain(t *testing.T) {
	w := newWorld(t, family(), 1)
	busy := 2
	w.plan = func(op string) fault {
		if op == "items" && busy > 0 {
			busy--
			return items
		}
		return none
	}
	for i := range 4 {
		w.tell(said(resource.Full, ref("Flavor", i), i+1, nil))
	}
	if _, err := w.handle(w.handler(), 0); err != nil {
		t.Fatal(err)
	}
	var sizes []int
	for _, docs := range w.writes {
		sizes = append(sizes, len(docs))
	}
	if diff := cmp.Diff([]int{4, 2, 1}, sizes); diff != "" {
		t.Errorf("documents per write (-want +got):\n%s", diff)
	}
}

func TestDeadStoreFailsTheBatchInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, family(), 1)
		w.plan = func(op string) fault {
			if op == "write" {
				return failBefore
			}
			return none
		}
		w.tell(said(resource.Full, ref("Flavor", 1), 1, nil))
		began := time.Now()
		if _, err := w.handle(w.handler(), 0); !errors.Is(err, errFault) {
			t.Errorf("Handle = %v, want the store's error", err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("gave up after %v: the group would have expelled its member", took)
		}
		if len(w.changes) != 0 {
			t.Error("a change went out that is not stored")
		}
	})
}

func TestEntriesOfAnotherLogAreSettled(t *testing.T) {
	w := newWorld(t, family(), 1)
	r := ref("Flavor", 1)
	d := resource.Document{Ref: r, Version: 1, Lineage: "l", Revision: 7, Outbox: []resource.Entry{{
		At: resource.Position{Log: "an older log"}, Action: change.Updated, Revision: 7,
	}}}
	d.State.Named = true
	w.docs[r] = d
	w.tell(said(resource.Partial, r, 1, map[string]any{"size": 1}))
	if _, err := w.handle(w.handler(), 0); err != nil {
		t.Fatal(err)
	}
	if es := w.entries(t); len(es) != 1 || es[0].Revision != 8 {
		t.Errorf("changes = %+v, want revision 8 alone", es)
	}
	if got := w.docs[r].Outbox; len(got) != 1 || got[0].At.Log == "an older log" {
		t.Errorf("outbox = %+v", got)
	}
}

func TestCascadeGoesPageByPageThroughTheLog(t *testing.T) {
	w := newWorld(t, family(), 1)
	w.config.CascadePage = 2
	net := ref("Net", 0)
	for i := range 5 {
		w.tell(said(resource.Full, ref("Port", i), i+1, map[string]any{"net": net.ID}))
	}
	w.tell(said(resource.Full, ref("Subnet", 0), 9, map[string]any{"net": net.ID}))
	w.tell(said(resource.Full, net, 10, map[string]any{"project": "p"}))
	w.run(rand.New(rand.NewPCG(1, 1)), 100)
	check(t, w)
	cascades := 0
	for _, rec := range w.log[0] {
		m, err := resource.DecodeMutation(rec.Value)
		if err != nil {
			t.Fatal(err)
		}
		if m.Kind == resource.Cascade && m.Ref == net {
			cascades++
		}
		if m.Kind == resource.Inherit && m.Cause.Kind != change.ByCascade {
			t.Errorf("heritage has cause %s", m.Cause.Kind)
		}
	}
	for _, d := range w.docs {
		if d.Ref != net && !slices.Contains(d.Readers, "project:p") {
			t.Errorf("%s has readers %v", d.Ref, d.Readers)
		}
	}
	if cascades < 3 {
		t.Errorf("%d cascades for 6 children at 2 a page", cascades)
	}
}

func TestGhostsHandNothingDown(t *testing.T) {
	w := newWorld(t, family(), 1)
	member := said(resource.Put, ref("Net", 0), 1, nil)
	member.Elements = map[string]map[string]json.RawMessage{"members": {"p": raw(map[string]string{"project": "p"})}}
	w.tell(member, said(resource.Full, ref("Port", 0), 2, map[string]any{"net": "x0", "project": "q"}))
	w.run(rand.New(rand.NewPCG(1, 1)), 100)
	for _, rec := range w.log[0] {
		if m, err := resource.DecodeMutation(rec.Value); err != nil || m.Kind == resource.Inherit {
			t.Errorf("appended %s, %v; want no heritage", rec.Value, err)
		}
	}
	if got := w.docs[ref("Port", 0)].Readers; !slices.Equal(got, []resource.Principal{"project:q"}) {
		t.Errorf("readers = %v", got)
	}
}

func TestEventsGoToWhoSeesTheResourceThen(t *testing.T) {
	w := newWorld(t, family(), 1)
	r := ref("Net", 0)
	w.tell(
		said(resource.Event, r, 1, map[string]any{"usage": 1}),
		said(resource.Full, r, 2, map[string]any{"project": "p"}),
		said(resource.Event, r, 3, map[string]any{"usage": 2}),
		said(resource.Full, r, 4, map[string]any{"project": "q"}),
	)
	for range 2 { // the second time as a replay
		w.changes = nil
		if _, err := w.handle(w.handler(), 0); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range w.entries(t) {
			got = append(got, fmt.Sprint(e.Action, " ", e.Readers))
		}
		want := []string{"event []", "created [project:p]", "event [project:p]", "updated [project:q]"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
	}
}

func TestChangeTooLargeForTheLogGoesWithoutItsValues(t *testing.T) {
	w := newWorld(t, family(), 1)
	w.tooBig = 20_000
	w.tell(
		said(resource.Full, ref("Flavor", 1), 1, map[string]any{"blob": strings.Repeat("x", 15_000)}),
		said(resource.Partial, ref("Flavor", 1), 2, map[string]any{"blob": strings.Repeat("y", 15_000)}),
	)
	if _, err := w.handle(w.handler(), 0); err != nil {
		t.Fatal(err)
	}
	es := w.entries(t)
	if len(es) != 2 || es[0].Truncated || !es[1].Truncated || es[1].Fields != nil || len(es[1].Changed) != 1 {
		t.Errorf("changes = %+v", es)
	}
}

func TestLagIsWhatTheLastBatchLeft(t *testing.T) {
	w := newWorld(t, family(), 1)
	w.tell(said(resource.Full, ref("Flavor", 1), 1, nil), said(resource.Full, ref("Flavor", 2), 2, nil))
	x := w.start().x
	h := x.NewHandler(stream.Assignment{Partition: stream.Partition{Topic: indexer.MutationsTopic}})
	lags := []int64{}
	w.within = func(op string) {
		if op == "write" {
			lags = append(lags, x.Lag())
		}
	}
	if _, err := w.handle(h, 0); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int64{2, 0}, append(lags, x.Lag())); diff != "" {
		t.Errorf("lag while writing and after (-want +got):\n%s", diff)
	}
	books := x.Books()
	if len(books) != 1 || books[0].Offset != 2 || books[0].Applied != 2 {
		t.Errorf("books = %+v", books)
	}
}

// length is a mutation log that others append to.
type length struct {
	stream.Log
	end int64
}

func (l *length) Bounds(context.Context, stream.Partition) (int64, int64, error) {
	return 0, l.end, nil
}

func TestLagGrowsWhileABatchIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, family(), 1)
		x, err := indexer.New(w.config, indexer.Deps{
			Catalog: w.catalog, Store: w, Records: w, Producer: w, Log: &length{end: 5000},
			Logs: indexer.Names{Records: w, Place: w.place}, Lineage: func() string { return "l" },
		})
		if err != nil {
			t.Fatal(err)
		}
		x.NewHandler(stream.Assignment{Partition: stream.Partition{Topic: indexer.MutationsTopic}, Offset: 1000})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := x.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if got := x.Lag(); got != 4000 {
			t.Errorf("lag = %d, want 4000", got)
		}
	})
}

func TestRunSweepsOldTombstonesUntilStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, family(), 1)
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Minute)
		defer cancel()
		began := time.Now()
		if err := w.start().x.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if len(w.swept) != 3 {
			t.Fatalf("%d sweeps in 25 minutes, want 3", len(w.swept))
		}
		if want := began.Add(-30 * 24 * time.Hour); !w.swept[0].Equal(want) {
			t.Errorf("sweeps what was deleted before %v, want %v", w.swept[0], want)
		}
	})
}

func TestConfigNamesEveryProblem(t *testing.T) {
	err := indexer.Config{}.Validate()
	for _, key := range []string{"cache_documents", "cache_bytes", "cascade_page", "tombstone_retention", "sweep_interval"} {
		if err == nil || !strings.Contains(err.Error(), key+": ") {
			t.Errorf("%s is not named in: %v", key, err)
		}
	}
	if err := indexer.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}
