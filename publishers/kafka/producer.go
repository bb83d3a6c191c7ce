package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// producer is a client of one destination.
type producer struct {
	together  *kafka.Writer
	alone     *kafka.Writer // puts no two messages into one request
	transport *kafka.Transport
	wires     *wires
}

// Close breaks its connections off, so that nothing of an attempt that was given up is
// written later, behind what was written since.
func (p *producer) Close() error {
	p.wires.cut()
	err := errors.Join(p.together.Close(), p.alone.Close())
	p.transport.CloseIdleConnections()
	return err
}

// write writes messages of one topic and returns what became of each. Brokers measure
// what comes in one request: what is too large together is sent again one by one.
func (p *producer) write(ctx context.Context, messages []kafka.Message) []error {
	errs := results(p.together.WriteMessages(ctx, messages...), len(messages))
	for i, err := range errs {
		if len(messages) > 1 && tooLarge(err) {
			errs[i] = results(p.alone.WriteMessages(ctx, messages[i]), 1)[0]
		}
	}
	return errs
}

// results is the error of a writer for each of n messages.
func results(err error, n int) []error {
	var each kafka.WriteErrors
	if errors.As(err, &each) && len(each) == n {
		return each
	}
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}

func tooLarge(err error) bool {
	return errors.Is(err, kafka.MessageSizeTooLarge) || errors.Is(err, kafka.RecordListTooLarge)
}

func badDestination(text string) error {
	return &sdk.Failure{Code: "bad_destination", Final: true, Destination: true, Err: errors.New(text)}
}

// newProducer makes a client; it connects when it writes.
func newProducer(out *sdk.Outbound, d *sdk.Destination[Options]) (*producer, error) {
	u, err := url.Parse(d.URI)
	if err != nil || u.Host == "" || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" {
		return nil, badDestination("the destination is not of the form kafka://user@host:9092,host2:9092")
	}
	if _, has := u.User.Password(); has {
		return nil, badDestination("the destination has a password in it; give it as the subscription's secret")
	}
	const idle, metadata, patience = time.Minute, 30 * time.Second, 5 * time.Second
	w := &wires{open: map[*wire]bool{}}
	t := &kafka.Transport{ClientID: "fresnel-publisher", Dial: w.dialer(out), DialTimeout: patience, IdleTimeout: idle, MetadataTTL: metadata}
	if strings.EqualFold(u.Scheme, "kafkas") {
		if t.TLS, err = sdk.TLS(d.Secrets); err != nil {
			return nil, err
		}
		if t.TLS == nil {
			t.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		}
	}
	if user := u.User.Username(); user != "" {
		password := d.Secrets["secret"]
		if t.SASL, err = mechanisms()[d.Options.SASL](user, string(password.Reveal())); err != nil {
			return nil, &sdk.Failure{Code: "bad_secret", Final: true, Destination: true, Err: errors.New("user or password cannot be used for SASL")}
		}
		if t.TLS == nil && d.Options.SASL == "plain" {
			return nil, badDestination("sasl plain shows the password to the network; use kafkas")
		}
	}
	var brokers []string
	for host := range strings.SplitSeq(u.Host, ",") {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), "9092")
		}
		brokers = append(brokers, host)
	}
	// A batch is what was handed over at once: nothing else is waited for. The host
	// retries; one attempt more is made here where a partition has a new leader.
	const wait, attempts, pause = time.Millisecond, 2, 100 * time.Millisecond
	writer := func(size int) *kafka.Writer {
		return &kafka.Writer{
			Addr: kafka.TCP(brokers...), Transport: t, Balancer: &kafka.Murmur2Balancer{Consistent: true},
			RequiredAcks: kafka.RequireAll, Compression: codecs()[d.Options.Compression], AllowAutoTopicCreation: true,
			BatchTimeout: wait, BatchSize: size, BatchBytes: maxBody + 1024, MaxAttempts: attempts,
			WriteBackoffMin: pause, WriteBackoffMax: pause, WriteTimeout: patience, ReadTimeout: patience,
		}
	}
	const many = 1000
	return &producer{together: writer(many), alone: writer(1), transport: t, wires: w}, nil
}

type mechanism func(user, password string) (sasl.Mechanism, error)

func mechanisms() map[string]mechanism {
	hashed := func(a scram.Algorithm) mechanism {
		return func(user, password string) (sasl.Mechanism, error) { return scram.Mechanism(a, user, password) }
	}
	return map[string]mechanism{
		"": hashed(scram.SHA512), "scram-sha-512": hashed(scram.SHA512), "scram-sha-256": hashed(scram.SHA256),
		"plain": func(user, password string) (sasl.Mechanism, error) {
			return plain.Mechanism{Username: user, Password: password}, nil
		},
	}
}

// outcome makes an outcome of the error of a message.
func outcome(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*sdk.Failure](err); ok || err == nil {
		return err
	}
	e, ok := errors.AsType[kafka.Error](err)
	switch {
	case ctx.Err() != nil:
		return &sdk.Failure{Code: "timeout", Err: errors.New("the brokers have not acknowledged the message in time")}
	case !ok:
		return sdk.FromNetwork(err)
	}
	f := &sdk.Failure{Code: "broker", Err: e}
	is := func(these ...kafka.Error) bool { return slices.Contains(these, e) }
	switch {
	case tooLarge(e):
		f.Code, f.Final = "too_large", true
	case is(kafka.SASLAuthenticationFailed, kafka.ClusterAuthorizationFailed, kafka.UnsupportedSASLMechanism):
		f.Code, f.Destination = "access_refused", true
	case is(kafka.TopicAuthorizationFailed): // the topics of other priorities may do
		f.Code = "access_refused"
	case is(kafka.UnknownTopicOrPartition, kafka.InvalidTopic):
		f.Code = "no_topic"
	case is(kafka.NotEnoughReplicas, kafka.NotEnoughReplicasAfterAppend):
		f.Code, f.Destination = "not_enough_replicas", true
	}
	return f
}
