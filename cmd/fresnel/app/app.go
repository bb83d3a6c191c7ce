// Package app makes one Fresnel out of its parts: it introduces subsystems to
// mechanisms, one file per role, and starts and stops them in one order.
//
// It holds no logic of its own beyond that. Its invariants: nothing here is global,
// so two systems can live in one process; and what stands on something is stopped
// before it.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/fresnel-search/fresnel/configs"
	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/sqlite"
	"github.com/fresnel-search/fresnel/listener"
	"github.com/fresnel-search/fresnel/listener/kafka"
	"github.com/fresnel-search/fresnel/listener/kafka/embedded"
	"github.com/fresnel-search/fresnel/publishers"
	"github.com/fresnel-search/fresnel/publishers/host"
	"github.com/fresnel-search/fresnel/searchapi"
)

// drainTimeout bounds the whole of stopping.
const drainTimeout = 9 * time.Second

// pingTimeout bounds the question whether the store answers.
const pingTimeout = 2 * time.Second

// Options are what a process gives its Fresnel.
type Options struct {
	Config  configs.Config
	Version string
	// Out gets what people read at the start: addresses, folders, a query to try.
	Out io.Writer
	Log *slog.Logger
	// Executable is run again as "EXECUTABLE plugin-serve NAME" for built-in plugins.
	Executable string
}

// system is one Fresnel while it is put together.
type system struct {
	Options
	reg      *prometheus.Registry
	faults   faults
	catalog  *catalog.Catalog
	broker   *embedded.Broker // nil with a Kafka of its own
	kafka    *kafka.Client
	store    *sqlite.Store
	host     *host.Host
	engine   *publishers.Engine
	indexer  *indexer.Indexer
	listener *listener.Listener
	search   *searchapi.Server
	parts    []part
	ready    []check
	started  time.Time
}

// Run serves until ctx is done, then stops all parts, and returns nil if all ended
// well. The error of a start names what could not be started; nothing has run then.
func Run(ctx context.Context, o Options) error {
	s := &system{Options: o, started: time.Now(), reg: prometheus.NewRegistry(), faults: newFaults()}
	s.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	steps := []struct {
		name  string
		start func(context.Context) error
	}{
		{"data folder", s.lock},
		{"catalogue", s.loadCatalog},
		{"kafka", s.startKafka},
		{"store", s.openStore},
		{"publishers", s.startPublishers},
		{"indexer", s.startIndexer},
		{"listener", s.startListener},
		{"search api", s.startSearch},
	}
	for _, step := range steps {
		err := step.start(ctx)
		if err == nil {
			continue
		}
		err = fmt.Errorf("start %s: %w", step.name, err)
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil // it was told to stop before it had begun
		}
		return errors.Join(err, abandon(s.parts))
	}
	if err := s.greet(); err != nil {
		s.Log.Warn("greeting not printed", "err", err)
	}
	err := live(ctx, s.parts, drainTimeout, s.Log)
	s.Log.Info("stopped")
	return err
}

// add registers a part that runs and is closed after.
func (s *system) add(name string, run func(context.Context) error, closeIt func() error) {
	s.parts = append(s.parts, part{name, run, closeIt})
}

func (s *system) lock(context.Context) error {
	unlock, err := lockData(s.Config.Data)
	if err != nil {
		return err
	}
	s.add("data folder", nil, unlock)
	return nil
}

func (s *system) loadCatalog(context.Context) error {
	var err error
	s.catalog, err = LoadTypes(s.Config.Catalog.Dir)
	return err
}

func (s *system) openStore(context.Context) error {
	store, err := sqlite.Open(s.Config.Indexer.SQLite.In(s.Config.Data), s.catalog, s.Log.With("component", "sqlite"))
	if err != nil {
		return err
	}
	s.store = store
	s.add("store", nil, store.Close)
	s.check("store", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), pingTimeout)
		defer cancel()
		return store.Ping(ctx)
	})
	return nil
}
