package rabbitmq

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// server is where a destination is and how to log in there.
type server struct {
	hosts []string
	vhost string
	auth  amqp.Authentication
	tls   *tls.Config // nil without TLS
}

func badDestination(text string) error {
	return &sdk.Failure{Code: "bad_destination", Final: true, Destination: true, Err: errors.New(text)}
}

// target reads a destination.
func target(d *sdk.Destination[Options]) (*server, error) {
	u, err := url.Parse(d.URI)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, badDestination("the destination is not of the form amqp://user@host:5672/vhost")
	}
	if _, has := u.User.Password(); has {
		return nil, badDestination("the destination has a password in it; give it as the subscription's secret")
	}
	s := &server{vhost: strings.TrimPrefix(u.Path, "/")}
	if s.vhost == "" {
		s.vhost = "/"
	}
	port := "5672"
	if strings.EqualFold(u.Scheme, "amqps") {
		port = "5671"
		if s.tls, err = sdk.TLS(d.Secrets); err != nil {
			return nil, err
		}
		if s.tls == nil {
			s.tls = &tls.Config{MinVersion: tls.VersionTLS12}
		}
	}
	for host := range strings.SplitSeq(u.Host, ",") {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
		s.hosts = append(s.hosts, host)
	}
	switch secret := d.Secrets["secret"]; {
	case u.User.Username() != "":
		s.auth = &amqp.PlainAuth{Username: u.User.Username(), Password: string(secret.Reveal())}
	case s.tls != nil && len(s.tls.Certificates) > 0:
		s.auth = &amqp.ExternalAuth{}
	default:
		s.auth = &amqp.PlainAuth{Username: "guest", Password: or(string(secret.Reveal()), "guest")}
	}
	return s, nil
}

// connection is an open connection with its channels in confirm mode. A channel is
// used by one batch at a time.
type connection struct {
	*amqp.Connection
	wire    net.Conn
	blocked atomic.Bool // the broker takes nothing for now
	mu      sync.Mutex
	free    []*channel
	made    map[string]bool // by options.declared: what was declared
}

type channel struct {
	*amqp.Channel
	returned chan amqp.Return
	closed   chan *amqp.Error
}

// dial connects to the first host that answers.
func dial(ctx context.Context, out *sdk.Outbound, s *server) (*connection, error) {
	var errs []error
	for _, host := range s.hosts {
		c, err := dialOne(ctx, out, s, host)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func dialOne(ctx context.Context, out *sdk.Outbound, s *server, host string) (*connection, error) {
	const patience, heartbeat = 5 * time.Second, 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	wire, err := out.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	// Greeting and log-in have no context; the library takes the deadline away after.
	deadline, _ := ctx.Deadline()
	if err := wire.SetDeadline(deadline); err != nil {
		return nil, errors.Join(err, wire.Close())
	}
	if s.tls != nil {
		conf := s.tls.Clone()
		if conf.ServerName, _, err = net.SplitHostPort(host); err != nil {
			return nil, errors.Join(err, wire.Close())
		}
		secured := tls.Client(wire, conf)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, wire.Close())
		}
		wire = secured
	}
	conn, err := amqp.Open(wire, amqp.Config{
		SASL: []amqp.Authentication{s.auth}, Vhost: s.vhost, Locale: "en_US", Heartbeat: heartbeat,
		Properties: amqp.Table{"product": "Fresnel", "connection_name": "fresnel publisher"},
	})
	if err != nil {
		return nil, errors.Join(err, wire.Close())
	}
	c := &connection{Connection: conn, wire: wire, made: map[string]bool{}}
	go c.watch(conn.NotifyBlocked(make(chan amqp.Blocking, 1)))
	return c, nil
}

// watch follows whether the broker takes messages, until the connection is closed.
func (c *connection) watch(blockings <-chan amqp.Blocking) {
	for b := range blockings {
		c.blocked.Store(b.Active)
	}
}

// Close breaks the connection off: a goodbye could wait for a broker that hangs. What
// the broker has confirmed is safe.
func (c *connection) Close() error { return c.wire.Close() }

// take returns a channel that nobody uses.
func (c *connection) take() (*channel, error) {
	c.mu.Lock()
	if n := len(c.free); n > 0 {
		ch := c.free[n-1]
		c.free = c.free[:n-1]
		c.mu.Unlock()
		return ch, nil
	}
	c.mu.Unlock()
	ch, err := c.Channel()
	if err != nil {
		return nil, fmt.Errorf("open channel: %w", err)
	}
	if err := ch.Confirm(false); err != nil {
		return nil, fmt.Errorf("open channel: %w", err)
	}
	// Room for all of a batch: a return comes before the confirmation of the same
	// message, and is there when that is seen.
	const batch = 512
	return &channel{
		Channel: ch, returned: ch.NotifyReturn(make(chan amqp.Return, batch)), closed: ch.NotifyClose(make(chan *amqp.Error, 1)),
	}, nil
}

func (c *connection) give(ch *channel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.free = append(c.free, ch)
}

// declare makes the exchange and the queues where they are missing. What is there is
// left as it is, whatever its properties, and so is what we may not make: publishing
// will tell whether it is there.
func (c *connection) declare(o *Options) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.Declare == "" || c.made[o.declared()] {
		return nil
	}
	ch, err := c.Channel()
	if err != nil {
		return fmt.Errorf("open channel: %w", err)
	}
	try := func(declare func() error) error {
		err := declare()
		refusal, ok := errors.AsType[*amqp.Error](err)
		if !ok || refusal.Code != amqp.PreconditionFailed && refusal.Code != amqp.AccessRefused && refusal.Code != amqp.ResourceLocked {
			return err
		}
		ch, err = c.Channel() // the refusal has closed the one before
		return err
	}
	exchange, durable := o.exchange(), o.Declare == "durable"
	if exchange != "" {
		err = try(func() error { return ch.ExchangeDeclare(exchange, "topic", durable, false, false, false, nil) })
	}
	for _, name := range o.queues() {
		if err == nil {
			err = try(func() error { _, err := ch.QueueDeclare(name, durable, false, false, false, nil); return err })
		}
		if err == nil && exchange != "" {
			err = try(func() error { return ch.QueueBind(name, name, exchange, false, nil) })
		}
	}
	if err != nil {
		return fmt.Errorf("declare exchange and queues: %w", err)
	}
	c.made[o.declared()] = true
	return ch.Close()
}

// forget has exchange and queues declared again: somebody may have deleted them.
func (c *connection) forget(o *Options) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.made, o.declared())
}
