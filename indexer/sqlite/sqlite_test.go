package sqlite_test

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/sqlite"
	"github.com/fresnel-search/fresnel/indexer/storetest"
)

var (
	_ indexer.Store      = (*sqlite.Store)(nil)
	_ record.Store       = (*sqlite.Store)(nil)
	_ storetest.Searcher = (*sqlite.Store)(nil)
)

func TestMain(m *testing.M) {
	if crashWriter() {
		return
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, dir string, types []*catalog.Type) *sqlite.Store {
	t.Helper()
	cfg := sqlite.DefaultConfig()
	cfg.Path = filepath.Join(dir, "index.db")
	s, err := sqlite.OpenTypes(cfg, types, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestStoreKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t testing.TB, types []*catalog.Type) storetest.Harness {
		s := open(t, t.TempDir(), types)
		return storetest.Harness{Store: s, Records: s, Search: s}
	})
}

func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, storetest.Types())
	if _, err := s.Save(t.Context(), []record.Record{{Table: "t", Key: "k", Value: []byte("v")}}); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) < 2 {
		t.Fatalf("%d files, %v: want the index and its log", len(files), err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %v, %v", f.Name(), info.Mode(), err)
		}
	}
}
