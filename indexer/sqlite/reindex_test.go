package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/sqlite"
	"github.com/fresnel-search/fresnel/indexer/storetest"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

func webs(n int) []resource.Document {
	docs := make([]resource.Document, n)
	for i := range docs {
		docs[i] = server(fmt.Sprint(i), map[string]string{"status": `"A"`, "name": `"web"`, "size": fmt.Sprint(i)})
	}
	return docs
}

func everything() *query.Scope { return &query.Scope{All: true, Hidden: true} }

// changed are the kit's types with another kind of field.
func changed() []*catalog.Type {
	types := storetest.Types()
	for i, f := range types[1].Fields {
		if f.Name == "name" {
			types[1].Fields[i].Type = catalog.Keyword
		}
	}
	return types
}

func mutilate(t *testing.T, dir, id, readers string) {
	t.Helper()
	cfg := sqlite.DefaultConfig().In(dir)
	db, err := sql.Open("sqlite", cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "UPDATE docs SET readers=? WHERE id=?", readers, id); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestIndexingAgainIsWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, storetest.Types())
	write(t, s, webs(1200)...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mutilate(t, dir, "1199", "{") // in the third page
	if s, err := sqlite.OpenTypes(sqlite.DefaultConfig().In(dir), changed(), nil); err == nil {
		t.Fatal("a document that cannot be read was indexed", s.Close())
	}
	mutilate(t, dir, "1199", `["*"]`)
	s = open(t, dir, storetest.Types())
	if got := total(t, s, query.Match{Fields: []string{"name"}, Text: "web"}, everything()); got != 1200 {
		t.Errorf("after indexing again broke off %d of 1200 documents are found as before", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, changed())
	if got := total(t, s, query.Term{Field: "name", Value: "web"}, everything()); got != 1200 {
		t.Errorf("%d of 1200 documents are indexed as the catalogue wants", got)
	}
	write(t, s, server("new", map[string]string{"name": `"web"`}))
}

func TestARebuildIsUndoneWhenItIsCutOff(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), storetest.Types())
	write(t, s, webs(1200)...)
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	job := &record.Reindex{Type: storetest.Server}
	err := s.Rebuild(ctx, job, func(context.Context) error { cancel(gone); return nil })
	if !errors.Is(err, gone) || job.Served {
		t.Errorf("Rebuild of a context that is done = %v, served %t", err, job.Served)
	}
	find := func() int { return total(t, s, query.Match{Fields: []string{"name"}, Text: "web"}, everything()) }
	if got := find(); got != 1200 {
		t.Errorf("%d of 1200 are found after it was cut off", got)
	}
	if err := s.Rebuild(t.Context(), job, func(context.Context) error { return nil }); err != nil || job.Copied != 1200 || !job.Served {
		t.Errorf("Rebuild = %v, %d documents, served %t", err, job.Copied, job.Served)
	}
	if got := find(); got != 1200 {
		t.Errorf("%d of 1200 are found after a rebuild", got)
	}
}

func TestDocumentsOfATypeThatIsGoneAreListedAndDropped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, storetest.Types())
	write(t, s, webs(3)...)
	port := storetest.Doc(resource.Ref{Type: storetest.Port, ID: "p"}, []resource.Principal{"*"}, map[string]string{"name": `"eth"`})
	write(t, s, port)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, storetest.Types()[:1])
	list, err := s.Indices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || list[0].Documents != 1 || list[1].State != resource.IndexStray || list[1].Documents != 3 {
		t.Fatalf("Indices = %+v", list)
	}
	if err := s.DropIndex(t.Context(), list[0].Name); err == nil {
		t.Error("documents of a type of the catalogue were dropped")
	}
	if err := s.DropIndex(t.Context(), list[1].Name); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Indices(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("after dropping: %+v, %v", list, err)
	}
}
