package app

import (
	"context"
	"sync"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/publishers/websub"
	"github.com/fresnel-search/fresnel/searchapi/feed"
)

// feeds are the tenants' feeds, as they are in the store.
func (s *system) feeds() *feed.Feeds {
	return feed.New(s.Config.Publishers.Feeds, s.Config.SearchAPI.PublicEndpoint, s.store, s.project)
}

// startFeeds has the newest changes of each tenant recorded, and hubs told of them: by
// one process at a time, if several have the same store.
func (s *system) startFeeds(context.Context) error {
	log := s.Log.With("component", "feeds")
	run := func(ctx context.Context, work func(context.Context) error) error { return work(ctx) }
	deps := feed.Deps{
		Log: s.kafka, Topic: indexer.ChangesTopic, Records: s.store, Project: feed.Project(s.project), Logger: log, Registerer: s.reg,
	}
	if s.Config.Shared() {
		l := record.NewLease(s.store, "feeds", s.name)
		run = func(ctx context.Context, work func(context.Context) error) error { return l.Run(ctx, log, work) }
		deps.Valid = l.Valid
	}
	var p *feed.Pinger
	if s.Config.Publishers.Feeds.Open() {
		p = feed.NewPinger(s.feeds(), feed.PingDeps{Publisher: s.host.Plugin(websub.Name), Logger: log, Registerer: s.reg})
		deps.Changed = p.Changed
	}
	r := feed.NewRecorder(deps)
	s.add("feeds", func(ctx context.Context) error { return run(ctx, recording(r, p)) }, nil)
	s.degrades("feeds", func(context.Context) error { return r.Ready() })
	return nil
}

// recording runs a recorder, and a pinger if there is one.
func recording(r *feed.Recorder, p *feed.Pinger) func(context.Context) error {
	return func(ctx context.Context) error {
		var pings sync.WaitGroup
		defer pings.Wait()
		if p != nil {
			pings.Go(func() { p.Run(ctx) })
		}
		return r.Run(ctx)
	}
}
