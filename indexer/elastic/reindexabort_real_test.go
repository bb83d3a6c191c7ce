//go:build real

package elastic_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/elastic"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/storetest"
)

func TestRealReindexIsAbortedAndTakenOver(t *testing.T) {
	eachServer(t, func(t *testing.T, cfg elastic.Config) {
		before, after, _ := twoStores(t, cfg)
		fill(t, before, 1000)
		r := reindexer(after, nil)
		stop := running(t, r)
		copying := func(j record.Reindex) bool { return j.Copied > 0 }
		if _, err := r.Request(t.Context(), indexer.ReindexRequest{Rate: 50}); err != nil {
			t.Fatal(err)
		}
		if j := job(t, r, copying); j.Left == 0 {
			t.Errorf("progress: %+v", j.Progress)
		}
		if err := r.Drop(t.Context(), cfg.Prefix+"-x"); !errors.Is(err, indexer.ErrUnknown) {
			t.Errorf("Drop of what is not there = %v", err)
		}
		_, others := serving(t, after)
		if err := r.Drop(t.Context(), others[0]); !errors.Is(err, indexer.ErrNotNow) {
			t.Errorf("Drop of what is being filled = %v", err)
		}
		if _, err := r.Abort(t.Context(), storetest.Server); err != nil {
			t.Fatal(err)
		}
		if j := job(t, r, ended); j.State != record.ReindexAborted {
			t.Errorf("it ended as %+v", j)
		}
		if x, others := serving(t, after); x.Generation != 1 || len(others) > 0 {
			t.Errorf("after an abort there are %+v and %v", x, others)
		}
		if _, err := r.Request(t.Context(), indexer.ReindexRequest{Rate: 300, Keep: true}); err != nil {
			t.Fatal(err)
		}
		job(t, r, copying)
		stop() // as a restart does
		other := reindexer(after, nil)
		defer running(t, other)()
		j := job(t, other, ended)
		x, others := serving(t, after)
		if j.State != record.ReindexDone || x.Generation != 2 || len(others) != 1 || x.Documents != 1000 {
			t.Errorf("ended as %+v, %+v and %v", j, x, others)
		}
		if err := other.Drop(t.Context(), x.Name); !errors.Is(err, indexer.ErrNotNow) {
			t.Errorf("Drop of what serves = %v", err)
		}
		if err := other.Drop(t.Context(), others[0]); err != nil {
			t.Errorf("Drop of what was kept = %v", err)
		}
	})
}

func TestRealReindexTakesNoMoreThanTheOldIndexHas(t *testing.T) {
	eachServer(t, func(t *testing.T, cfg elastic.Config) {
		before, after, _ := twoStores(t, cfg)
		fill(t, before, 200)
		for i := range 20 {
			docs, err := before.Load(t.Context(), []resource.Ref{serverRef(i)})
			if err != nil {
				t.Fatal(err)
			}
			docs[0].Deleted = true
			if _, err := before.Write(t.Context(), docs); err != nil {
				t.Fatal(err)
			}
		}
		j := &record.Reindex{Type: storetest.Server}
		swept := 0
		err := after.Rebuild(t.Context(), j, func(ctx context.Context) error {
			if strings.Contains(j.Phase, "making replicas") {
				n, err := before.Sweep(ctx, time.Now().Add(time.Hour), 15)
				swept += n
				return err
			}
			return nil
		})
		if err != nil || swept != 15 {
			t.Fatalf("Rebuild = %v, swept %d", err, swept)
		}
		if x, _ := serving(t, after); x.Documents != 185 {
			t.Errorf("%d documents, want 185", x.Documents)
		}
	})
}
