package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/segmentio/kafka-go"
)

// closedFor is how long brokers may hang up on us before it counts as a mistake in
// the configuration and not as brokers that start.
const closedFor = 10 * time.Second

// errMisconfigured marks what trying again does not cure.
var errMisconfigured = errors.New("not usable as configured")

// Reach returns nil once one of the brokers has answered, and logs once if that takes
// a while. A broker that refuses the log-in or a certificate, or speaks another
// protocol, is an error that says which broker and which key to check.
func (c *Client) Reach(ctx context.Context) error {
	var closed time.Time // since when brokers hang up
	for wait := newBackoff(100*time.Millisecond, 2*time.Second); ; {
		err := c.reachAny(ctx)
		if err == nil {
			if c.trouble.over("reach") {
				c.log.Info("kafka answers")
			}
			return nil
		}
		switch hungUp := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET); {
		case !hungUp:
			closed = time.Time{}
		case closed.IsZero():
			closed = time.Now()
		}
		if errors.Is(err, errMisconfigured) || !closed.IsZero() && time.Since(closed) > closedFor {
			return err
		}
		if ctx.Err() == nil && c.trouble.begin("reach") {
			c.log.Warn("kafka does not answer; trying again", "err", err)
		}
		if !wait.sleep(ctx) {
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// reachAny tries each broker; one that answers is enough, but one that shows a
// mistake tells more than those that are down.
func (c *Client) reachAny(ctx context.Context) error {
	var errs []error
	for _, address := range c.cfg.Brokers {
		err := c.reach(ctx, address)
		if err == nil {
			return nil
		}
		errs = append(errs, c.inWords(address, err))
	}
	return errors.Join(errs...)
}

func (c *Client) reach(ctx context.Context, address string) error {
	conn, err := c.dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	// A refused certificate shows only at the first answer, and a log-in that is missing
	// only at a question that needs one.
	_, err = conn.Brokers()
	return err
}

// inWords says what an operator should look at.
func (c *Client) inWords(address string, err error) error {
	misconfigured := func(text string, args ...any) error {
		return fmt.Errorf("broker %s %s: %w: %w", address, fmt.Sprintf(text, args...), errMisconfigured, err)
	}
	if _, is := errors.AsType[tls.RecordHeaderError](err); is {
		return misconfigured("does not speak TLS on this port; check tls.enabled and the port")
	}
	if _, is := errors.AsType[x509.HostnameError](err); is {
		return misconfigured("has a certificate for another name; check brokers and tls.server_name")
	}
	if _, is := errors.AsType[*tls.CertificateVerificationError](err); is {
		return misconfigured("has a certificate that is not trusted; check tls.ca_file")
	}
	if op, is := errors.AsType[*net.OpError](err); is && op.Op == "remote error" { // an alert of TLS
		return misconfigured("refused our certificate; check tls.cert_file and tls.key_file")
	}
	switch {
	case errors.Is(err, kafka.SASLAuthenticationFailed):
		return misconfigured("refused the log-in as %q by %s; check sasl.username and sasl.password", c.cfg.SASL.Username, c.cfg.SASL.Mechanism)
	case errors.Is(err, kafka.UnsupportedSASLMechanism):
		return misconfigured("does not know the log-in by %s; check sasl.mechanism", c.cfg.SASL.Mechanism)
	case errors.Is(err, kafka.IllegalSASLState):
		return misconfigured("wants another log-in on this port; check sasl.mechanism and the port")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("broker %s hangs up; check that tls.enabled and sasl.mechanism fit its port: %w", address, err)
	}
	return fmt.Errorf("broker %s: %w", address, err)
}
