package app

import (
	"context"
	"crypto/rand"
	"regexp"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/listener"
	"github.com/fresnel-search/fresnel/listener/kafka"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// startIndexer has the mutation log folded into documents.
func (s *system) startIndexer(context.Context) error {
	id, err := s.logID()
	if err != nil {
		return err
	}
	x, err := indexer.New(s.Config.Indexer.Config, indexer.Deps{
		Catalog: s.catalog, Store: s.faults.store(s.store), Records: s.store, Producer: s.faults.indexing(s.kafka),
		LogID: func() string { return id }, Log: s.kafka, Lineage: rand.Text,
		Logger: s.Log.With("component", "indexer"), Registerer: s.reg,
	})
	if err != nil {
		return err
	}
	s.indexer = x
	group := kafka.GroupConfig{Group: s.Config.Indexer.Group, Topics: []string{indexer.MutationsTopic}}
	s.add("tombstone sweeper", x.Run, nil)
	s.add("indexer", func(ctx context.Context) error { return s.kafka.Consume(ctx, group, s.faults.handling(x.NewHandler)) }, nil)
	s.check("indexer", s.consuming(s.Config.Indexer.Group))
	return nil
}

// startListener has the services' topics turned into mutations.
func (s *system) startListener(context.Context) error {
	room := room{waiting: s.indexer.Lag}
	if s.broker != nil {
		room.usage = s.broker.Usage
	}
	l, err := listener.New(s.Config.Listener.Config, listener.Deps{
		Catalog: s.catalog, Producer: s.faults.listening(frugal{s.kafka, room}), Records: s.store, MutationLag: s.indexer.Lag,
		Logger: s.Log.With("component", "listener"), Registerer: s.reg,
	})
	if err != nil {
		return err
	}
	s.listener = l
	group := kafka.GroupConfig{Group: s.Config.Listener.Group, Topics: s.Config.Listener.Topics, Hold: func(p stream.Partition) bool { return l.Hold(p) || room.short() }}
	if p := s.Config.Listener.TopicPattern; p != "" {
		group.Patterns = []*regexp.Regexp{whole(p)}
	}
	s.add("listener", func(ctx context.Context) error { return s.kafka.Consume(ctx, group, s.faults.handling(l.NewHandler)) }, nil)
	s.check("listener", s.consuming(s.Config.Listener.Group))
	return nil
}

// whole is a pattern, already checked, that must match a whole name.
func whole(pattern string) *regexp.Regexp { return regexp.MustCompile("^(?:" + pattern + ")$") }
