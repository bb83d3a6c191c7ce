package play_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/fresnel-search/fresnel/cmd/fresnel/play"
	"github.com/fresnel-search/fresnel/listener/stream"
)

func TestLoadReadsTheRecordedDay(t *testing.T) {
	t.Parallel()
	rs, err := play.Load("../../../test/day")
	if err != nil {
		t.Fatal(err)
	}
	if len(rs) != 4460 {
		t.Fatalf("Load(day) = %d records, want the 4460 of its README", len(rs))
	}
	if p := rs[0].Partition; p < 0 {
		t.Errorf("first record's partition = %d, want the recorded one", p)
	}
}

func TestRecordsAreTheSameForTheSameSeed(t *testing.T) {
	t.Parallel()
	in := []stream.Record{
		{Topic: "a", Value: []byte(`{"id":"0d9c1b52-aaaa-4c1e-9d9e-5f0000000001","net":"0d9c1b52-aaaa-4c1e-9d9e-5f0000000001"}`)},
		{Topic: "b", Value: []byte(`{"id":"7e000000-0000-4000-8000-00000000beef","project":"8bf0bb6eed2c4f7a80560511ac77f96e"}`)},
	}
	seed := uint64(7)
	o := play.Options{Shuffle: &seed, Duplicate: 3, Copies: 2}
	one, two := slices.Collect(o.Records(in)), slices.Collect(o.Records(in))
	if len(one) != o.Count(len(in)) || len(one) != 12 {
		t.Fatalf("Records yields %d, Count says %d, want 12", len(one), o.Count(len(in)))
	}
	distinct := map[string]int{}
	for i := range one {
		if string(one[i].Value) != string(two[i].Value) {
			t.Fatalf("record %d differs between two runs", i)
		}
		distinct[string(one[i].Value)]++
	}
	if len(distinct) != 4 {
		t.Fatalf("%d distinct records, want 2 of each copy", len(distinct))
	}
	for v, n := range distinct {
		if n != 3 {
			t.Errorf("%s came %d times, want 3", v, n)
		}
		if strings.Contains(v, "project") && !strings.Contains(v, "8bf0bb6eed2c4f7a80560511ac77f96e") {
			t.Errorf("%s lost its project", v)
		}
		if strings.Contains(v, "net") && v[7:43] != v[52:88] {
			t.Errorf("%s: a reference no longer names the resource", v)
		}
	}
}
