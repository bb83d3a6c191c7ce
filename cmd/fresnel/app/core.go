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
	names, err := s.logNames()
	if err != nil {
		return err
	}
	x, err := indexer.New(s.Config.Indexer.Config, indexer.Deps{
		Catalog: s.catalog, Store: s.faults.store(s.store), Records: s.store, Producer: s.faults.indexing(s.kafka),
		Logs: names, Log: s.kafka, Lineage: rand.Text,
		Logger: s.Log.With("component", "indexer"), Registerer: s.reg,
	})
	if err != nil {
		return err
	}
	s.indexer = x
	group := kafka.GroupConfig{Group: s.Config.Indexer.Group, Topics: []string{indexer.MutationsTopic}}
	s.add("tombstone sweeper", x.Run, nil)
	s.add("reindexer", s.reindexing().Run, nil)
	s.add("indexer", func(ctx context.Context) error { return s.kafka.Consume(ctx, group, s.faults.handling(x.NewHandler)) }, nil)
	s.consumer("indexer", s.Config.Indexer.Group)
	return nil
}

// startListener has the services' topics turned into mutations.
func (s *system) startListener(context.Context) error {
	room := room{waiting: s.mutationLag()}
	if s.broker != nil {
		room.usage = s.broker.Usage
	}
	l, err := listener.New(s.Config.Listener.Config, listener.Deps{
		Catalog: s.catalog, Producer: s.faults.listening(frugal{s.kafka, room}), Records: s.store, MutationLag: room.waiting,
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
	s.consumer("listener", s.Config.Listener.Group)
	if s.broker == nil {
		r := &retentions{ask: s.kafka.Retention}
		s.degrades("tombstones", func(ctx context.Context) error { return s.tombstonesOutliveTopics(ctx, r) })
	}
	return nil
}

// mutationLag tells how many mutations wait. The indexer beside us knows best, if it
// is the only one; else Kafka is asked.
func (s *system) mutationLag() func() int64 {
	if s.broker != nil {
		return s.indexer.Lag
	}
	b := &backlog{kafka: s.kafka, group: s.Config.Indexer.Group, topic: indexer.MutationsTopic, log: s.Log.With("component", "listener")}
	s.add("backlog", b.run, nil)
	return b.waiting.Load
}

// whole is a pattern, already checked, that must match a whole name.
func whole(pattern string) *regexp.Regexp { return regexp.MustCompile("^(?:" + pattern + ")$") }
