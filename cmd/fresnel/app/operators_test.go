package app

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/elastic"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/searchapi"
)

// asleep answers nobody.
type asleep struct{}

func (asleep) CreateIndices(context.Context) ([]string, error) { return nil, nil }
func (asleep) DropIndex(context.Context, string) error         { return nil }

func (asleep) Indices(ctx context.Context) ([]resource.Index, error) {
	<-ctx.Done()
	return nil, fmt.Errorf("list indices: %w", context.Cause(ctx))
}

func TestOperatorsAreToldThatTheStoreIsSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := operators{indexer.NewReindexer(indexer.ReindexDeps{Indices: asleep{}})}
		began := time.Now()
		if _, err := o.Reindex(t.Context(), searchapi.ReindexRequest{}); !errors.Is(err, searchapi.ErrUnavailable) {
			t.Errorf("Reindex = %v", err)
		}
		if took := time.Since(began); took > operatorLimit {
			t.Errorf("an operator waits for %s", took)
		}
	})
	for err, want := range map[error]error{
		&elastic.Error{Status: 503}:                       searchapi.ErrUnavailable,
		fmt.Errorf("list: %w: EOF", elastic.ErrNoAnswer):  searchapi.ErrUnavailable,
		fmt.Errorf("A: %w", indexer.ErrUnknown):           searchapi.ErrNotFound,
		fmt.Errorf("A: %w: serves", indexer.ErrNotNow):    searchapi.ErrConflict,
		fmt.Errorf("read reindex: %w", resource.ErrAgain): searchapi.ErrUnavailable,
	} {
		if got := shown(err); !errors.Is(got, want) || got.Error() != err.Error() {
			t.Errorf("shown(%v) = %v, want it to be %v in the same words", err, got, want)
		}
	}
	if err := shown(&elastic.Error{Status: 400}); errors.Is(err, searchapi.ErrUnavailable) {
		t.Errorf("a refusal = %v", err)
	}
}
