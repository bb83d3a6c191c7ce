// Package rabbitmq is the built-in publisher to RabbitMQ: each change becomes an oslo
// 2.0 notification, sent to an exchange with the routing key <topic>.<priority>, so
// that a listener of oslo.messaging reads it as it reads Nova's.
//
// A delivery counts as delivered when the broker has confirmed it and found a queue
// for it; until there is one it is tried again. The package keeps a connection for
// each destination, makes exchanges and queues only if told to, and consumes nothing.
// Its invariant: what was not confirmed is never called delivered.
package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/fresnel-search/fresnel/plugins/oslo"
	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// Name is the publisher's name in configuration.
const Name = "rabbitmq"

// maxBody is the largest message that is sent; RabbitMQ takes 16 MiB and more, its
// consumers less gladly.
const maxBody = 8 << 20

// Config is the configuration of the process.
type Config struct {
	Outbound sdk.Outbound `json:"outbound,omitzero" doc:"what may be connected to"`

	pool sdk.Pool[*connection]
}

// Options are what a destination may say. Its URI is
// amqp://user@host:5672,host2:5672/vhost, or amqps; its secrets are secret, the
// password, and ca, client_cert and client_key. A client certificate without a user
// logs in by it.
type Options struct {
	Topic string `json:"topic,omitempty" doc:"first part of the routing key <topic>.<priority>; notifications if empty"`
	// Exchange is a pointer, as empty is the name of the default exchange.
	Exchange    *string `json:"exchange,omitempty" doc:"exchange to publish to, openstack if absent; empty for the default one, whose routing keys are queues"`
	PublisherID string  `json:"publisher_id,omitempty" doc:"publisher_id of the notifications; fresnel if empty"`
	Declare     string  `json:"declare,omitempty" doc:"durable or transient: make the exchange, and a queue for each priority, where they are missing; otherwise listeners make them"`
}

// Validate reports what is wrong with the options.
func (o *Options) Validate() error {
	var errs []error
	// A name has at most 255 bytes, with the priority.
	if !regexp.MustCompile(`^[A-Za-z0-9._-]{0,240}$`).MatchString(o.Topic) {
		errs = append(errs, errors.New("topic: letters, digits, dots, dashes and underscores, at most 240"))
	}
	const most = 255
	if len(o.exchange()) > most {
		errs = append(errs, errors.New("exchange: is longer than 255 bytes"))
	}
	if o.Declare != "" && o.Declare != "durable" && o.Declare != "transient" {
		errs = append(errs, errors.New("declare: is neither durable nor transient"))
	}
	return errors.Join(errs...)
}

func (o *Options) topic() string       { return or(o.Topic, "notifications") }
func (o *Options) publisherID() string { return or(o.PublisherID, "fresnel") }
func (o *Options) exchange() string {
	if o.Exchange == nil {
		return "openstack" // control_exchange of oslo.messaging
	}
	return *o.Exchange
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// Main serves the publisher; see sdk.Main.
func Main(version string) { sdk.Main(Publisher(version)) }

// Publisher describes the plugin. At most so many batches go to one destination at
// once, each by a channel of its own.
func Publisher(version string) sdk.Publisher[Config, Options] {
	return sdk.Publisher[Config, Options]{
		Name: Name, Version: version, Schemes: []string{"amqp", "amqps"}, Concurrency: 8,
		PublishBatch: publish,
	}
}

func publish(ctx context.Context, c *Config, d *sdk.Destination[Options], evs []*sdk.Event) []error {
	errs := make([]error, len(evs))
	ns := make([]*oslo.Notification, len(evs))
	for i, ev := range evs {
		var err error
		if ns[i], err = oslo.Encode(ev, d.Options.publisherID(), maxBody); err != nil {
			errs[i] = sdk.Reject(err)
		}
	}
	t, err := target(d)
	if err != nil {
		return fail(errs, err)
	}
	conn, err := c.pool.Acquire(ctx, d.Key(), func(ctx context.Context) (*connection, error) {
		return dial(ctx, &c.Outbound, t)
	})
	if err != nil {
		return fail(errs, refused(err))
	}
	healthy := conn.publish(ctx, &d.Options, ns, errs)
	c.pool.Release(d.Key(), conn, !healthy)
	return errs
}

// fail is the outcome of all that have none yet.
func fail(errs []error, err error) []error {
	for i := range errs {
		if errs[i] == nil {
			errs[i] = err
		}
	}
	return errs
}

// unroutable says that no queue took the message. It waits for a listener to make one.
func unroutable(o *Options, priority string) error {
	return &sdk.Failure{Code: "unroutable", Err: fmt.Errorf(
		"no queue is bound to exchange %q by %s.%s; start a listener, or set the option declare", o.exchange(), o.topic(), priority)}
}

// declared tells what is declared from what other options would.
func (o *Options) declared() string { return o.Declare + " " + o.exchange() + " " + o.topic() }

// queues are the names of all queues, which are the routing keys too.
func (o *Options) queues() []string {
	names := oslo.Priorities()
	for i, p := range names {
		names[i] = strings.Join([]string{o.topic(), p}, ".")
	}
	return names
}
