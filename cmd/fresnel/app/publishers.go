package app

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/changelog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/publishers"
	"github.com/fresnel-search/fresnel/publishers/host"
)

// builtins are the publishers that this binary serves when it is run again.
var builtins = [...]string{"webhook", "log"}

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
	e, err := publishers.New(cfg.Config, publishers.Deps{
		Log: s.kafka, Records: s.faults.records(s.store), Plugins: s.faults.plugins(plugins{h}), Project: s.project,
		Logger: s.Log, Registerer: s.reg,
	})
	if err != nil {
		return err
	}
	s.engine = e
	if s.broker != nil {
		s.broker.SetFloor(indexer.ChangesTopic, e.Floor(indexer.ChangesTopic))
	}
	s.add("plugins", h.Run, nil)
	s.add("publishers", e.Run, nil)
	s.check("publishers", e.Ready)
	for _, p := range h.Processes() {
		s.degrades("plugin "+p.Name, s.running(p.Name))
	}
	return nil
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
