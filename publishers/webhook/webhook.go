// Package webhook is the built-in publisher of webhooks: it POSTs each change as a
// CloudEvent, in structured or binary mode or several in a batch, signed per Standard
// Webhooks with HMAC or ed25519.
//
// It queues, orders and retries nothing; it is a plugin like any other, built on
// plugins/sdk alone. Its invariant: the body of a delivery is the same at every
// attempt, and so is its webhook-id; only timestamp and signature are fresh. Of a
// batch it is the same for the same events.
package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// Name is the publisher's name in configuration.
const Name = "webhook"

// Config is the configuration of the process.
type Config struct {
	Outbound sdk.Outbound `json:"outbound,omitzero" doc:"what may be connected to"`
	// RequireSecret refuses destinations without a secret. By default they get their
	// deliveries unsigned: webhook-id and webhook-timestamp, but no webhook-signature.
	RequireSecret bool   `json:"require_secret,omitempty" doc:"refuse destinations that have no secret instead of sending unsigned"`
	UserAgent     string `json:"user_agent,omitempty" doc:"User-Agent header"`

	clients sdk.Clients
}

// Validate refuses a header that cannot be sent.
func (c *Config) Validate() error {
	if !isValue(c.UserAgent) {
		return errors.New("user_agent: cannot be sent as a header")
	}
	return nil
}

// Main serves the publisher; see sdk.Main.
func Main(version string) { sdk.Main(Publisher(version)) }

// Publisher describes the plugin.
func Publisher(version string) sdk.Publisher[Config, Options] {
	return sdk.Publisher[Config, Options]{
		Name: Name, Version: version, Schemes: []string{"http", "https"},
		Publish: publish, PublishBatch: publishBatch,
		Together: func(d *sdk.Destination[Options]) bool { return d.Options.Mode == batch },
	}
}

// publish sends one event.
func publish(ctx context.Context, c *Config, d *sdk.Destination[Options], ev *sdk.Event) error {
	if d.Options.Mode == binary {
		return post(ctx, c, d, request{id: ev.DeliveryID, header: sdk.CloudEventHeader(ev), body: ev.Data})
	}
	return post(ctx, c, d, request{
		id: ev.DeliveryID, body: sdk.CloudEvent(ev),
		header: http.Header{"Content-Type": {"application/cloudevents+json; charset=utf-8"}},
	})
}

// publishBatch sends several events in one request. What was refused together is sent
// alone at the next attempt, so that one event that the receiver cannot take spoils no
// other.
func publishBatch(ctx context.Context, c *Config, d *sdk.Destination[Options], evs []*sdk.Event) []error {
	errs := make([]error, len(evs))
	var together []int
	for i, ev := range evs {
		if ev.Attempt > 1 {
			errs[i] = post(ctx, c, d, batched(ev))
			continue
		}
		together = append(together, i)
	}
	if len(together) == 0 {
		return errs
	}
	first := make([]*sdk.Event, len(together))
	for n, i := range together {
		first[n] = evs[i]
	}
	err := post(ctx, c, d, batched(first...))
	if f, ok := errors.AsType[*sdk.Failure](err); ok && f.Final && !f.Destination && len(first) > 1 {
		err = &sdk.Failure{Code: f.Code, Err: errors.New("refused in a batch: " + f.Error())}
	}
	for _, i := range together {
		errs[i] = err
	}
	return errs
}

// batched is a request with a list of events.
func batched(evs ...*sdk.Event) request {
	r := request{id: evs[0].DeliveryID, header: http.Header{"Content-Type": {"application/cloudevents-batch+json; charset=utf-8"}}}
	h := sha256.New()
	for i, ev := range evs {
		r.body = append(append(r.body, "[,"[min(i, 1)]), sdk.CloudEvent(ev)...)
		h.Write([]byte(ev.DeliveryID + "\n"))
	}
	r.body = append(r.body, ']')
	if len(evs) > 1 {
		const enough = 16
		r.id = "batch-" + hex.EncodeToString(h.Sum(nil)[:enough])
	}
	return r
}

// request is what one POST carries.
type request struct {
	id     string // the same at every attempt
	header http.Header
	body   []byte
}

// post signs and sends.
func post(ctx context.Context, c *Config, d *sdk.Destination[Options], r request) error {
	now := time.Now()
	timestamp := strconv.FormatInt(now.Unix(), 10)
	secrets := signers(d, now)
	if len(secrets) == 0 && c.RequireSecret {
		return errNoSecret
	}
	signature, err := sign(secrets, message{id: r.id, timestamp: timestamp, body: r.body})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URI, bytes.NewReader(r.body))
	if err != nil {
		return errBadURL
	}
	req.Header = r.header
	req.Header.Set("User-Agent", "Fresnel")
	if c.UserAgent != "" {
		req.Header.Set("User-Agent", c.UserAgent)
	}
	for name, value := range d.Options.Headers {
		req.Header.Set(name, value)
	}
	if s := d.Secrets["authorization"]; !s.Empty() {
		value := strings.TrimSpace(string(s.Reveal()))
		if !isValue(value) {
			return errBadAuthorization
		}
		req.Header.Set("Authorization", value)
	}
	req.Header.Set("Webhook-Id", r.id)
	req.Header.Set("Webhook-Timestamp", timestamp)
	if signature != "" {
		req.Header.Set("Webhook-Signature", signature)
	}
	return sdk.FromHTTP(c.clients.Do(&c.Outbound, d.Key(), d.Secrets, req)) //nolint:bodyclose // FromHTTP closes it
}
