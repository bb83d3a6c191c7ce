package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/listener/kafka"
	"github.com/fresnel-search/fresnel/listener/kafka/embedded"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// startKafka connects to Kafka, after starting the embedded broker if no other is
// configured, and makes our own topics.
func (s *system) startKafka(ctx context.Context) error {
	cfg := s.Config.Listener.Kafka
	if len(cfg.Brokers) == 0 {
		if err := s.startBroker(cfg.Embedded); err != nil {
			return err
		}
		cfg.Brokers = []string{s.broker.Addr()}
		cfg.MaxWait = min(cfg.MaxWait, 500*time.Millisecond) // it is near
	}
	if s.broker == nil {
		cfg.ClientID += "-" + s.name
	}
	c, err := kafka.New(cfg.Config, s.Log.With("component", "kafka"), s.reg)
	if err != nil {
		return err
	}
	s.kafka = c
	s.add("kafka", nil, c.Close)
	n := s.Config.Indexer.Partitions
	if s.broker != nil {
		return c.EnsureTopics(ctx,
			kafka.Topic{Name: indexer.MutationsTopic, Partitions: n},
			kafka.Topic{Name: indexer.ChangesTopic, Partitions: n})
	}
	s.degrades("topics", c.TopicWarnings)
	return c.EnsureTopics(ctx,
		cfg.Own(indexer.MutationsTopic, n, cfg.OwnTopics.MutationsRetention),
		cfg.Own(indexer.ChangesTopic, n, cfg.OwnTopics.ChangesRetention))
}

func (s *system) startBroker(cfg embedded.Config) error {
	cfg.Dir = filepath.Join(s.Config.Data, "kafka")
	cfg.Sized = []string{indexer.ChangesTopic}
	cfg.Groups = []embedded.Reads{{Group: s.Config.Indexer.Group, Topics: whole(regexp.QuoteMeta(indexer.MutationsTopic))}}
	for _, t := range s.Config.Listener.Topics {
		cfg.Groups = append(cfg.Groups, embedded.Reads{Group: s.Config.Listener.Group, Topics: whole(regexp.QuoteMeta(t))})
	}
	if p := s.Config.Listener.TopicPattern; p != "" {
		cfg.Groups = append(cfg.Groups, embedded.Reads{Group: s.Config.Listener.Group, Topics: whole(p)})
	}
	b, err := embedded.Start(cfg, s.Log.With("component", "broker"))
	if err != nil {
		return err
	}
	s.broker = b
	s.add("embedded broker", nil, b.Close)
	return nil
}

// logNames tells which mutation log positions are of. The embedded broker's has its
// name beside it, so that the one does not outlive the other; a cluster that others
// use too, in the store.
func (s *system) logNames() (indexer.LogNames, error) {
	if s.broker == nil {
		return indexer.Names{Records: s.store, Place: s.place}, nil
	}
	id, err := readOrMake(filepath.Join(s.Config.Data, "kafka", "mutation-log-id"))
	return ownLog(id), err
}

// placeTimeout bounds the question for the indexers' place in a partition.
const placeTimeout = 15 * time.Second

// place is what indexer.Names asks Kafka.
func (s *system) place(ctx context.Context, p stream.Partition) (committed, end int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, placeTimeout)
	defer cancel()
	all, err := s.kafka.CommittedOffsets(ctx, s.Config.Indexer.Group)
	if err != nil {
		return 0, 0, err
	}
	committed = -1
	if at, found := all[p]; found {
		committed = at.Offset
	}
	_, end, err = s.kafka.Bounds(ctx, p)
	return committed, end, err
}

// ownLog is the name of the one log that this process ever has.
type ownLog string

// Name implements indexer.LogNames.
func (l ownLog) Name(context.Context, stream.Partition) (string, error) { return string(l), nil }

// Committed implements indexer.LogNames.
func (ownLog) Committed(context.Context, stream.Partition, string) error { return nil }

// readOrMake reads an id from a file, or writes a new one.
func readOrMake(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil && len(b) > 0 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	id := rand.Text()
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(id+"\n"), 0o600); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, path); err != nil {
		return "", fmt.Errorf("name the mutation log: %w", err)
	}
	return id, nil
}
