package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/elastic"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/searchapi"
)

// reindexing takes requests for reindexes of a store. Whoever has the role indexer
// also runs it. No other process has an embedded store.
func (s *system) reindexing() *indexer.Reindexer {
	return indexer.NewReindexer(indexer.ReindexDeps{
		Indices: s.store, Rebuilder: s.store, Records: s.store, Alone: !s.Config.Shared(),
		Owner: s.name, Logger: s.Log.With("component", "reindex"),
	})
}

// operators shows a reindexer to operators. They are told in time if the store is slow;
// only making indices takes as long as it takes.
type operators struct{ *indexer.Reindexer }

// operatorLimit is how long an operator waits for the store, and errStoreSlow what is
// said then.
const operatorLimit = 10 * time.Second

var errStoreSlow = fmt.Errorf("the store does not answer within %s; look at /readyz, and try again", operatorLimit)

func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, operatorLimit, errStoreSlow)
}

var _ searchapi.Indices = operators{}

// Indices implements searchapi.Indices.
func (o operators) Indices(ctx context.Context) ([]resource.Index, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
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
	ctx, cancel := bounded(ctx)
	defer cancel()
	return shown(o.Reindexer.Drop(ctx, name))
}

// Reindex implements searchapi.Indices.
func (o operators) Reindex(ctx context.Context, q searchapi.ReindexRequest) ([]record.Reindex, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	jobs, err := o.Request(ctx, indexer.ReindexRequest{
		Types: q.Types, DryRun: q.DryRun, Force: q.Force, Rate: q.Rate, Keep: q.Keep,
		Grace: time.Duration(q.Grace * float64(time.Second)),
	})
	return jobs, shown(err)
}

// Jobs implements searchapi.Indices.
func (o operators) Jobs(ctx context.Context) ([]record.Reindex, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	jobs, err := o.Reindexer.Jobs(ctx)
	return jobs, shown(err)
}

// Abort implements searchapi.Indices.
func (o operators) Abort(ctx context.Context, typ string) (record.Reindex, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	job, err := o.Reindexer.Abort(ctx, typ)
	return job, shown(err)
}

// refusal is an error in its own words that the search API knows by its kind.
type refusal struct {
	error
	kind error
}

// Unwrap returns both.
func (r refusal) Unwrap() []error { return []error{r.error, r.kind} }

// shown is a refusal as the search API knows it.
func shown(err error) error {
	switch {
	case errors.Is(err, indexer.ErrUnknown):
		return refusal{err, searchapi.ErrNotFound}
	case errors.Is(err, indexer.ErrNotNow):
		return refusal{err, searchapi.ErrConflict}
	case away(err):
		return refusal{err, searchapi.ErrUnavailable}
	}
	return err
}

// away reports whether a store that is fine may answer otherwise.
func away(err error) bool {
	answer, is := errors.AsType[*elastic.Error](err)
	return is && (answer.Status >= http.StatusInternalServerError || answer.Status == http.StatusTooManyRequests) ||
		errors.Is(err, elastic.ErrNoAnswer) || errors.Is(err, resource.ErrAgain) || errors.Is(err, errStoreSlow)
}
