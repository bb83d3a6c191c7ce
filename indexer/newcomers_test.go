package indexer_test

import (
	"testing"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/listener/stream"
)

func TestNewDocumentsAreNotLookedUpWhileMostAreNew(t *testing.T) {
	w := newWorld(t, family(), 1)
	loads := 0
	w.within = func(op string) {
		if op == "load" {
			loads++
		}
	}
	next := 0
	batch := func(h stream.Handler, refs ...int) int {
		t.Helper()
		loads = 0
		for _, n := range refs {
			w.tell(said(resource.Full, ref("Flavor", n), next+1, map[string]any{"size": next}))
		}
		if _, err := w.handle(h, int64(next)); err != nil {
			t.Fatal(err)
		}
		next += len(refs)
		return loads
	}
	h := w.handler()
	if n := batch(h, 1, 2, 3); n != 0 {
		t.Errorf("%d loads for a batch of new documents", n)
	}
	h = w.handler() // one that has nothing in its cache
	if n := batch(h, 1, 2, 3); n != 1 {
		t.Errorf("%d loads for a batch that was taken for new, want 1", n)
	}
	if n := batch(h, 4, 5); n != 1 {
		t.Errorf("%d loads after a wrong guess, want 1", n)
	}
	for n := range 20 {
		batch(h, 10+n)
	}
	if n := batch(h, 6, 7); n != 0 {
		t.Errorf("%d loads after many new documents", n)
	}
	if d := w.docs[ref("Flavor", 2)]; d.Revision != 2 || string(d.Fields["size"]) != "3" {
		t.Errorf("a document taken for new has revision %d, size %s", d.Revision, d.Fields["size"])
	}
}
