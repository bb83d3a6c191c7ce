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
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/fresnel-search/fresnel/configs"
	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/listener"
	"github.com/fresnel-search/fresnel/listener/kafka"
	"github.com/fresnel-search/fresnel/listener/kafka/embedded"
	"github.com/fresnel-search/fresnel/publishers"
	"github.com/fresnel-search/fresnel/publishers/host"
	"github.com/fresnel-search/fresnel/searchapi"
)

// drainTimeout bounds the whole of stopping.
const drainTimeout = 9 * time.Second

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

// system is one Fresnel while it is put together. What belongs to a role is nil
// without it.
type system struct {
	Options
	reg      *prometheus.Registry
	faults   faults
	name     string // of this process, among others
	catalog  *catalog.Catalog
	broker   *embedded.Broker // nil with a Kafka of its own
	kafka    *kafka.Client
	store    storage
	host     *host.Host
	engine   *publishers.Engine
	lease    *record.Lease // of the engine; nil if no other process can have one
	indexer  *indexer.Indexer
	listener *listener.Listener
	search   *searchapi.Server
	parts    []part
	ready    []check
	started  time.Time
}

// step is one thing to start; without its role it is left out.
type step struct {
	name, role string
	start      func(context.Context) error
}

// Run serves until ctx is done, then stops all parts, and returns nil if all ended
// well. The error of a start names what could not be started; nothing has run then.
func Run(ctx context.Context, o Options) error {
	s := &system{Options: o, name: processName(), started: time.Now(), reg: prometheus.NewRegistry(), faults: newFaults()}
	s.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := s.begin(ctx); err != nil {
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

// begin starts everything, in the order in which one thing stands on another.
func (s *system) begin(ctx context.Context) error {
	if err := s.lock(ctx); err != nil {
		return fmt.Errorf("start data folder: %w", err)
	}
	if err := s.loadCatalog(ctx); err != nil {
		return fmt.Errorf("start catalogue: %w", err)
	}
	wait, err := s.openWaitingRoom(ctx)
	if err != nil {
		return fmt.Errorf("start search api: %w", err)
	}
	for _, step := range []step{
		{"kafka", "", s.startKafka},
		{"store", "", s.openStore},
		{"publishers", configs.RolePublishers, s.startPublishers},
		{"feeds", configs.RolePublishers, s.startFeeds},
		{"indexer", configs.RoleIndexer, s.startIndexer},
		{"listener", configs.RoleListener, s.startListener},
	} {
		if step.role != "" && !s.Config.Has(step.role) {
			continue
		}
		if err := wait.during(ctx, step); err != nil {
			return errors.Join(fmt.Errorf("start %s: %w", step.name, err), wait.close())
		}
	}
	if err := wait.close(); err != nil {
		return fmt.Errorf("start search api: %w", err)
	}
	if err := s.startSearch(ctx); err != nil {
		return fmt.Errorf("start search api: %w", err)
	}
	return nil
}

// processName tells this process from others in logs and leases.
func processName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}

// add registers a part that runs and is closed after.
func (s *system) add(name string, run func(context.Context) error, closeIt func() error) {
	s.parts = append(s.parts, part{name, run, closeIt})
}

func (s *system) lock(context.Context) error {
	if !s.Config.Kept() {
		return nil
	}
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
