// Package host runs publisher plugins as processes of their own, or talks to those
// that run elsewhere, and hands deliveries to them: it finds them by their manifests,
// runs checked copies of them within limits, watches them, starts them again with
// backoff, replaces them without a gap, and takes their logs into ours.
//
// It decides nothing about retries, order or dead letters (publishers/lane does), but
// for one thing: a delivery that kills its plugin again and again is rejected. It
// knows no protocol of any destination. Its invariant: whatever a plugin does - panic,
// freeze, flood its output, eat memory, leave children behind - costs no more than the
// attempts it had in hand: the host neither crashes, nor hangs, nor leaks.
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fresnel-search/fresnel/plugins/manifest"
	"github.com/fresnel-search/fresnel/publishers/delivery"
)

// Host holds the plugins. Those asked for by Plugin are started by Run.
type Host struct {
	cfg     Config
	log     *slog.Logger
	names   []string // in the order in which they are asked for a scheme
	plugins map[string]*Plugin
	wanted  chan *Plugin
}

// New returns a host of the built-in and configured plugins; none is started yet. A
// plugin that cannot be used is there all the same, and says why: it stops nothing.
func New(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Host, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	sources := cfg.sources()
	h := &Host{cfg: cfg, log: log, plugins: map[string]*Plugin{}, wanted: make(chan *Plugin, len(sources))}
	m := newMetrics(reg)
	for _, s := range sources {
		h.names = append(h.names, s.name)
		h.plugins[s.name] = newPlugin(cfg, s, log.With("publisher", s.name), m.of(s.name))
	}
	if reg != nil {
		reg.MustRegister(newCollector(h))
	}
	return h, nil
}

// Plugin returns the plugin of that name, started or still starting; nil if none is
// configured or built in. The first call for a name has Run start it.
func (h *Host) Plugin(name string) *Plugin {
	p := h.plugins[name]
	if p != nil {
		p.wanted.Do(func() {
			p.set(Starting, nil, nil)
			h.wanted <- p
		})
	}
	return p
}

func (h *Host) all() []*Plugin {
	list := make([]*Plugin, len(h.names))
	for i, name := range h.names {
		list[i] = h.plugins[name]
	}
	return list
}

// Select returns the name of the publisher for a destination: the one that is named,
// or, if name is empty, the one that serves the destination's scheme. Of several, what
// is built in comes first. The error lists what there is. While a plugin's manifest
// cannot be read, a scheme that no other serves is Undecided.
func (h *Host) Select(name, destination string) (string, error) {
	if name != "" {
		if h.plugins[name] == nil {
			return "", fmt.Errorf("there is no publisher %q; there are %s", name, strings.Join(h.names, ", "))
		}
		return name, nil
	}
	scheme, err := schemeOf(destination)
	if err != nil {
		return "", err
	}
	var serving, unknown []string
	broken := false
	for _, p := range h.all() {
		s := p.origin()
		switch {
		case slices.Contains(s.schemes, scheme) && s.origin == BuiltIn:
			return s.name, nil
		case slices.Contains(s.schemes, scheme):
			serving = append(serving, s.name)
		case len(s.schemes) == 0:
			unknown = append(unknown, s.name)
			broken = broken || s.problem != nil
		}
	}
	switch {
	case len(serving) == 1:
		return serving[0], nil
	case len(serving) > 1:
		return "", fmt.Errorf("%s: is served by %s; name one as publisher", scheme, strings.Join(serving, " and "))
	}
	if broken {
		return scheme + ":", nil
	}
	text := fmt.Sprintf("no publisher serves %s:; served are %s", scheme, strings.Join(h.Schemes(), ", "))
	if len(unknown) > 0 {
		text += "; it is not known what " + strings.Join(unknown, ", ") + " would serve: name one as publisher"
	}
	return "", errors.New(text)
}

// Undecided reports whether Select has left open which plugin it will be.
func Undecided(name string) bool { return strings.HasSuffix(name, ":") }

// schemeOf is the scheme of a URI. The error does not repeat the URI: it may hold a
// password.
func schemeOf(destination string) (string, error) {
	u, err := url.Parse(destination)
	if err != nil || u.Scheme == "" {
		return "", errors.New("the destination is no absolute URI")
	}
	return strings.ToLower(u.Scheme), nil
}

