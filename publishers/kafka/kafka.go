// Package kafka is the built-in publisher to Kafka: each change becomes an oslo 2.0
// notification in the topic <topic>.<priority>, as the Kafka driver of oslo.messaging
// writes it, keyed by the resource so that its changes stay in order.
//
// A delivery counts as delivered when all in-sync replicas have it. The package keeps
// a client for each destination and reads nothing; it has nothing to do with the Kafka
// that Fresnel itself runs on. Its invariant: what was not acknowledged is never
// called delivered.
package kafka

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"slices"

	"github.com/segmentio/kafka-go"

	"github.com/fresnel-search/fresnel/plugins/oslo"
	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// Name is the publisher's name in configuration.
const Name = "kafka"

// maxBody is the largest message that is sent: brokers take 1 MiB unless told
// otherwise, with what is around it.
const maxBody = 1_000_000

// Config is the configuration of the process.
type Config struct {
	Outbound sdk.Outbound `json:"outbound,omitzero" doc:"what may be connected to"`

	pool sdk.Pool[*producer]
}

// Options are what a destination may say. Its URI is
// kafka://user@host:9092,host2:9092, or kafkas for TLS; its secrets are secret, the
// password, and ca, client_cert and client_key.
type Options struct {
	Topic       string `json:"topic,omitempty" doc:"first part of the topic <topic>.<priority>; notifications if empty"`
	PublisherID string `json:"publisher_id,omitempty" doc:"publisher_id of the notifications; fresnel if empty"`
	SASL        string `json:"sasl,omitempty" doc:"how the user logs in: plain (kafkas only), scram-sha-256, or scram-sha-512 if empty"`
	Compression string `json:"compression,omitempty" doc:"none, gzip, snappy, lz4 or zstd; none if empty"`
}

// Validate reports what is wrong with the options.
func (o *Options) Validate() error {
	var errs []error
	// A topic's name has at most 249 bytes.
	if !regexp.MustCompile(`^[A-Za-z0-9._-]{0,240}$`).MatchString(o.Topic) {
		errs = append(errs, errors.New("topic: letters, digits, dots, dashes and underscores, at most 240"))
	}
	if _, known := mechanisms()[o.SASL]; !known {
		errs = append(errs, errors.New("sasl: is none of plain, scram-sha-256, scram-sha-512"))
	}
	if _, known := codecs()[o.Compression]; !known {
		errs = append(errs, errors.New("compression: is none of none, gzip, snappy, lz4, zstd"))
	}
	return errors.Join(errs...)
}

func codecs() map[string]kafka.Compression {
	return map[string]kafka.Compression{
		"": 0, "none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// Main serves the publisher; see sdk.Main.
func Main(version string) { sdk.Main(Publisher(version)) }

// Publisher describes the plugin.
func Publisher(version string) sdk.Publisher[Config, Options] {
	return sdk.Publisher[Config, Options]{
		Name: Name, Version: version, Schemes: []string{"kafka", "kafkas"}, Concurrency: 8,
		PublishBatch: publish,
	}
}

func publish(ctx context.Context, c *Config, d *sdk.Destination[Options], evs []*sdk.Event) []error {
	errs := make([]error, len(evs))
	topics := map[string][]int{} // the events that are for each
	messages := make([]kafka.Message, len(evs))
	for i, ev := range evs {
		n, err := oslo.Encode(ev, or(d.Options.PublisherID, "fresnel"), maxBody)
		if err != nil {
			errs[i] = sdk.Reject(err)
			continue
		}
		topic := or(d.Options.Topic, "notifications") + "." + n.Priority
		messages[i] = kafka.Message{Topic: topic, Key: []byte(n.Subject), Value: n.Body, Time: ev.Time}
		topics[topic] = append(topics[topic], i)
	}
	if len(topics) == 0 {
		return errs
	}
	p, err := c.pool.Acquire(ctx, d.Key(), func(context.Context) (*producer, error) { return newProducer(&c.Outbound, d) })
	if err != nil {
		for i := range errs {
			if errs[i] == nil {
				errs[i] = outcome(ctx, err)
			}
		}
		return errs
	}
	// One topic that is missing or forbidden must not spoil the others.
	failed := false
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		of := topics[topic]
		ms := make([]kafka.Message, len(of))
		for m, i := range of {
			ms[m] = messages[i]
		}
		for m, err := range p.write(ctx, ms) {
			errs[of[m]] = outcome(ctx, err)
			failed = failed || err != nil
		}
	}
	c.pool.Release(d.Key(), p, failed && ctx.Err() != nil)
	return errs
}
