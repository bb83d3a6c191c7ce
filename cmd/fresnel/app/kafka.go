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

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/listener/kafka"
	"github.com/fresnel-search/fresnel/listener/kafka/embedded"
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
	}
	c, err := kafka.New(cfg.Config, s.Log.With("component", "kafka"), s.reg)
	if err != nil {
		return err
	}
	s.kafka = c
	s.add("kafka", nil, c.Close)
	n := s.Config.Indexer.Partitions
	return c.EnsureTopics(ctx,
		kafka.Topic{Name: indexer.MutationsTopic, Partitions: n},
		kafka.Topic{Name: indexer.ChangesTopic, Partitions: n})
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

// logID names the mutation log. It lies beside the embedded broker's log, so that
// the one does not outlive the other; for another Kafka, in the data folder.
func (s *system) logID() (string, error) {
	dir := s.Config.Data
	if s.broker != nil {
		dir = filepath.Join(dir, "kafka")
	}
	path := filepath.Join(dir, "mutation-log-id")
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
