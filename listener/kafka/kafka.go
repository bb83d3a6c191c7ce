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
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

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
	trouble   trouble
	wanted    wanted

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
	encryption, err := cfg.TLS.load()
	if err != nil {
		return nil, err
	}
	login, err := cfg.SASL.mechanism()
	if err != nil {
		return nil, err
	}
	g := newGuard(cfg.ReadTimeout, cfg.RefuseFor)
	// A broker that hangs is to be noticed by the guard, before the limit of dialing.
	dialTimeout := 2*cfg.ReadTimeout + time.Second
	t := &kafka.Transport{
		Dial:        g.dial,
		DialTimeout: dialTimeout,
		ClientID:    cfg.ClientID,
		MetadataTTL: cfg.MetadataTTL,
		TLS:         encryption,
		SASL:        login,
	}
	c := &Client{
		cfg:       cfg,
		log:       log,
		transport: t,
		client:    &kafka.Client{Addr: kafka.TCP(cfg.Brokers...), Transport: t},
		dialer: &kafka.Dialer{
			ClientID: cfg.ClientID, DialFunc: g.dial, Timeout: dialTimeout, TLS: encryption, SASLMechanism: login,
		},
		codec:  codecs[cfg.Compression],
		groups: map[string]*group{},
	}
	c.metrics = newMetrics(reg, c)
	return c, nil
}

// Close gives back idle connections. End Consume and Read first.
func (c *Client) Close() error {
	c.transport.CloseIdleConnections()
	return nil
}

// kafkaLog hands kafka-go's complaints about what to slog: the first of a trouble as
// a warning, those that follow for debugging only.
func (c *Client) kafkaLog(what string) kafka.Logger {
	return kafka.LoggerFunc(func(format string, args ...any) {
		level := slog.LevelDebug
		if !idled(format, args) && c.trouble.begin(what) {
			level = slog.LevelWarn
		}
		c.log.Log(context.Background(), level, "kafka client complained; more of it at level debug",
			"about", what, "detail", strings.TrimSpace(fmt.Sprintf(format, args...)))
	})
}

// idled reports whether kafka-go complains that a fetch ran out of max_wait before the
// broker said that there is nothing: so ends any wait at a partition without records,
// where the network or the broker is slow by a little. kafka-go connects again then; a
// broker that hangs makes it complain of that.
func idled(format string, args []any) bool {
	if !strings.HasPrefix(format, "the kafka reader got an unknown error reading") {
		return false
	}
	for _, a := range args {
		if err, is := a.(error); is && errors.Is(err, os.ErrDeadlineExceeded) {
			return true
		}
	}
	return false
}
