// Package websub is the built-in publisher that tells hubs of WebSub and of
// PubSubHubbub 0.3 and 0.4 that a feed has changed. A destination is the URL of a hub,
// websub+https://hub.example.net/; its topic is the URL of the feed, which the hub
// then reads.
//
// It sends nothing of an event: that one came is all that a hub is told, and many
// events make one ping. Its invariant: a topic is in the body of the ping and nowhere
// else, for whoever knows it may read the feed.
package websub

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// Name is the publisher's name in configuration.
const Name = "websub"

// schemePrefix stands before http or https in the URI of a hub.
const schemePrefix = "websub+"

// Config is the configuration of the process.
type Config struct {
	Outbound sdk.Outbound `json:"outbound,omitzero" doc:"what may be connected to"`
}

// Options are the options of a destination.
type Options struct {
	// Topic is for feeds that anybody may read; else it is the secret named "topic".
	Topic string `json:"topic,omitempty" doc:"URL of the feed, if it is no secret"`
}

// Validate refuses a topic that is no URL.
func (o *Options) Validate() error {
	if o.Topic != "" && !isFeed(o.Topic) {
		return errors.New("topic: is not the URL of a feed")
	}
	return nil
}

func isFeed(topic string) bool {
	u, err := url.Parse(topic)
	return err == nil && u.Hostname() != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// Main serves the publisher; see sdk.Main.
func Main(version string) { sdk.Main(Publisher(version)) }

// Publisher describes the plugin.
func Publisher(version string) sdk.Publisher[Config, Options] {
	return sdk.Publisher[Config, Options]{
		Name: Name, Version: version, Schemes: []string{schemePrefix + "http", schemePrefix + "https"},
		PublishBatch: publish,
	}
}

// publish pings the hub once for all events. Any 2xx will do: hubs say 200, 202, 204
// and 207. Some know the topic as hub.topic, others as hub.url.
func publish(ctx context.Context, c *Config, d *sdk.Destination[Options], evs []*sdk.Event) []error {
	err := ping(ctx, c, d)
	errs := make([]error, len(evs))
	for i := range errs {
		errs[i] = err
	}
	return errs
}

func ping(ctx context.Context, c *Config, d *sdk.Destination[Options]) error {
	topic := d.Options.Topic
	if secret := d.Secrets["topic"]; !secret.Empty() {
		topic = string(secret.Reveal())
	}
	if !isFeed(topic) {
		return bad("bad_topic", "the topic is not the URL of a feed")
	}
	for _, name := range []string{sdk.SecretCA, sdk.SecretClientCert, sdk.SecretClientKey} {
		if s := d.Secrets[name]; !s.Empty() {
			return bad("bad_secret", "hubs are reached as the system trusts them: the secret "+name+" is not for them")
		}
	}
	form := url.Values{"hub.mode": {"publish"}, "hub.topic": {topic}, "hub.url": {topic}}
	hub, isHub := strings.CutPrefix(d.URI, schemePrefix)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, hub, strings.NewReader(form.Encode()))
	if err != nil || !isHub {
		return bad("bad_destination", "the destination is not of the form websub+https://hub.example.net/")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("User-Agent", "Fresnel")
	return sdk.FromHTTP(c.Outbound.Do(req)) //nolint:bodyclose // FromHTTP closes it
}

func bad(code, why string) error {
	return &sdk.Failure{Code: code, Final: true, Destination: true, Err: errors.New(why)}
}
