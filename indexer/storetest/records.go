package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/indexer/record"
)

func testRecords(t *testing.T, open Open) {
	t.Run("a record changes only at the version that was read", func(t *testing.T) {
		testCompareAndSet(t, open(t, Types()).Records)
	})
	t.Run("a scan pages through one table by key", func(t *testing.T) {
		testScan(t, open(t, Types()).Records)
	})
	t.Run("of many who write the same version one wins", func(t *testing.T) {
		testRace(t, open(t, Types()).Records)
	})
}

func save(t testing.TB, s record.Store, records ...record.Record) []record.Saved {
	t.Helper()
	out, err := s.Save(t.Context(), records)
	if err != nil || len(out) != len(records) {
		t.Fatalf("Save of %d records = %v, %v", len(records), out, err)
	}
	return out
}

func testCompareAndSet(t *testing.T, s record.Store) {
	read := func() record.Record {
		t.Helper()
		r, err := s.Read(t.Context(), "cursors", "k/1")
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := read(); r.Version != 0 || r.Value != nil {
		t.Errorf("Read of nothing = %+v", r)
	}
	rec := record.Record{Table: "cursors", Key: "k/1", Value: []byte{0, 1, 0xff}}
	v1 := save(t, s, rec)[0].Version
	if diff := cmp.Diff(record.Record{Table: "cursors", Key: "k/1", Value: rec.Value, Version: v1}, read()); diff != "" {
		t.Errorf("Read (-want +got):\n%s", diff)
	}
	if out := save(t, s, rec); !errors.Is(out[0].Err, record.ErrConflict) {
		t.Errorf("creating twice = %v, want a conflict", out[0].Err)
	}
	rec.Version, rec.Value = v1, []byte("two")
	other := record.Record{Table: "cursors", Key: "k/2", Value: []byte("x"), Version: v1 + 7}
	out := save(t, s, rec, other)
	if out[0].Err != nil || out[0].Version == v1 || !errors.Is(out[1].Err, record.ErrConflict) {
		t.Errorf("Save of a good and a stale record = %v", out)
	}
	v2 := out[0].Version
	if out := save(t, s, record.Record{Table: "cursors", Key: "k/1", Version: v1}); !errors.Is(out[0].Err, record.ErrConflict) {
		t.Errorf("deleting at an old version = %v, want a conflict", out[0].Err)
	}
	if out := save(t, s, record.Record{Table: "cursors", Key: "k/1", Version: v2}); out[0].Err != nil {
		t.Errorf("deleting = %v", out[0].Err)
	}
	if r := read(); r.Version != 0 {
		t.Errorf("Read of a deleted record = %+v", r)
	}
	v3 := save(t, s, record.Record{Table: "cursors", Key: "k/1", Value: []byte("3"), Version: record.Any})[0].Version
	if v3 == v1 || v3 == v2 || v3 == 0 {
		t.Errorf("version %d after a deletion was one before it (%d, %d)", v3, v1, v2)
	}
	if out := save(t, s, record.Record{Table: "cursors", Key: "k/1", Version: record.Any}); out[0].Err != nil || read().Version != 0 {
		t.Errorf("deleting any version = %v", out[0].Err)
	}
}

func testScan(t *testing.T, s record.Store) {
	for i := range 5 {
		save(t, s, record.Record{Table: "a", Key: fmt.Sprint("k", i), Value: []byte{byte(i)}},
			record.Record{Table: "b", Key: fmt.Sprint("k", i), Value: []byte{9}})
	}
	var keys []string
	for after := ""; ; after = keys[len(keys)-1] {
		page, err := s.Scan(t.Context(), "a", after, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			keys = append(keys, r.Key)
			if r.Table != "a" || r.Version == 0 || len(r.Value) != 1 || r.Value[0] == 9 {
				t.Errorf("Scan gave %+v", r)
			}
		}
	}
	if diff := cmp.Diff([]string{"k0", "k1", "k2", "k3", "k4"}, keys); diff != "" {
		t.Errorf("keys of a scan (-want +got):\n%s", diff)
	}
}

func testRace(t *testing.T, s record.Store) {
	v := save(t, s, record.Record{Table: "leases", Key: "l", Value: []byte("0")})[0].Version
	var wg sync.WaitGroup
	won := make(chan int64, 20)
	for range 20 {
		wg.Go(func() {
			out, err := s.Save(t.Context(), []record.Record{{Table: "leases", Key: "l", Value: []byte("1"), Version: v}})
			if err != nil {
				t.Errorf("Save: %v", err)
				return
			}
			if out[0].Err == nil {
				won <- out[0].Version
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Errorf("%d of 20 writers won", len(won))
	}
}
