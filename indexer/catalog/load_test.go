package catalog_test

import (
	"testing"

	"github.com/fresnel-search/fresnel/indexer/catalog"
)

func builtin(t testing.TB) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Builtin()
	if err != nil {
		t.Fatalf("the built-in catalogue:\n%v", err)
	}
	return c
}

func TestBuiltinLoads(t *testing.T) {
	t.Parallel()
	if n := len(builtin(t).Types()); n != 10 {
		t.Errorf("%d types, want 10", n)
	}
}
