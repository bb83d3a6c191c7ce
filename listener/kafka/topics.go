package kafka

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/fresnel-search/fresnel/listener/stream"
)

// Topic is a topic to be there.
type Topic struct {
	Name string
	// Partitions is how many it gets when it is created; 0 leaves that to the broker.
	Partitions int
	// Least is how many are enough if the topic is there; 0 asks for Partitions.
	Least int
	// Configs are the broker's settings for it, such as retention.ms.
	Configs map[string]string
}

// EnsureTopics creates the topics that are not there and returns when all can be
// used. A topic that is there stays as it is; one with another number of partitions
// is an error, because keys would move, unless Least says that more will do.
func (c *Client) EnsureTopics(ctx context.Context, topics ...Topic) error {
	return persist(ctx, func() error { return c.ensure(ctx, topics) })
}

func (c *Client) ensure(ctx context.Context, topics []Topic) error {
	there, err := c.topics(ctx)
	if err != nil {
		return err
	}
	var missing []kafka.TopicConfig
	for _, t := range topics {
		n, found := there[t.Name]
		switch {
		case !found:
			missing = append(missing, creation(t))
		case t.Least > 0:
			if n < t.Least {
				return fmt.Errorf("topic %s has %d partitions, needs %d: %w", t.Name, n, t.Least, kafka.InvalidPartitionNumber)
			}
		case t.Partitions > 0 && n != t.Partitions:
			return fmt.Errorf("topic %s has %d partitions, want %d: %w", t.Name, n, t.Partitions, kafka.InvalidPartitionNumber)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	res, err := c.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: missing})
	if err != nil {
		return err
	}
	for name, err := range res.Errors {
		if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
			return fmt.Errorf("create topic %s: %w", name, err)
		}
	}
	return errNotVisible
}

// errNotVisible makes ensure look again: topics are created asynchronously.
var errNotVisible = errors.New("topics were created and are not visible yet")

func creation(t Topic) kafka.TopicConfig {
	tc := kafka.TopicConfig{Topic: t.Name, NumPartitions: -1, ReplicationFactor: -1}
	if t.Partitions > 0 {
		tc.NumPartitions = t.Partitions
	}
	for k, v := range t.Configs {
		tc.ConfigEntries = append(tc.ConfigEntries, kafka.ConfigEntry{ConfigName: k, ConfigValue: v})
	}
	return tc
}

// topics returns the cluster's topics that can be used, with their numbers of
// partitions. It never makes the broker create one.
func (c *Client) topics(ctx context.Context) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	res, err := c.client.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	there := map[string]int{}
	for _, t := range res.Topics {
		if usable(t) {
			there[t.Name] = len(t.Partitions)
		}
	}
	return there, nil
}

func usable(t kafka.Topic) bool {
	if t.Error != nil || t.Internal || len(t.Partitions) == 0 {
		return false
	}
	return !slices.ContainsFunc(t.Partitions, func(p kafka.Partition) bool {
		return p.Error != nil && !errors.Is(p.Error, kafka.ReplicaNotAvailable)
	})
}

// matching keeps the topics that are listed or match a pattern.
func matching(there map[string]int, names []string, patterns []*regexp.Regexp) map[string]int {
	found := map[string]int{}
	for name, n := range there {
		if slices.Contains(names, name) || slices.ContainsFunc(patterns, func(p *regexp.Regexp) bool { return p.MatchString(name) }) {
			found[name] = n
		}
	}
	return found
}

// Partitions implements stream.Log.
func (c *Client) Partitions(ctx context.Context, topic string) (int, error) {
	there, err := c.topics(ctx)
	if err != nil {
		return 0, err
	}
	n, found := there[topic]
	if !found {
		return 0, fmt.Errorf("topic %s: %w", topic, kafka.UnknownTopicOrPartition)
	}
	return n, nil
}

// counts remembers for a while how many partitions topics have.
type counts struct {
	mu    sync.Mutex
	known map[string]known
}

type known struct {
	ids   []int
	until time.Time
}

const countsFor = 10 * time.Second

func (c *counts) get(topic string) ([]int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, found := c.known[topic]
	return k.ids, found && time.Now().Before(k.until)
}

func (c *counts) put(topic string, n int) []int {
	ids := make([]int, n)
	for i := range ids {
		ids[i] = i
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[string]known{}
	}
	c.known[topic] = known{ids, time.Now().Add(countsFor)}
	return ids
}

// partitionsToProduce returns a topic's partitions, creating the topic if that is
// allowed.
func (c *Client) partitionsToProduce(ctx context.Context, topic string) ([]int, error) {
	if ids, ok := c.counts.get(topic); ok {
		return ids, nil
	}
	n, err := c.Partitions(ctx, topic)
	if errors.Is(err, kafka.UnknownTopicOrPartition) && c.cfg.CreateTopics {
		if err := c.EnsureTopics(ctx, Topic{Name: topic}); err != nil {
			return nil, err
		}
		n, err = c.Partitions(ctx, topic)
	}
	if err != nil {
		return nil, fmt.Errorf("produce: %w", err)
	}
	return c.counts.put(topic, n), nil
}

// Bounds implements stream.Log.
func (c *Client) Bounds(ctx context.Context, p stream.Partition) (first, end int64, err error) {
	err = persist(ctx, func() error {
		all, err := c.bounds(ctx, []stream.Partition{p})
		if err == nil {
			first, end = all[p].first, all[p].end
		}
		return err
	})
	return first, end, err
}