// Schemes are those that are served, sorted.
func (h *Host) Schemes() []string {
	set := map[string]bool{}
	for _, p := range h.all() {
		for _, s := range p.origin().schemes {
			set[s] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// CheckDestination returns what is wrong with a destination of a publisher, as far as
// that can be told without running it: each problem with the member it is about.
func (h *Host) CheckDestination(name string, d delivery.Destination) []error {
	if Undecided(name) {
		return nil
	}
	p := h.plugins[name]
	if p == nil {
		return []error{fmt.Errorf("publisher: there is none of the name %q", name)}
	}
	s := p.origin()
	var errs []error
	if scheme, err := schemeOf(d.URI); len(s.schemes) > 0 {
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("destination: required: a URI of scheme %s", strings.Join(s.schemes, " or ")))
		case !slices.Contains(s.schemes, scheme):
			errs = append(errs, fmt.Errorf("destination: %s serves %s, not %s", name, strings.Join(s.schemes, ", "), scheme))
		}
	}
	for _, err := range s.checkOptions(d.Options) {
		errs = append(errs, fmt.Errorf("options.%w", err))
	}
	return errs
}

// Check returns what is wrong with the plugins that the configuration names, without
// running any: each problem begins with plugins and the name.
func (h *Host) Check() []error {
	var errs []error
	for _, p := range h.all() {
		s := p.origin()
		if s.problem != nil {
			for line := range strings.Lines(s.problem.Error()) {
				errs = append(errs, fmt.Errorf("plugins.%s: %s", s.name, strings.TrimRight(line, "\n")))
			}
			continue
		}
		for _, err := range s.checkConfig() {
			errs = append(errs, fmt.Errorf("plugins.%s.config.%w", s.name, err))
		}
	}
	return errs
}

// Run supervises the plugins until ctx is done; then it lets them finish what they
// have, within StopGrace, ends them and returns.
func (h *Host) Run(ctx context.Context) error {
	cfg := h.cfg
	remove, err := cfg.makeFolders()
	if err != nil {
		return err
	}
	var manifests []manifest.Manifest
	for _, p := range h.all() {
		manifests = append(manifests, p.origin().manifest)
	}
	if err := sweepCopies(copiesIn(cfg.CopyDir), manifests); err != nil {
		h.log.Warn("old copies of plugins not removed", "err", err)
	}
	var running sync.WaitGroup
	for {
		select {
		case p := <-h.wanted:
			running.Go(func() { p.supervise(ctx, cfg) })
		case <-ctx.Done():
			running.Wait()
			return remove()
		}
	}
}

// Resume has a plugin started now that is in quarantine or waits for its next start,
// and returns when it is ready, or why it is not.
func (h *Host) Resume(ctx context.Context, name string) error { return h.order(ctx, name, true) }

// Reload has a plugin started as it is installed now, and returns when that has taken
// over, or why it has not: what ran before then goes on.
func (h *Host) Reload(ctx context.Context, name string) error { return h.order(ctx, name, false) }

// ErrUnknown says that there is no plugin of a name.
var ErrUnknown = errors.New("there is no such plugin")

func (h *Host) order(ctx context.Context, name string, resume bool) error {
	p := h.plugins[name]
	if p == nil {
		return fmt.Errorf("%w: %q; there are %s", ErrUnknown, name, strings.Join(h.names, ", "))
	}
	return p.ask(ctx, resume)
}

// Process describes a plugin for people and measurements.
type Process struct {
	Name     string
	Origin   string // built in, folder, program or remote
	Path     string // of the folder or program; the address of a remote one
	Version  string // as the plugin says, or its manifest
	Schemes  []string
	PID      int // 0 if there is no process
	State    State
	Since    time.Time // it is in that state
	Restarts int
	Problem  string        // why it is not ready, if it is not
	RSS      int64         // bytes resident, 0 if unknown
	CPU      time.Duration // that the process has used
}

// Processes lists all plugins that could be used, sorted by name.
func (h *Host) Processes() []Process {
	var ps []Process
	for _, name := range slices.Sorted(maps.Keys(h.plugins)) {
		ps = append(ps, h.plugins[name].describe())
	}
	return ps
}

// Manifest is what is known of a plugin, from its folder or from its own answer.
func (h *Host) Manifest(name string) (manifest.Manifest, error) {
	p := h.plugins[name]
	if p == nil {
		return manifest.Manifest{}, fmt.Errorf("%w: %q", ErrUnknown, name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.source.manifest.Name == "" && p.inst != nil {
		return p.inst.manifest, nil
	}
	return p.source.manifest, nil
}

// makeFolders makes the folders in which plugins get their sockets, scratch folders and
// copies, and returns how to remove those that are only for this run. A folder for
// sockets is preferably not in /tmp, which is swept.
func (c *Config) makeFolders() (remove func() error, err error) {
	var temporary []string
	remove = func() error {
		var errs []error
		for _, dir := range temporary {
			errs = append(errs, os.RemoveAll(dir))
		}
		return errors.Join(errs...)
	}
	for _, f := range []struct {
		dir     *string
		key     string
		parents []string
	}{{&c.RunDir, "run_dir", []string{"/run/fresnel", ""}}, {&c.CopyDir, "copy_dir", []string{""}}} {
		if *f.dir != "" {
			if *f.dir, err = filepath.Abs(*f.dir); err == nil {
				err = os.MkdirAll(*f.dir, private)
			}
			if err != nil {
				return nil, fmt.Errorf("folder for plugins, %s: %w", f.key, err)
			}
			continue
		}
		for _, parent := range f.parents {
			if *f.dir, err = os.MkdirTemp(parent, "fresnel-plugins-"); err == nil {
				temporary = append(temporary, *f.dir)
				break
			}
		}
		if err != nil {
			return nil, fmt.Errorf("folder for plugins: none can be made in %s; set %s: %w", os.TempDir(), f.key, err)
		}
	}
	return remove, nil
}
