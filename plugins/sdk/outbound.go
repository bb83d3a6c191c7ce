package sdk

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Outbound is the part of a plugin's configuration that says what it may connect to.
// Give the configuration a field of this type with the key outbound: the host fills it
// from publishers.outbound. Its zero value reaches public addresses only.
type Outbound struct {
	// Allow lists networks that are let through although they are not public.
	Allow []string `json:"allow,omitempty" doc:"networks, such as 10.1.0.0/16, that may be reached although they are not public"`
	// Proxy is the URL of an HTTP proxy, which then resolves names and decides what may
	// be reached by them; addresses are still asked about here. Proxies of the
	// environment are not honoured.
	Proxy string `json:"proxy,omitempty" doc:"URL of an HTTP proxy, which then decides which names may be reached"`

	once   sync.Once
	client *http.Client
	err    error
}

// errUnsendable marks requests that could never be sent.
var errUnsendable = errors.New("not an http or https URL with a host")

// UnmarshalJSON takes the configuration and refuses what could not work.
func (o *Outbound) UnmarshalJSON(b []byte) error {
	var keys struct {
		Allow []string `json:"allow"`
		Proxy string   `json:"proxy"`
	}
	if err := json.Unmarshal(b, &keys); err != nil {
		return err
	}
	o.Allow, o.Proxy = keys.Allow, keys.Proxy
	_, err := o.open()
	return err
}

// Do sends a request: connections are guarded and kept for the next one, redirects
// are not followed, nothing is unpacked, and an answer that takes too long to begin
// is an error. Hand its results to FromHTTP.
func (o *Outbound) Do(req *http.Request) (*http.Response, error) {
	client, err := o.open()
	if err != nil {
		return nil, err
	}
	if (req.URL.Scheme != "http" && req.URL.Scheme != "https") || req.URL.Hostname() == "" {
		return nil, errUnsendable
	}
	return client.Do(req)
}

// Post makes one attempt at posting a body and returns its outcome: a request, Do and
// FromHTTP in one.
func (o *Outbound) Post(ctx context.Context, uri string, header http.Header, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, uri, bytes.NewReader(body))
	if err != nil {
		return FromHTTP(nil, errUnsendable)
	}
	if header != nil {
		req.Header = header.Clone()
	}
	return FromHTTP(o.Do(req)) //nolint:bodyclose // FromHTTP closes it
}

// open makes the client at first use.
func (o *Outbound) open() (*http.Client, error) {
	o.once.Do(func() { o.client, o.err = o.Client(nil) })
	return o.client, o.err
}

// Client returns an HTTP client as Do uses it, with connections of its own, for a
// destination that wants a client certificate or has authorities of its own. It must
// be kept for the next request, and its idle connections closed in the end.
func (o *Outbound) Client(conf *tls.Config) (*http.Client, error) {
	guard, err := NewGuard(o.Allow)
	if err != nil {
		return nil, fmt.Errorf("allow: %w", err)
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second, Control: guard.control}
	t := &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        conf,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		TLSHandshakeTimeout:    5 * time.Second,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        30 * time.Second,
		MaxIdleConns:           512,
		MaxIdleConnsPerHost:    defaultConcurrency,
		MaxResponseHeaderBytes: 64 << 10,
		WriteBufferSize:        4 << 10,
		ReadBufferSize:         2 << 10,
	}
	if o.Proxy != "" {
		proxy, err := url.Parse(o.Proxy)
		if err != nil || proxy.Host == "" {
			return nil, errors.New("proxy: not a URL such as http://proxy:3128")
		}
		t.Proxy = func(req *http.Request) (*url.URL, error) { return proxy, guard.checkHost(req.URL.Hostname()) }
		dialer.Control = nil // it connects to the proxy only
	}
	return &http.Client{
		Transport:     t,
		Timeout:       time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}
