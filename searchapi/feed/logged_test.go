package feed

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/storetest"
)

func entriesOf(partition int, from, to int64) (out []logged) {
	for n := from; n < to; n++ {
		at := time.UnixMilli(1_800_000_000_000 + n).UTC()
		out = append(out, logged{at, partition, n, fmt.Appendf(nil, "%d/%d", partition, n)})
	}
	return out
}

func FuzzUnpackReadsWhatPackWritesAndRefusesTheRest(f *testing.F) {
	var p packer
	f.Add(p.pack(entriesOf(1, 5, 9)))
	f.Add(p.pack(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := unpack(b)
		if err != nil {
			return
		}
		again, err := unpack(new(packer).pack(entries))
		if err != nil || !cmp.Equal(entries, again, cmp.AllowUnexported(logged{})) {
			t.Errorf("%v became %v, %v", entries, again, err)
		}
	})
}

// What partitions record at the same time overlaps: a record whose newest entry is older
// may still have entries that are newer than others.
func TestNewestEntriesOfAllPartitionsAreFoundWhateverTheirRecordsHold(t *testing.T) {
	t.Parallel()
	who := resource.Project("a")
	store := storetest.NewSloppy(nil, storetest.Faults{})
	var all []logged
	var p packer
	for batch := range int64(40) {
		for partition := range 3 {
			// Old ones, and a new one: each record begins with that.
			entries := append(entriesOf(partition, 100*batch, 100*batch+9), entriesOf(partition, 9000-batch, 9001-batch)...)
			all = append(all, entries...)
			if _, err := store.Save(context.Background(), p.records(who, entries)); err != nil {
				t.Fatal(err)
			}
		}
	}
	found, err := newest(t.Context(), store, who)
	if err != nil || len(found) < keep {
		t.Fatalf("%d entries, %v", len(found), err)
	}
	slices.SortFunc(all, newer)
	slices.SortFunc(found, newer)
	if d := cmp.Diff(all[:keep], found[:keep], cmp.AllowUnexported(logged{})); d != "" {
		t.Errorf("newest (-want +got):\n%s", d)
	}
	if len(found) > 20*keep {
		t.Errorf("%d entries were read to find %d", len(found), keep)
	}
}

var _ record.Store = (*storetest.Sloppy)(nil)
