package storetest_test

import (
	"testing"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/record"
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
