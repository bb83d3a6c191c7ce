package embedded

import (
	"errors"
	"log/slog"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// creator makes the topics that clients create by asking for them, as oslo.messaging
// and most producers do. kfake's own way keeps such a topic in memory only: after a
// kill -9 the topic is gone, and one made anew would append to its old files.
type creator struct {
	cluster *kfake.Cluster
	log     *slog.Logger

	mu    sync.Mutex
	known map[string]bool // topics that are on disk
}

// metadata lets a client's question wait until the topics that it may create are on
// disk. kfake then answers it.
func (c *creator) metadata(r kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's order of results
	req, ok := r.(*kmsg.MetadataRequest)
	if !ok || !req.AllowAutoTopicCreation {
		return nil, nil, false
	}
	missing := c.missing(req)
	if len(missing) > 0 {
		c.cluster.SleepControl(func() { c.create(missing) })
	}
	return nil, nil, false
}

func (c *creator) missing(req *kmsg.MetadataRequest) (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range req.Topics {
		if t.Topic != nil && !c.known[*t.Topic] {
			names = append(names, *t.Topic)
		}
	}
	return names
}

// create makes topics; those that kfake refuses, as for their names, stay unknown
// to the client.
func (c *creator) create(names []string) {
	for _, name := range names {
		err := c.cluster.CreateTopic(name, -1, nil)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			c.log.Warn("topic not created", "topic", name, "err", err)
			continue
		}
		c.mu.Lock()
		c.known[name] = true
		c.mu.Unlock()
	}
}
