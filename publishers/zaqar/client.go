package zaqar

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// sender makes a request; its results are for sdk.FromHTTP.
type sender func(*http.Request) (*http.Response, error)

// client is one with certificates of its own.
type client struct{ *http.Client }

var _ io.Closer = (*client)(nil)

// Close ends its connections when they are idle.
func (c *client) Close() error {
	c.CloseIdleConnections()
	return nil
}

// sender returns what sends to a destination, until done is called.
func (c *Config) sender(ctx context.Context, d *sdk.Destination[Options]) (send sender, done func(), err error) {
	own := slices.ContainsFunc([]string{sdk.SecretCA, sdk.SecretClientCert, sdk.SecretClientKey},
		func(name string) bool { s := d.Secrets[name]; return !s.Empty() })
	if !own {
		return c.Outbound.Do, func() {}, nil
	}
	secured := func(uri, scheme string) bool { return strings.EqualFold(uri[:min(len(uri), len(scheme))], scheme) }
	if !secured(d.URI, schemePrefix+"https:") || d.Options.AuthURL != "" && !secured(d.Options.AuthURL, "https:") {
		return nil, nil, &sdk.Failure{
			Code: "bad_destination", Final: true, Destination: true,
			Err: errors.New("the secrets ca, client_cert and client_key are for https, of Zaqar and of auth_url"),
		}
	}
	made, err := c.clients.Acquire(ctx, d.Key(), func(context.Context) (*client, error) {
		conf, err := sdk.TLS(d.Secrets)
		if err != nil {
			return nil, err
		}
		made, err := c.Outbound.Client(conf)
		return &client{made}, err
	})
	if err != nil {
		return nil, nil, err
	}
	return made.Do, func() { c.clients.Release(d.Key(), made, false) }, nil
}
