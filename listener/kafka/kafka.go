// Package kafka speaks Kafka for everybody else: it appends records, runs
// consumer groups whose offsets are committed only after the records have been
// handled, and reads logs at chosen offsets. It satisfies the ports of
// listener/stream.
//
// It does not know what records mean, and does not read compacted topics, which
// kafka-go cannot do reliably. Its invariants: a group's committed offset never
// passes a record that its handler has not returned nil for; records that the
// broker dropped unread are counted, never skipped in silence; and a broker that
// hangs stops a partition for seconds, not for as long as it hangs.
package kafka

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"

	"github.com/fresnel-search/fresnel/listener/stream"
)

var (
	_ stream.Producer = (*Client)(nil)
	_ stream.Log      = (*Client)(nil)
)

// Client is the connection to one Kafka cluster. It is safe for concurrent use.
type Client struct {
	cfg       Config
	log       *slog.Logger
	metrics   *metrics
	transport *kafka.Transport
	client    *kafka.Client
	dialer    *kafka.Dialer
	codec     kafka.Compression
	counts    counts

	mu     sync.Mutex
	groups map[string]*group // by group id, while Consume runs
}

// New makes a client of cfg.Brokers, which need not be up yet. A nil log discards,
// a nil reg keeps no metrics.
func New(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if len(cfg.Brokers) == 0 {
		return nil, errors.New("brokers: required")
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	g := newGuard(cfg.ReadTimeout, cfg.RefuseFor)
	t := &kafka.Transport{
		Dial:        g.dial,
		DialTimeout: cfg.ReadTimeout,
		ClientID:    cfg.ClientID,
		MetadataTTL: cfg.MetadataTTL,
	}
	c := &Client{
		cfg:       cfg,
		log:       log,
		transport: t,
		client:    &kafka.Client{Addr: kafka.TCP(cfg.Brokers...), Transport: t},
		dialer:    &kafka.Dialer{ClientID: cfg.ClientID, DialFunc: g.dial, Timeout: cfg.ReadTimeout},
		codec:     codecs[cfg.Compression],
		groups:    map[string]*group{},
	}
	c.metrics = newMetrics(reg, c.heldLag)
	return c, nil
}

// Close gives back idle connections. End Consume and Read first.
func (c *Client) Close() error {
	c.transport.CloseIdleConnections()
	return nil
}

// kafkaLog hands kafka-go's complaints to slog.
func (c *Client) kafkaLog(group string) kafka.Logger {
	return kafka.LoggerFunc(func(format string, args ...any) {
		c.log.Warn("kafka client complained", "group", group, "detail", strings.TrimSpace(fmt.Sprintf(format, args...)))
	})
}
