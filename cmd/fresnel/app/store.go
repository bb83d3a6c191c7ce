package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/elastic"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/sqlite"
	"github.com/fresnel-search/fresnel/searchapi"
)

// storage is all that a store is to us.
type storage interface {
	indexer.Store
	indexer.Indices
	indexer.Rebuilder
	record.Store
	searchapi.Searcher
	// Ping says in words why the store cannot work for us.
	Ping(ctx context.Context) error
	Close() error
}

var (
	_ storage = (*sqlite.Store)(nil)
	_ storage = (*elastic.Store)(nil)
)

const (
	// firstPause and lastPause are between attempts to reach a store.
	firstPause = 500 * time.Millisecond
	lastPause  = 5 * time.Second
)

// openStore opens the store that the configuration names.
func (s *system) openStore(ctx context.Context) error {
	store, err := s.chosenStore(ctx)
	if err != nil {
		return err
	}
	s.store = store
	s.add("store", nil, store.Close)
	s.check("store", store.Ping)
	return s.sole(ctx)
}

func (s *system) chosenStore(ctx context.Context) (storage, error) {
	if !s.Config.Shared() {
		return sqlite.Open(s.Config.Indexer.SQLite.In(s.Config.Data), s.catalog, s.Log.With("component", "sqlite"))
	}
	cfg, types := s.Config.Indexer.Elasticsearch, s.catalog.Types()
	cfg.SearchTimeout = s.Config.SearchAPI.QueryTimeout
	log := s.Log.With("component", "elastic")
	err := s.persist(ctx, "indexer.elasticsearch", func(ctx context.Context) error {
		first, err := elastic.Open(ctx, cfg, types, nil, nil)
		if err != nil {
			return err
		}
		return first.Close()
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(cfg.Addresses, ", "), err)
	}
	return elastic.Open(ctx, cfg, types, log, s.reg)
}

// persist tries until it succeeds, or until trying again cannot help or ctx is done.
func (s *system) persist(ctx context.Context, what string, try func(context.Context) error) error {
	for wait, said := firstPause, ""; ; wait = min(2*wait, lastPause) {
		err := try(ctx)
		if err == nil || !curable(err) {
			return err
		}
		if text := err.Error(); text != said && ctx.Err() == nil {
			s.Log.Warn("waiting for an engine", "part", what, "err", err)
			said = text
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// curable reports whether a store may answer otherwise when it is asked again: one
// that is not up yet may, one that refuses us or is another program does not.
func curable(err error) bool {
	if answer, is := errors.AsType[*elastic.Error](err); is {
		return answer.Status >= 500 || answer.Status == http.StatusTooManyRequests
	}
	if _, is := errors.AsType[*tls.CertificateVerificationError](err); is {
		return false
	}
	return !errors.Is(err, elastic.ErrMismatch)
}
