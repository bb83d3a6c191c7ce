package storetest_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/storetest"
)

var (
	_ indexer.Store      = (*storetest.Sloppy)(nil)
	_ record.Store       = (*storetest.Sloppy)(nil)
	_ storetest.Searcher = (*storetest.Sloppy)(nil)
)

func TestSloppyWithoutFaultsKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t testing.TB, types []*catalog.Type) storetest.Harness {
		s := storetest.NewSloppy(types, storetest.Faults{})
		return storetest.Harness{Store: s, Records: s, Search: s}
	})
}

func TestSloppyFailsAsItIsTold(t *testing.T) {
	t.Parallel()
	doc := func(id string) resource.Document {
		return storetest.Doc(resource.Ref{Type: storetest.Server, ID: id}, []resource.Principal{"*"}, nil)
	}
	t.Run("single items fail and nothing of them is stored", func(t *testing.T) {
		s := storetest.NewSloppy(storetest.Types(), storetest.Faults{Seed: 1, Again: 0.3, Conflict: 0.3})
		var again, conflict, stored int
		for i := range 200 {
			out, err := s.Write(t.Context(), []resource.Document{doc(fmt.Sprint(i))})
			switch {
			case err != nil:
				t.Fatal(err)
			case errors.Is(out[0].Err, indexer.ErrAgain):
				again++
			case errors.Is(out[0].Err, indexer.ErrConflict):
				conflict++
			case out[0].Err == nil:
				stored++
			}
		}
		if again == 0 || conflict == 0 || stored == 0 || len(s.All()) != stored {
			t.Errorf("%d again, %d conflicts, %d stored, %d there", again, conflict, stored, len(s.All()))
		}
	})
	t.Run("answers are lost, half of them after storing", func(t *testing.T) {
		s := storetest.NewSloppy(storetest.Types(), storetest.Faults{Seed: 1, Lost: 1})
		for i := range 100 {
			if _, err := s.Write(t.Context(), []resource.Document{doc(fmt.Sprint(i))}); !errors.Is(err, storetest.ErrLost) {
				t.Fatalf("Write = %v, want ErrLost", err)
			}
		}
		if n := len(s.All()); n < 20 || n > 80 {
			t.Errorf("%d of 100 were stored", n)
		}
	})
	t.Run("children and searches see nothing before a refresh", func(t *testing.T) {
		s := storetest.NewSloppy(storetest.Types(), storetest.Faults{Stale: true})
		d := doc("c")
		d.Parents = []resource.Ref{{Type: storetest.Port, ID: "p"}}
		if _, err := s.Write(t.Context(), []resource.Document{d}); err != nil {
			t.Fatal(err)
		}
		for _, refresh := range []bool{false, true} {
			refs, err := s.Children(t.Context(), indexer.ChildQuery{Parent: d.Parents[0], Child: storetest.Server, N: 9, Refresh: refresh})
			if found := len(refs) == 1; err != nil || found != refresh {
				t.Errorf("Children with refresh %t = %v, %v", refresh, refs, err)
			}
		}
	})
}
