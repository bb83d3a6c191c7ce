package email

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

func badDestination(text string) error {
	return &sdk.Failure{Code: "bad_destination", Final: true, Destination: true, Err: errors.New(text)}
}

// server is where a destination is and how to talk to it.
type server struct {
	host string
	port int
	tls  *tls.Config
	wrap bool // TLS from the first byte
	user string
	pass string
}

func target(d *sdk.Destination[Options]) (*server, error) {
	u, err := url.Parse(d.URI)
	if err != nil || u.Hostname() == "" || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" {
		return nil, badDestination("the destination is not of the form smtp://user@host:587")
	}
	if _, has := u.User.Password(); has {
		return nil, badDestination("the destination has a password in it; give it as the subscription's secret")
	}
	secret := d.Secrets["secret"]
	s := &server{host: u.Hostname(), port: 587, user: u.User.Username(), pass: string(secret.Reveal())}
	if strings.EqualFold(u.Scheme, "smtps") {
		s.port, s.wrap = 465, true
	}
	if u.Port() != "" {
		if s.port, err = strconv.Atoi(u.Port()); err != nil {
			return nil, badDestination("the destination's port is no number")
		}
	}
	if s.tls, err = sdk.TLS(d.Secrets); err != nil {
		return nil, err
	}
	if s.tls == nil {
		s.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	s.tls.ServerName = s.host
	return s, nil
}

// send sends the mails one after the other over one connection and returns what
// became of each.
func send(ctx context.Context, out *sdk.Outbound, d *sdk.Destination[Options], mails []*mail.Msg) []error {
	errs := make([]error, len(mails))
	s, err := target(d)
	if err != nil {
		return all(errs, err)
	}
	wire := &wire{}
	defer wire.close()
	// A server that hangs is left when the attempt is over.
	defer context.AfterFunc(ctx, wire.close)()
	c, err := s.client(&d.Options, func(ctx context.Context, _, address string) (net.Conn, error) {
		return s.dial(ctx, out, address, wire)
	})
	if err != nil {
		return all(errs, badDestination(err.Error()))
	}
	session, err := c.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return all(errs, refused(err))
	}
	for i, m := range mails {
		err := c.SendWithSMTPClient(session, m)
		if !m.IsDelivered() { // else it is only that the server says good-bye
			errs[i] = outcome(ctx, err)
		}
	}
	if err := c.CloseWithSMTPClient(session); err != nil {
		return errs // the server has the mails
	}
	return errs
}

// all gives all mails the same outcome.
func all(errs []error, err error) []error {
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// client speaks to the server over what dial returns.
func (s *server) client(o *Options, dial mail.DialContextFunc) (*mail.Client, error) {
	const patience = 10 * time.Second
	policy := map[string]mail.TLSPolicy{"": mail.TLSMandatory, "required": mail.TLSMandatory, "if_offered": mail.TLSOpportunistic, "off": mail.NoTLS}[o.TLS]
	if s.wrap {
		policy = mail.TLSOpportunistic // inside of TLS nobody offers it
	}
	opts := []mail.Option{
		mail.WithPort(s.port), mail.WithTimeout(patience), mail.WithTLSConfig(s.tls), mail.WithTLSPolicy(policy),
		mail.WithDialContextFunc(dial), mail.WithoutNoop(), mail.WithoutRset(),
	}
	if s.user != "" {
		opts = append(opts, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(s.user), mail.WithPassword(s.pass))
	}
	return mail.NewClient(s.host, opts...)
}

func (s *server) dial(ctx context.Context, out *sdk.Outbound, address string, w *wire) (net.Conn, error) {
	conn, err := out.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	w.set(conn)
	if !s.wrap {
		return conn, nil
	}
	secured := tls.Client(conn, s.tls)
	return secured, secured.HandshakeContext(ctx)
}

// refused is why there was no session. A server that does not let us in does so for
// all deliveries.
func refused(err error) error {
	f := &sdk.Failure{Code: "refused", Destination: true}
	if answer, ok := errors.AsType[*textproto.Error](err); ok {
		f.Err = fmt.Errorf("the server answered %d before any mail", answer.Code)
		const authenticate, badly = 530, 535
		if answer.Code == badly || answer.Code == authenticate {
			f.Code, f.Err = "access_refused", fmt.Errorf("the server refuses user or password: status %d", answer.Code)
		}
		return f
	}
	text := err.Error()
	_, odd := errors.AsType[textproto.ProtocolError](err)
	switch {
	case odd: // which holds what the server said
		f.Code, f.Err = "no_smtp", errors.New("what answers there does not speak SMTP")
	case strings.Contains(text, "does not support STARTTLS"):
		f.Code, f.Err = "no_starttls", errors.New("the server offers no STARTTLS; the option starttls would have to allow that")
	case strings.Contains(text, "SMTP A"): // AUTH or Auth: the library has no types for these
		f.Code, f.Err = "access_refused", errors.New("the server offers no way to log in that is safe on this connection")
	default:
		return sdk.FromNetwork(err)
	}
	return f
}

// outcome is what became of a mail. The server's words are left out: they may repeat
// what was sent.
func outcome(ctx context.Context, err error) error {
	e, ok := errors.AsType[*mail.SendError](err)
	switch {
	case ok && e.ErrorCode() != 0:
	case ctx.Err() != nil:
		return &sdk.Failure{Code: "timeout", Err: errors.New("the server has not taken the mail in time")}
	default:
		return &sdk.Failure{Code: "connection_lost", Err: errors.New("the connection ended before the server has taken the mail")}
	}
	f := &sdk.Failure{
		Code: "smtp_" + strconv.Itoa(e.ErrorCode()),
		Err:  fmt.Errorf("status %d %s: %s", e.ErrorCode(), e.EnhancedStatusCode(), stage(e.Reason)),
	}
	const final = 500
	switch {
	case e.ErrorCode() < final:
	case e.Reason == mail.ErrSMTPMailFrom || e.Reason == mail.ErrSMTPRcptTo:
		// An address that is wrong is so for all: they wait until somebody has seen to it.
		f.Destination = true
	default:
		f.Final = true
	}
	return f
}

func stage(r mail.SendErrReason) string {
	switch r {
	case mail.ErrSMTPMailFrom:
		return "the sender was refused"
	case mail.ErrSMTPRcptTo:
		return "a recipient was refused"
	default:
		return "the mail was refused"
	}
}
