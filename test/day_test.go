package test

import (
	"testing"

	"github.com/fresnel-search/fresnel/test/day"
	"github.com/fresnel-search/fresnel/test/harness"
)

func TestTheRecordedDayEndsInTheTruth(t *testing.T) {
	t.Parallel()
	truth, err := day.Open("day")
	if err != nil {
		t.Fatal(err)
	}
	s := harness.New(t, admin).Start()
	s.Play("day")
	settled(t, s, count(t, "day"), "")
	by := map[string]map[string]day.Object{}
	for _, d := range dump(t, s, "") {
		if by[d.Type] == nil {
			by[d.Type] = map[string]day.Object{}
		}
		by[d.Type][d.ID] = d.Source
	}
	for _, typ := range truth.Types() {
		r := truth.Compare(typ, by[typ])
		for _, p := range r.Problems {
			t.Errorf("%s: %s", typ, p)
		}
		t.Logf("%-26s %3d resources, %4d fields compared, untold: %v", typ, r.Resources, r.Compared, r.Differ)
	}
}
