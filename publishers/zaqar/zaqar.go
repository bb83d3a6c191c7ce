// Package zaqar is the built-in publisher of OpenStack Zaqar queues: each change is
// posted as one message whose body is a CloudEvent, up to 20 in one request. A
// destination is the URL of a queue, zaqar+https://host:8888/v2/queues/NAME.
//
// It makes no queues, reads none and retries nothing. Zaqar knows no idempotency: a
// post that was stored but not answered is stored again at the next attempt, so
// readers tell repeats by the id in the body. Its invariant: a message goes into the
// queue of a project only if the event was made for this project's eyes alone, or,
// in a subscription to several projects, is about a resource of this project.
package zaqar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// Name is the publisher's name in configuration.
const Name = "zaqar"

// Config is the configuration of the process.
type Config struct {
	Outbound sdk.Outbound `json:"outbound,omitzero" doc:"what may be connected to"`
	// MaxPostBytes is Zaqar's [transport] max_messages_post_size: no request is larger.
	MaxPostBytes int `json:"max_post_bytes,omitempty" doc:"max_messages_post_size of the Zaqar servers; 262144 if not given"`

	clients sdk.Clients
}

// Validate refuses a limit into which not even an event without content fits.
func (c *Config) Validate() error {
	const least = 4096
	if c.MaxPostBytes != 0 && c.MaxPostBytes < least {
		return fmt.Errorf("max_post_bytes: must be at least %d", least)
	}
	return nil
}

// maxPost is the limit of a request, Zaqar's default if none is configured.
func (c *Config) maxPost() int {
	const normal = 262144
	if c.MaxPostBytes == 0 {
		return normal
	}
	return c.MaxPostBytes
}

// Main serves the publisher; see sdk.Main.
func Main(version string) { sdk.Main(Publisher(version)) }

// Publisher describes the plugin. A Zaqar server handles one request at a time, so few
// are made at once.
func Publisher(version string) sdk.Publisher[Config, Options] {
	p := &publisher{tokens: newTokens()}
	return sdk.Publisher[Config, Options]{
		Name: Name, Version: version, Schemes: []string{schemePrefix + "http", schemePrefix + "https"},
		Concurrency: 4, PublishBatch: p.publish,
	}
}

type publisher struct{ tokens *tokens }

// publish posts the events, at most maxMessages in a request. It ends with the first
// request that came to nothing: what is left would fare no better.
func (p *publisher) publish(ctx context.Context, c *Config, d *sdk.Destination[Options], evs []*sdk.Event) []error {
	errs := make([]error, len(evs))
	send := func(req *http.Request) (*http.Response, error) {
		return c.clients.Do(&c.Outbound, d.Key(), d.Secrets, req)
	}
	q, err := p.open(ctx, d, send)
	if err != nil {
		return fill(errs, err)
	}
	now := time.Now()
	var ms []message
	for i, ev := range evs {
		m, err := newMessage(ev, q.project, c.maxPost(), now)
		if err != nil {
			errs[i] = err
			continue
		}
		m.at = i
		ms = append(ms, m)
	}
	posts := cut(ms, c.maxPost())
	for n, post := range posts {
		err := q.post(ctx, post, errs)
		if err == nil {
			continue
		}
		for _, rest := range posts[n+1:] {
			for _, m := range rest {
				errs[m.at] = err
			}
		}
		break
	}
	return errs
}

func fill(errs []error, err error) []error {
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// post sends messages in one request and notes what came of each. A request that is
// refused for what is in it is made again in halves, and a message that is refused on
// its own, again without content: the queue may have a lower limit than we know of.
// The error is for what speaks for all messages, and not only for these.
func (q *queue) post(ctx context.Context, ms []message, errs []error) error {
	err := q.send(ctx, body(ms))
	refused := is(err, "http_400") || is(err, "http_413")
	switch {
	case refused && len(ms) > 1:
		half := len(ms) / 2
		if err := q.post(ctx, ms[:half], errs); err != nil {
			for _, m := range ms[half:] {
				errs[m.at] = err
			}
			return err
		}
		return q.post(ctx, ms[half:], errs)
	case refused && !ms[0].thin:
		if short, ok := ms[0].shorten(); ok {
			return q.post(ctx, []message{short}, errs)
		}
	}
	for _, m := range ms {
		errs[m.at] = err
	}
	if refused {
		return nil
	}
	return err
}

// send makes one request, and a second one with a new token if the first was refused
// for an old one.
func (q *queue) send(ctx context.Context, body []byte) error {
	err := q.try(ctx, body)
	if is(err, "http_401") && q.renew != nil {
		if err := q.renew(ctx); err != nil {
			return err
		}
		err = q.try(ctx, body)
	}
	if is(err, "http_404") && q.signed {
		return &sdk.Failure{Code: "signature_refused", Destination: true, Err: errors.New("the signature, or the queue, is not known to Zaqar")}
	}
	return err
}

func is(err error, code string) bool {
	f, ok := errors.AsType[*sdk.Failure](err)
	return ok && f.Code == code
}

func (q *queue) try(ctx context.Context, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, q.url, bytes.NewReader(body))
	if err != nil {
		return errBadURL()
	}
	req.Header = q.header.Clone()
	return sdk.FromHTTP(q.do(req)) //nolint:bodyclose // FromHTTP closes it
}
