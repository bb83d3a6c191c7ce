package kafka

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

// Config says which cluster to use, and how patiently.
type Config struct {
	// Brokers are host:port pairs to begin with; the cluster names the others.
	Brokers []string `yaml:"brokers"`
	// ClientID is shown in the brokers' logs.
	ClientID string `yaml:"client_id"`
	TLS      TLS    `yaml:"tls"`
	SASL     SASL   `yaml:"sasl"`
	// Rack is where this process runs, as brokers name their racks: partitions whose
	// leaders are there are preferably assigned to it. Records are always fetched
	// from leaders; kafka-go cannot fetch from followers.
	Rack string `yaml:"rack"`
	// OwnTopics is what Fresnel's own topics get.
	OwnTopics OwnTopics `yaml:"own_topics"`
	// Compression of produced batches: none, snappy, lz4, zstd or gzip.
	Compression string `yaml:"compression"`
	// CreateTopics lets Produce create a topic that is not there.
	CreateTopics bool `yaml:"create_topics"`
	// ProduceTimeout bounds one call of Produce, retries included. A cluster that
	// loses a broker may need 15 s to answer again.
	ProduceTimeout time.Duration `yaml:"produce_timeout"`
	// SessionTimeout is how long a group waits for a member that fell silent. A
	// batch should be handled within it.
	SessionTimeout time.Duration `yaml:"session_timeout"`
	// HeartbeatInterval is how soon a member notices that its group changed.
	HeartbeatInterval time.Duration `yaml:"heartbeat_interval"`
	// MaxWait is how long a fetch waits for records, its answer included: kafka-go asks
	// the broker to wait for half of it (all but a quarter below 1 s), and connects
	// again when the rest was not enough for the answer. Half of it is how long an idle
	// reader holds up a rebalance.
	MaxWait time.Duration `yaml:"max_wait"`
	// BatchBytes bounds the records handled at a time, of one partition; as many again
	// are read ahead. There are at most 1000 of them in any case.
	BatchBytes int `yaml:"batch_bytes"`
	// TopicsInterval is how often a group looks for new topics and partitions.
	TopicsInterval time.Duration `yaml:"topics_interval"`
	// MetadataTTL is how old the known list of topics may be.
	MetadataTTL time.Duration `yaml:"metadata_ttl"`
	// DrainTimeout is how long handlers may go on after the end of Consume's ctx.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
	// StuckAfter is how long a partition may have records waiting and get on with none
	// before its group's status calls it stuck.
	StuckAfter time.Duration `yaml:"stuck_after"`
	// ReadTimeout bounds connecting, and reads that have no limit of their own.
	ReadTimeout time.Duration `yaml:"read_timeout"`
	// RefuseFor is how long a broker that accepted a connection and then said
	// nothing is not tried again.
	RefuseFor time.Duration `yaml:"refuse_for"`
}

// OwnTopics says how the topics of Fresnel's own are made, and what they are checked
// for. What is zero is the brokers' affair.
type OwnTopics struct {
	Replication       int `yaml:"replication"`
	MinInsyncReplicas int `yaml:"min_insync_replicas"`
	// MutationsRetention is how long mutations are kept: longer than the indexer may
	// be away.
	MutationsRetention time.Duration `yaml:"mutations_retention"`
	// ChangesRetention is how long changes are kept: longer than a subscriber may be
	// away and miss nothing.
	ChangesRetention time.Duration `yaml:"changes_retention"`
}

func (o OwnTopics) validate() error {
	var errs []error
	if o.Replication < 0 || o.MinInsyncReplicas < 0 {
		errs = append(errs, errors.New("own_topics.replication, own_topics.min_insync_replicas: must not be negative"))
	}
	if o.Replication > 0 && o.MinInsyncReplicas > o.Replication {
		errs = append(errs, errors.New("own_topics.min_insync_replicas: must not be above own_topics.replication"))
	}
	for key, d := range map[string]time.Duration{"mutations_retention": o.MutationsRetention, "changes_retention": o.ChangesRetention} {
		if d != 0 && d < time.Hour {
			errs = append(errs, fmt.Errorf("own_topics.%s: must be 0 or at least 1h", key))
		}
	}
	return errors.Join(errs...)
}

var codecs = map[string]kafka.Compression{
	"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
}

// DefaultConfig returns measured settings, without brokers.
func DefaultConfig() Config {
	return Config{
		ClientID:          "fresnel",
		Compression:       "snappy",
		OwnTopics:         OwnTopics{MutationsRetention: 7 * 24 * time.Hour, ChangesRetention: 7 * 24 * time.Hour},
		StuckAfter:        5 * time.Minute,
		CreateTopics:      true,
		ProduceTimeout:    30 * time.Second,
		SessionTimeout:    30 * time.Second,
		HeartbeatInterval: time.Second,
		MaxWait:           2 * time.Second,
		BatchBytes:        1 << 20,
		TopicsInterval:    3 * time.Second,
		MetadataTTL:       2 * time.Second,
		DrainTimeout:      5 * time.Second,
		ReadTimeout:       5 * time.Second,
		RefuseFor:         15 * time.Second,
	}
}

// Validate reports every problem, each with its key. No brokers is no problem
// here: the embedded one may be meant.
func (c Config) Validate() error {
	var errs []error
	for i, b := range c.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			errs = append(errs, fmt.Errorf("brokers[%d]: %w", i, err))
		}
	}
	errs = append(errs, c.TLS.validate(), c.SASL.validate(c.TLS.Enabled), c.OwnTopics.validate())
	if _, ok := codecs[c.Compression]; !ok {
		names := slices.Sorted(maps.Keys(codecs))
		errs = append(errs, fmt.Errorf("compression: %q is none of %s", c.Compression, strings.Join(names, ", ")))
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"produce_timeout", c.ProduceTimeout},
		{"session_timeout", c.SessionTimeout},
		{"heartbeat_interval", c.HeartbeatInterval},
		{"max_wait", c.MaxWait},
		{"topics_interval", c.TopicsInterval},
		{"metadata_ttl", c.MetadataTTL},
		{"drain_timeout", c.DrainTimeout},
		{"stuck_after", c.StuckAfter},
		{"read_timeout", c.ReadTimeout},
		{"refuse_for", c.RefuseFor},
	} {
		if d.value <= 0 {
			errs = append(errs, fmt.Errorf("%s: must be positive", d.key))
		}
	}
	if c.BatchBytes < 64<<10 || c.BatchBytes > 64<<20 {
		errs = append(errs, errors.New("batch_bytes: must be from 65536 to 67108864"))
	}
	if c.HeartbeatInterval*3 > c.SessionTimeout {
		errs = append(errs, errors.New("heartbeat_interval: must be at most a third of session_timeout"))
	}
	return errors.Join(errs...)
}
