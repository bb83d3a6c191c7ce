// Package storetest says what a store must do, as tests that every store runs: the
// port of the indexer, records, and searches, with the isolation of tenants. It also
// has Sloppy, a store in memory that keeps the contract as badly as is allowed.
//
// It tests contracts, not speed and not what happens at a crash. Its invariant: the
// expected answers come from an interpreter of its own, which shares no code with
// any store but the tokenizer.
package storetest

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// Searcher is the search side of a store.
type Searcher interface {
	Search(ctx context.Context, req query.Request) (query.Result, error)
	Get(ctx context.Context, ref resource.Ref, scope query.Scope) (query.Hit, error)
}

// Harness is one empty store under test. The parts may be the same value.
type Harness struct {
	Store   indexer.Store
	Records record.Store
	Search  Searcher
	// Refresh makes what was written visible to searches and Children; nil where
	// that needs nothing.
	Refresh func(t testing.TB)
}

func (h Harness) refresh(t testing.TB) {
	t.Helper()
	if h.Refresh != nil {
		h.Refresh(t)
	}
}

// Open opens an empty store for the given types and closes it when t ends.
type Open func(t testing.TB, types []*catalog.Type) Harness

// Run runs the whole kit.
func Run(t *testing.T, open Open) {
	t.Helper()
	t.Run("documents", func(t *testing.T) { testDocuments(t, open) })
	t.Run("children", func(t *testing.T) { testChildren(t, open) })
	t.Run("records", func(t *testing.T) { testRecords(t, open) })
	t.Run("searches", func(t *testing.T) { testSearches(t, open) })
	t.Run("isolation", func(t *testing.T) { testIsolation(t, open) })
	t.Run("random searches", func(t *testing.T) { testRandom(t, open) })
}

// The types of the kit: fields of every kind, some of the same name and different
// kinds, some for operators only.
const (
	Server = "Test::Server"
	Port   = "Test::Port"
)

// Types returns the types of the kit.
func Types() []*catalog.Type {
	return []*catalog.Type{
		{
			Name: Port,
			Fields: []catalog.Field{
				{Name: "id", Type: catalog.Keyword},
				{Name: "name", Type: catalog.Text},
				{Name: "status", Type: catalog.Keyword, AdminOnly: true},
				{Name: "size", Type: catalog.Double},
				{Name: "network_id", Type: catalog.Keyword},
			},
		},
		{
			Name:      Server,
			AdminOnly: []string{"other.host*", "metadata.secret*"},
			Fields: []catalog.Field{
				{Name: "id", Type: catalog.Keyword},
				{Name: "name", Type: catalog.Text},
				{Name: "description", Type: catalog.Text},
				{Name: "status", Type: catalog.Keyword},
				{Name: "flavor.id", Type: catalog.Keyword},
				{Name: "size", Type: catalog.Long},
				{Name: "load", Type: catalog.Double},
				{Name: "locked", Type: catalog.Boolean},
				{Name: "created_at", Type: catalog.Date},
				{Name: "address", Type: catalog.IP},
				{Name: "hypervisor", Type: catalog.Keyword, AdminOnly: true},
				{Name: "metadata", Type: catalog.Flattened},
				{Name: "networks", Type: catalog.Nested, Fields: []catalog.Field{
					{Name: "name", Type: catalog.Keyword},
					{Name: "label", Type: catalog.Text},
					{Name: "version", Type: catalog.Long},
					{Name: "vlan", Type: catalog.Long, AdminOnly: true},
				}},
			},
		},
	}
}

// Doc makes a document of the kit as the fold would leave it.
func Doc(ref resource.Ref, readers []resource.Principal, fields map[string]string) resource.Document {
	d := resource.Document{
		Ref: ref, Lineage: "lineage-" + ref.ID, Revision: 3, TenantRevision: 2, Readers: readers,
		Fields: map[string]json.RawMessage{}, Changed: time.UnixMicro(1_700_000_000_123_456).UTC(),
	}
	stamp := resource.Stamp{Time: 1_700_000_000_123_456, Version: 7, Message: "m-" + ref.ID}
	d.State = resource.State{Named: true, Latest: stamp, Edition: 4, Shown: stamp, Fields: map[string]resource.Stamp{}}
	for name, v := range fields {
		d.Fields[name] = json.RawMessage(v)
		d.State.Fields[name] = stamp
	}
	return d
}

// write stores documents that must be taken, and returns them with their versions.
func (h Harness) write(t testing.TB, docs ...resource.Document) []resource.Document {
	t.Helper()
	out, err := h.Store.Write(t.Context(), docs)
	if err != nil {
		t.Fatalf("Write of %d documents: %v", len(docs), err)
	}
	if len(out) != len(docs) {
		t.Fatalf("Write of %d documents answered for %d", len(docs), len(out))
	}
	for i, w := range out {
		if w.Err != nil {
			t.Fatalf("Write of %s: %v", docs[i].Ref, w.Err)
		}
		docs[i].Version = w.Version
	}
	return docs
}

func (h Harness) load(t testing.TB, refs ...resource.Ref) []resource.Document {
	t.Helper()
	docs, err := h.Store.Load(t.Context(), refs)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	if len(docs) != len(refs) {
		t.Fatalf("Load of %d refs gave %d documents", len(refs), len(docs))
	}
	return docs
}
