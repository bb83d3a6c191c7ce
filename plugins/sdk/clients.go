package sdk

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
)

// Clients sends requests for destinations of which some have authorities and client
// certificates of their own, by their secrets ca, client_cert and client_key: see TLS.
// Its zero value is ready.
type Clients struct{ own Pool[*ownClient] }

// ownClient has a destination's own certificates.
type ownClient struct{ *http.Client }

var _ io.Closer = (*ownClient)(nil)

// Close ends its connections when they are idle.
func (c *ownClient) Close() error {
	c.CloseIdleConnections()
	return nil
}

// errNotHTTPS keeps what certificates are for from being sent in the clear.
var errNotHTTPS = &Failure{
	Code: "bad_destination", Final: true, Destination: true, Err: errors.New("the secrets ca, client_cert and client_key are for https"),
}

// Do sends a request as o.Do does, with what the secrets have; the key tells one
// destination from others. Where there are such secrets it sends by https alone. Hand
// its results to FromHTTP.
func (c *Clients) Do(o *Outbound, key string, secrets map[string]Secret, req *http.Request) (*http.Response, error) {
	own := slices.ContainsFunc([]string{SecretCA, SecretClientCert, SecretClientKey}, func(name string) bool {
		s := secrets[name]
		return !s.Empty()
	})
	if !own {
		return o.Do(req)
	}
	if req.URL.Scheme != "https" || req.URL.Hostname() == "" {
		return nil, errNotHTTPS
	}
	client, err := c.own.Acquire(req.Context(), key, func(context.Context) (*ownClient, error) {
		conf, err := TLS(secrets)
		if err != nil {
			return nil, err
		}
		made, err := o.Client(conf)
		return &ownClient{made}, err
	})
	if err != nil {
		return nil, err
	}
	defer c.own.Release(key, client, false)
	return client.Do(req)
}
