package elastic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"

	"github.com/elastic/go-elasticsearch/v8/esapi"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/searchapi/view"
)

// Store keeps documents and records in a cluster. All its methods are safe for
// concurrent use, and each of its requests is bounded in time.
type Store struct {
	cfg     Config
	c       *client
	indices *indices
	types   map[string]*catalog.Type  // as the catalogue has them now: what is hidden
	want    map[string]*layout.Layout // of the catalogue's types: what a reindex would make
	names   []string                  // of the types, sorted
	room    *sync.Pool                // of *bulk
	bulks   chan struct{}             // a place for each bulk under way
	blocked *blocked
	metrics *metrics
	log     *slog.Logger
	onStep  func(*record.Reindex) // of tests: called at each step of a reindex

	searches  searches
	refreshes refreshes
}

// Open connects, checks that the server is what the configuration says, and creates
// the indices that there are not. A type whose index is in the way of itself, such as
// one without aliases, does not keep a store from opening: Ping tells. A nil logger
// discards, a nil registerer is allowed.
func Open(ctx context.Context, cfg Config, types []*catalog.Type, log *slog.Logger, reg prometheus.Registerer) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c, err := newClient(cfg)
	if err != nil {
		return nil, err
	}
	s := &Store{
		cfg: cfg, c: c, types: map[string]*catalog.Type{}, want: map[string]*layout.Layout{},
		bulks: make(chan struct{}, cfg.Bulks), room: newRoom(), log: log,
	}
	for _, t := range types {
		s.types[t.Name], s.want[t.Name] = t, layout.Of(t)
	}
	s.searches.view = view.New(types)
	s.names = slices.Sorted(maps.Keys(s.types))
	s.metrics = newMetrics(reg)
	s.blocked = newBlocked(s.metrics)
	if s.indices, err = newIndices(c, cfg, s.names); err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		c.close()
		return nil, err
	}
	return s, nil
}

func (s *Store) start(ctx context.Context) error {
	if err := s.c.check(ctx); err != nil {
		return err
	}
	return s.indices.ensure(ctx, s.want)
}

// Close lets go of idle connections. Calls under way go on until they are answered.
func (s *Store) Close() error {
	s.c.close()
	return nil
}

// Refresh makes everything acknowledged before the call visible to searches.
func (s *Store) Refresh(ctx context.Context) error {
	_, err := s.c.do(ctx, esapi.IndicesRefreshRequest{Index: []string{s.cfg.Prefix + "-*"}})
	return err
}

// index is the generation of a type that serves, as far as this process knows: its
// aliases, and the layout to read and to write by. After an answer that an alias of it
// is gone (404 index_not_found_exception, see gone) call again with it, and go on with
// what that returns. The error says in words why a type has none.
func (s *Store) index(ctx context.Context, typ string) (*index, error) {
	if s.types[typ] == nil {
		return nil, fmt.Errorf("the catalogue has no type %s", typ)
	}
	return s.indices.current(ctx, slug(typ))
}

// again looks which generation of a type serves, unless it is known to be another one
// than stale already.
func (s *Store) again(ctx context.Context, typ string, stale *index) (*index, error) {
	return s.indices.again(ctx, slug(typ), stale)
}

// gone reports whether an answer says that an alias is gone: a reindex moved it, or
// somebody dropped the index.
func gone(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound && e.Type == typeNotFound
}

// Ping asks the cluster whether it can work for us. The error names, in words, every
// index that is missing, blocked or of another program's layout.
func (s *Store) Ping(ctx context.Context) error {
	found, err := s.indices.list(ctx, "")
	if err != nil {
		return err
	}
	var errs []error
	for _, slug := range slices.Sorted(maps.Keys(s.indices.types)) {
		ix, err := serving(found[slug], slug)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.indices.mu.Lock()
		s.indices.learn(slug, ix) // one that was made anew shows nowhere else
		s.indices.mu.Unlock()
		for _, st := range found[slug] {
			for _, t := range st.trouble {
				if st.name == ix.name {
					errs = append(errs, fmt.Errorf("index %s takes no writes: %s", ix.name, t))
				}
			}
		}
	}
	if len(errs) == 0 {
		errs = s.blocked.reasons()
	}
	return errors.Join(errs...)
}

// Unfit says in words, by type, where an index differs from what the catalogue wants;
// such a store works, and the fields that differ are not searchable until a reindex.
func (s *Store) Unfit(ctx context.Context) (map[string][]string, error) {
	out := map[string][]string{}
	for _, typ := range s.names {
		ix, err := s.index(ctx, typ)
		if err != nil {
			return nil, err
		}
		if diff := layout.Diff(ix.layout, s.want[typ]); len(diff) > 0 {
			out[typ] = diff
		}
	}
	return out, nil
}
