package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// Topic is a topic to be there. What is zero is left to the brokers when the topic
// is created, and not looked at if it is there.
type Topic struct {
	Name string
	// Partitions is how many it gets when it is created.
	Partitions int
	// Least is how many are enough if the topic is there; 0 asks for Partitions.
	Least int
	// Replication is the number of copies.
	Replication int
	// MinInsync is how many copies must have a record before it counts as appended.
	MinInsync int
	// Retention is how long records are kept at least. A topic that has one must not
	// be compacted.
	Retention time.Duration
}

// Own returns a topic of Fresnel's own with the given number of partitions, as
// own_topics says.
func (c Config) Own(name string, partitions int, retention time.Duration) Topic {
	return Topic{
		Name: name, Partitions: partitions, Retention: retention,
		Replication: c.OwnTopics.Replication, MinInsync: c.OwnTopics.MinInsyncReplicas,
	}
}

// wanted are the topics that were asked for, with what was last found amiss.
type wanted struct {
	mu      sync.Mutex
	topics  []Topic
	amiss   []Mismatch
	checked time.Time
}

// EnsureTopics creates the topics that are not there and returns when all can be
// used. It begins with Reach, so a wrong password is an error and not a wait. A topic
// that is there stays as it is; what is fatal about it is an error (see Mismatch),
// the rest is logged and from then on told by TopicWarnings.
func (c *Client) EnsureTopics(ctx context.Context, topics ...Topic) error {
	if err := c.Reach(ctx); err != nil {
		return err
	}
	if err := persist(ctx, func() error { return c.ensure(ctx, topics) }); err != nil {
		return err
	}
	amiss, err := c.check(ctx, topics)
	if err != nil {
		return err
	}
	var fatal []error
	for _, m := range amiss {
		if m.Fatal {
			fatal = append(fatal, m)
			continue
		}
		c.log.Warn("topic is not as wanted", "topic", m.Topic, "key", m.Key, "found", m.Found, "wanted", m.Wanted, "remedy", m.Remedy)
	}
	if len(fatal) > 0 {
		return errors.Join(fatal...)
	}
	c.wanted.mu.Lock()
	defer c.wanted.mu.Unlock()
	c.wanted.topics = append(c.wanted.topics, topics...)
	c.wanted.amiss = append(c.wanted.amiss, amiss...)
	c.wanted.checked = time.Now()
	return nil
}

// remake makes a topic that is not there although records are to be appended to it, if
// that is allowed: one of EnsureTopics' as it was made first, any other as the brokers
// like.
func (c *Client) remake(ctx context.Context, name string) error {
	t, own := c.wanted.lost(name)
	switch {
	case own && !c.cfg.CreateTopics:
		return fmt.Errorf("topic %s is gone, and create_topics is false: restart to have it made anew: %w", name, kafka.UnknownTopicOrPartition)
	case own:
		c.log.Error("topic is gone; making it anew, without what it held", "topic", name)
	case !c.cfg.CreateTopics:
		return fmt.Errorf("topic %s: %w", name, kafka.UnknownTopicOrPartition)
	}
	return persist(ctx, func() error { return c.ensure(ctx, []Topic{t}) })
}

// lost is a topic that was found missing, as it is wanted, and whether it is one of
// EnsureTopics': then the next question for warnings asks the cluster.
func (w *wanted) lost(name string) (t Topic, own bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.topics, func(t Topic) bool { return t.Name == name })
	if i < 0 {
		return Topic{Name: name}, false
	}
	w.checked = time.Time{}
	return w.topics[i], true
}

// warningsFor is how old an answer of TopicWarnings may be.
const warningsFor = time.Minute

// TopicWarnings says what is not as wanted with the topics of EnsureTopics, or nil.
// It asks the cluster at most once a minute, and answers from memory while the
// cluster does not.
func (c *Client) TopicWarnings(ctx context.Context) error {
	w := &c.wanted
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.checked) > warningsFor && len(w.topics) > 0 {
		w.checked = time.Now()
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if amiss, err := c.look(ctx, w.topics); err == nil {
			w.amiss = amiss
		}
	}
	var errs []error
	for _, m := range w.amiss {
		errs = append(errs, m)
	}
	return errors.Join(errs...)
}

// ensure creates what is missing and fails until all of it can be used.
func (c *Client) ensure(ctx context.Context, topics []Topic) error {
	there, err := c.topics(ctx)
	if err != nil {
		return err
	}
	var missing []kafka.TopicConfig
	for _, t := range topics {
		if found, ok := there[t.Name]; !ok {
			missing = append(missing, creation(t))
		} else if !found.whole {
			err = fmt.Errorf("topic %s: %w", t.Name, errNotVisible)
		}
	}
	if len(missing) == 0 {
		if err != nil && c.trouble.begin("ensure") {
			c.log.Warn("waiting for topics to be usable", "err", err)
		}
		return err
	}
	res, err := c.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: missing})
	if err != nil {
		return err
	}
	for name, err := range res.Errors {
		if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
			return notCreated(name, err)
		}
	}
	c.log.Info("topics created", "count", len(missing))
	return errNotVisible
}

