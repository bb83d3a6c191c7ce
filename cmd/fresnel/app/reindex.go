package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/sqlite"
	"github.com/fresnel-search/fresnel/searchapi"
)

// rebuilder is what a store must be for its indices to be looked at and made anew.
type rebuilder interface {
	indexer.Indices
	indexer.Rebuilder
}

// reindexing takes requests for reindexes of a store. Whoever has the role indexer
// also runs it. No other process has an embedded store.
func (s *system) reindexing() *indexer.Reindexer {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	var store rebuilder = s.store
	_, alone := store.(*sqlite.Store)
	return indexer.NewReindexer(indexer.ReindexDeps{
		Indices: store, Rebuilder: store, Records: s.store, Alone: alone,
		Owner: fmt.Sprintf("%s/%d", host, os.Getpid()), Logger: s.Log.With("component", "reindex"),
	})
}

// operators shows a reindexer to operators.
type operators struct{ *indexer.Reindexer }

var _ searchapi.Indices = operators{}

// Indices implements searchapi.Indices.
func (o operators) Indices(ctx context.Context) ([]resource.Index, error) {
	list, err := o.Reindexer.Indices(ctx)
	return list, shown(err)
}

// Create implements searchapi.Indices.
func (o operators) Create(ctx context.Context) ([]string, error) {
	made, err := o.Reindexer.Create(ctx)
	return made, shown(err)
}

// Drop implements searchapi.Indices.
func (o operators) Drop(ctx context.Context, name string) error {
	return shown(o.Reindexer.Drop(ctx, name))
}

// Reindex implements searchapi.Indices.
func (o operators) Reindex(ctx context.Context, q searchapi.ReindexRequest) ([]record.Reindex, error) {
	jobs, err := o.Request(ctx, indexer.ReindexRequest{
		Types: q.Types, DryRun: q.DryRun, Force: q.Force, Rate: q.Rate, Keep: q.Keep,
		Grace: time.Duration(q.Grace * float64(time.Second)),
	})
	return jobs, shown(err)
}

// Abort implements searchapi.Indices.
func (o operators) Abort(ctx context.Context, typ string) (record.Reindex, error) {
	job, err := o.Reindexer.Abort(ctx, typ)
	return job, shown(err)
}

// shown is a refusal as the search API knows it.
func shown(err error) error {
	switch {
	case errors.Is(err, indexer.ErrUnknown):
		return fmt.Errorf("%w: %w", searchapi.ErrNotFound, err)
	case errors.Is(err, indexer.ErrNotNow):
		return fmt.Errorf("%w: %w", searchapi.ErrConflict, err)
	}
	return err
}
