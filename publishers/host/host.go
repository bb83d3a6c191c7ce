// Package host runs publisher plugins as processes of their own and hands deliveries
// to them: it starts each plugin that is asked for, watches it, restarts it with
// backoff, and takes its logs into ours.
//
// It decides nothing about retries, order or dead letters (publishers/lane does) and
// knows no protocol of any destination. Its invariant: whatever a plugin does - panic,
// freeze, flood its output, leave children behind - costs no more than the attempts
// it had in hand: the host neither crashes, nor hangs, nor leaks.
package host

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Host holds the plugins. Those asked for by Plugin are started by Run.
type Host struct {
	cfg     Config
	log     *slog.Logger
	plugins map[string]*Plugin
	wanted  chan *Plugin
}

// New returns a host of the built-in and configured plugins; none is started yet. A
// configured plugin takes the place of a built-in one of the same name.
func New(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Host, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	specs, err := cfg.specs()
	if err != nil {
		return nil, err
	}
	h := &Host{cfg: cfg, log: log, plugins: map[string]*Plugin{}, wanted: make(chan *Plugin, len(specs))}
	m := newMetrics(reg)
	for _, s := range specs {
		h.plugins[s.name] = newPlugin(cfg, s, log.With("publisher", s.name), m.of(s.name))
	}
	return h, nil
}

// Plugin returns the plugin of that name, started or still starting; nil if none is
// configured or built in. The first call for a name has Run start it.
func (h *Host) Plugin(name string) *Plugin {
	p := h.plugins[name]
	if p != nil {
		p.wanted.Do(func() { h.wanted <- p })
	}
	return p
}

// Run supervises the plugins until ctx is done; then it lets them finish what they
// have, within StopGrace, ends them and returns.
func (h *Host) Run(ctx context.Context) error {
	runDir, err := h.cfg.makeRunDir()
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	for {
		select {
		case p := <-h.wanted:
			running.Go(func() { p.supervise(ctx, runDir) })
		case <-ctx.Done():
			running.Wait()
			if h.cfg.RunDir != "" {
				return nil
			}
			return os.RemoveAll(runDir)
		}
	}
}

// Process describes a plugin for people and measurements.
type Process struct {
	Name     string
	Version  string // as the plugin says
	PID      int    // 0 if there is no process
	State    State
	Restarts int
	Problem  string // why it is not ready, if it is not
	RSS      int64  // bytes resident, 0 if unknown
}

// Processes lists the plugins that were asked for, sorted by name.
func (h *Host) Processes() []Process {
	var ps []Process
	for _, p := range h.plugins {
		if d := p.describe(); d.State != Idle {
			ps = append(ps, d)
		}
	}
	slices.SortFunc(ps, func(a, b Process) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return ps
}

// makeRunDir makes the folder in which plugins get their sockets and scratch folders.
// A folder of our own choice is preferably not in /tmp, which is swept.
func (c Config) makeRunDir() (string, error) {
	const private = 0o700
	if c.RunDir != "" {
		dir, err := filepath.Abs(c.RunDir)
		if err != nil {
			return "", fmt.Errorf("folder for plugins: %w", err)
		}
		if err := os.MkdirAll(dir, private); err != nil {
			return "", fmt.Errorf("folder for plugins: %w", err)
		}
		return dir, nil
	}
	for _, parent := range []string{"/run/fresnel", ""} {
		if dir, err := os.MkdirTemp(parent, "fresnel-plugins-"); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("folder for plugins: none can be made in %s; set run_dir", os.TempDir())
}