// notCreated says what to do about a topic that the cluster would not make.
func notCreated(name string, err error) error {
	remedy := "make it by hand, or see the brokers' log"
	switch {
	case errors.Is(err, kafka.InvalidReplicationFactor):
		remedy = "there are fewer brokers than copies wanted: lower own_topics.replication, or wait for all brokers"
	case errors.Is(err, kafka.TopicAuthorizationFailed), errors.Is(err, kafka.ClusterAuthorizationFailed):
		remedy = "allow this user to create it, or make it by hand"
	case errors.Is(err, kafka.PolicyViolation), errors.Is(err, kafka.InvalidConfiguration):
		remedy = "the cluster does not allow these settings: change own_topics"
	}
	return fmt.Errorf("create topic %s: %w; %s", name, err, remedy)
}

// errNotVisible makes ensure look again: topics are created asynchronously.
var errNotVisible = errors.New("not every partition has a leader yet")

func creation(t Topic) kafka.TopicConfig {
	tc := kafka.TopicConfig{Topic: t.Name, NumPartitions: -1, ReplicationFactor: -1}
	if t.Partitions > 0 {
		tc.NumPartitions = t.Partitions
	}
	if t.Replication > 0 {
		tc.ReplicationFactor = t.Replication
	}
	set := func(key, value string) {
		tc.ConfigEntries = append(tc.ConfigEntries, kafka.ConfigEntry{ConfigName: key, ConfigValue: value})
	}
	if t.MinInsync > 0 {
		set(keyMinInsync, strconv.Itoa(t.MinInsync))
	}
	if t.Retention > 0 {
		set(keyPolicy, "delete")
		set(keyRetention, strconv.FormatInt(t.Retention.Milliseconds(), 10))
	}
	return tc
}

// check compares topics that have just been there with what is wanted of them: one
// that is missing is not yet known to all brokers.
func (c *Client) check(ctx context.Context, topics []Topic) (amiss []Mismatch, err error) {
	err = persist(ctx, func() (err error) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if amiss, err = c.look(ctx, topics); err != nil {
			return err
		}
		if i := slices.IndexFunc(amiss, func(m Mismatch) bool { return m.Key == "" }); i >= 0 {
			return fmt.Errorf("topic %s: %w", amiss[i].Topic, kafka.UnknownTopicOrPartition)
		}
		return nil
	})
	return amiss, err
}

// look compares topics with what is wanted of them, once.
func (c *Client) look(ctx context.Context, topics []Topic) (all []Mismatch, err error) {
	res, err := c.client.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	settings, err := c.settings(ctx, topics)
	if err != nil {
		return nil, err
	}
	for _, t := range topics {
		i := slices.IndexFunc(res.Topics, func(f kafka.Topic) bool { return f.Name == t.Name })
		if i < 0 || errors.Is(res.Topics[i].Error, kafka.UnknownTopicOrPartition) {
			all = append(all, missing(t))
			continue
		}
		if err := res.Topics[i].Error; err != nil {
			return nil, fmt.Errorf("topic %s: %w", t.Name, err)
		}
		f := found{partitions: len(res.Topics[i].Partitions), brokers: len(res.Brokers), settings: settings[t.Name]}
		for _, p := range res.Topics[i].Partitions {
			if n := len(p.Replicas); f.replicas == 0 || n < f.replicas {
				f.replicas = n
			}
		}
		all = append(all, compare(t, f)...)
	}
	return all, nil
}

// hearsay is how long a broker may not know of a topic that another one lists.
const hearsay = 3 * time.Second

// settings asks for what compare looks at, by topic. A topic whose settings we may
// not see has none.
func (c *Client) settings(ctx context.Context, topics []Topic) (map[string]map[string]string, error) {
	req := &kafka.DescribeConfigsRequest{}
	for _, t := range topics {
		if t.Replication > 0 || t.MinInsync > 0 || t.Retention > 0 {
			req.Resources = append(req.Resources, kafka.DescribeConfigRequestResource{
				ResourceType: kafka.ResourceTypeTopic, ResourceName: t.Name,
				ConfigNames: []string{keyPolicy, keyRetention, keyRetentionBytes, keyMinInsync},
			})
		}
	}
	if len(req.Resources) == 0 {
		return nil, nil
	}
	var res *kafka.DescribeConfigsResponse
	for began := time.Now(); ; {
		var err error
		if res, err = c.client.DescribeConfigs(ctx, req); err != nil {
			return nil, fmt.Errorf("ask for the settings of topics: %w", err)
		}
		late := slices.ContainsFunc(res.Resources, func(r kafka.DescribeConfigResponseResource) bool {
			return errors.Is(r.Error, kafka.UnknownTopicOrPartition)
		})
		if !late || time.Since(began) > hearsay || !sleep(ctx, 200*time.Millisecond) {
			break
		}
	}
	out := map[string]map[string]string{}
	for _, r := range res.Resources {
		if errors.Is(r.Error, kafka.TopicAuthorizationFailed) || errors.Is(r.Error, kafka.UnknownTopicOrPartition) {
			continue
		}
		if r.Error != nil {
			return nil, fmt.Errorf("ask for the settings of topic %s: %w", r.ResourceName, r.Error)
		}
		out[r.ResourceName] = map[string]string{}
		for _, e := range r.ConfigEntries {
			out[r.ResourceName][e.ConfigName] = e.ConfigValue
		}
	}
	return out, nil
}
