// Package webhook is the built-in publisher of webhooks: it POSTs each change as a
// CloudEvent (structured JSON), signed per Standard Webhooks.
//
// It queues, orders and retries nothing; it is a plugin like any other, built on
// plugins/sdk alone. Its invariant: the body of a delivery is the same at every
// attempt, and so is its webhook-id; only timestamp and signature are fresh.
package webhook

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
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
}

// Main serves the publisher; see sdk.Main.
func Main(version string) { sdk.Main(Publisher(version)) }

// Publisher describes the plugin.
func Publisher(version string) sdk.Publisher[Config, struct{}] {
	return sdk.Publisher[Config, struct{}]{
		Name: Name, Version: version, Schemes: []string{"http", "https"},
		Publish: publish,
	}
}

func publish(ctx context.Context, c *Config, d *sdk.Destination[struct{}], ev *sdk.Event) error {
	body := sdk.CloudEvent(ev)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URI, bytes.NewReader(body))
	if err != nil {
		return errBadURL
	}
	now := strconv.FormatInt(time.Now().Unix(), 10)
	signature, err := sign(d.Secrets, message{id: ev.DeliveryID, timestamp: now, body: body})
	if err != nil {
		return err
	}
	if signature == "" && c.RequireSecret {
		return errNoSecret
	}
	userAgent := c.UserAgent
	if userAgent == "" {
		userAgent = "Fresnel"
	}
	req.Header = http.Header{
		"Content-Type":      {"application/cloudevents+json; charset=utf-8"},
		"User-Agent":        {userAgent},
		"Webhook-Id":        {ev.DeliveryID},
		"Webhook-Timestamp": {now},
	}
	if signature != "" {
		req.Header["Webhook-Signature"] = []string{signature}
	}
	return sdk.FromHTTP(c.Outbound.Do(req)) //nolint:bodyclose // FromHTTP closes it
}
