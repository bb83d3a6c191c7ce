package app

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/changelog"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/publishers"
	"github.com/fresnel-search/fresnel/publishers/host"
)

// startPublishers has the change log delivered.
func (s *system) startPublishers(context.Context) error {
	cfg := s.Config.Publishers
	cfg.Topic, cfg.Timeout = indexer.ChangesTopic, cfg.Host.AttemptTimeout
	hosting, err := HostConfig(s.Config, s.Executable, s.Version)
	if err != nil {
		return err
	}
	if hosting.CopyDir == "" && s.Config.Kept() {
		hosting.CopyDir = filepath.Join(s.Config.Data, "plugins")
	}
	h, err := host.New(hosting, s.Log.With("component", "host"), s.reg)
	if err != nil {
		return err
	}
	s.host = h
	if cfg.Subscriptions, err = chosen(h, cfg.Subscriptions); err != nil {
		return err
	}
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
			return who, deserted(s.lease)
		}
		return "", e.Ready()
	})
	s.watchPlugins()
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

// desertedAfter is how long nobody may hold a lease that somebody waits for: whoever
// waits takes it within seconds.
const desertedAfter = 3 * record.LeaseLength

// deserted says why nobody delivers although this process would.
func deserted(l *record.Lease) error {
	since, why := l.Vacant()
	if since < desertedAfter {
		return nil
	}
	return errors.Join(fmt.Errorf("nobody has delivered for %s, and the lease is not to be had", since.Round(time.Second)), why)
}

// project is what an audience may see of an entry of the change log.
func (s *system) project(e *changelog.Entry, a changelog.Audience) (change.Change, bool) {
	return changelog.Project(e, a, s.catalog.Type(e.Ref.Type), href)
}

// href is the path of a resource in the search API.
func href(r resource.Ref) string {
	return "/v1/resources/" + url.PathEscape(r.Type) + "/" + url.PathEscape(r.ID)
}
