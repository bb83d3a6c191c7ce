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

// listed is a topic that the cluster knows.
type listed struct {
	partitions int
	// whole says that every partition has a leader. One that has just been made has
	// none for a moment; one whose brokers are down, for as long as they are.
	whole bool
}

// topics returns the cluster's topics. It never makes the broker create one.
func (c *Client) topics(ctx context.Context) (map[string]listed, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	res, err := c.client.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	there := map[string]listed{}
	for _, t := range res.Topics {
		if t.Error == nil && !t.Internal && len(t.Partitions) > 0 {
			there[t.Name] = listed{len(t.Partitions), whole(t)}
		}
	}
	return there, nil
}

func whole(t kafka.Topic) bool {
	return !slices.ContainsFunc(t.Partitions, func(p kafka.Partition) bool {
		return p.Error != nil && !errors.Is(p.Error, kafka.ReplicaNotAvailable)
	})
}

// matching keeps the topics that are listed or match a pattern.
func matching(there map[string]listed, names []string, patterns []*regexp.Regexp) map[string]listed {
	found := map[string]listed{}
	for name, t := range there {
		if slices.Contains(names, name) || slices.ContainsFunc(patterns, func(p *regexp.Regexp) bool { return p.MatchString(name) }) {
			found[name] = t
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
	t, found := there[topic]
	if !found {
		return 0, fmt.Errorf("topic %s: %w", topic, kafka.UnknownTopicOrPartition)
	}
	return t.partitions, nil
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

// partitionsToProduce returns a topic's partitions, making the topic if that is
// allowed.
func (c *Client) partitionsToProduce(ctx context.Context, topic string) ([]int, error) {
	if ids, ok := c.counts.get(topic); ok {
		return ids, nil
	}
	n, err := c.Partitions(ctx, topic)
	if errors.Is(err, kafka.UnknownTopicOrPartition) {
		if err = c.remake(ctx, topic); err == nil {
			n, err = c.Partitions(ctx, topic)
		}
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
