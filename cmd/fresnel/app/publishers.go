package app

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/changelog"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/publishers"
	"github.com/fresnel-search/fresnel/publishers/host"
)

// builtins are the publishers that this binary serves when it is run again.
var builtins = [...]string{"webhook", "log", "zaqar"}

// plugins lets the engine find plugins in the host.
type plugins struct{ host *host.Host }

// Plugin implements publishers.Plugins.
func (p plugins) Plugin(name string) publishers.Plugin {
	if found := p.host.Plugin(name); found != nil {
		return found
	}
	return nil
}

// startPublishers has the change log delivered.
func (s *system) startPublishers(context.Context) error {
	cfg := s.Config.Publishers
	cfg.Topic, cfg.Timeout = indexer.ChangesTopic, cfg.Host.AttemptTimeout
	cfg.Host.Builtins = map[string][]string{}
	for _, name := range builtins {
		cfg.Host.Builtins[name] = []string{s.Executable, "plugin-serve", name}
	}
	h, err := host.New(cfg.Host, s.Log.With("component", "host"), s.reg)
	if err != nil {
		return err
	}
	s.host = h
	run, valid := s.alone("publishers")
	e, err := publishers.New(cfg.Config, publishers.Deps{
		Log: s.kafka, Records: s.faults.records(s.store), Plugins: s.faults.plugins(plugins{h}), Project: s.project,
		Valid: valid, Logger: s.Log, Registerer: s.reg,
	})
	if err != nil {
		return err
	}
	s.engine = e
	if s.broker != nil {
		s.broker.SetFloor(indexer.ChangesTopic, e.Floor(indexer.ChangesTopic))
	}
	s.add("plugins", h.Run, nil)
	s.add("publishers", func(ctx context.Context) error { return run(ctx, e.Run) }, nil)
	s.noted("publishers", func() (string, error) {
		if who, waits := s.standby(); waits {
			return who, nil
		}
		return "", e.Ready()
	})
	for _, p := range h.Processes() {
		s.degrades("plugin "+p.Name, s.running(p.Name))
	}
	return nil
}

// alone makes a work the only one of its kind among all processes: by a lease, if
// others have the same store. It returns how to run it, and whether it may go on.
func (s *system) alone(name string) (run func(context.Context, func(context.Context) error) error, valid func() bool) {
	if !s.Config.Shared() {
		return func(ctx context.Context, work func(context.Context) error) error { return work(ctx) }, nil
	}
	l := record.NewLease(s.store, name, s.name)
	s.lease = l
	log := s.Log.With("component", name)
	return func(ctx context.Context, work func(context.Context) error) error { return l.Run(ctx, log, work) }, l.Valid
}

// standby reports whether another process delivers, and says which.
func (s *system) standby() (string, bool) {
	if s.lease == nil || s.lease.Valid() {
		return "", false
	}
	if who := s.lease.Holder(); who != "" {
		return "standby: " + who + " delivers", true
	}
	return "standby: nobody delivers yet", true
}

// running is the readiness of a plugin.
func (s *system) running(name string) func() error {
	return func() error {
		for _, p := range s.host.Processes() {
			if p.Name == name && p.State != host.Ready {
				return errors.Join(fmt.Errorf("is %s", p.State), problem(p.Problem))
			}
		}
		return nil
	}
}

func problem(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}

// project is what an audience may see of an entry of the change log.
func (s *system) project(e *changelog.Entry, a changelog.Audience) (change.Change, bool) {
	return changelog.Project(e, a, s.catalog.Type(e.Ref.Type), href)
}

// href is the path of a resource in the search API.
func href(r resource.Ref) string {
	return "/v1/resources/" + url.PathEscape(r.Type) + "/" + url.PathEscape(r.ID)
}
