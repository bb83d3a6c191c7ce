package sdk_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// TestCertificatesThatProveNothingAreRetried: an operator can put them right.
func TestCertificatesThatProveNothingAreRetried(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	for name, change := range map[string]func(*x509.Certificate){
		"expired":           func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) },
		"not valid yet":     func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) },
		"for somebody else": func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"other.example"} },
	} {
		t.Run(name, func(t *testing.T) {
			var came atomic.Bool
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { came.Store(true) }))
			srv.Config.ErrorLog = quiet()
			srv.TLS = &tls.Config{Certificates: []tls.Certificate{a.issueFor("server", change)}}
			srv.StartTLS()
			defer srv.Close()
			c, err := (&sdk.Outbound{Allow: []string{"127.0.0.0/8"}}).Client(&tls.Config{RootCAs: a.pool()})
			if err != nil {
				t.Fatal(err)
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			var f *sdk.Failure
			if err := sdk.FromHTTP(c.Do(req)); !errors.As(err, &f) || f.Code != "tls" || f.Final { //nolint:bodyclose // FromHTTP closes it
				t.Errorf("outcome %v, want a retry with code tls", err)
			}
			if came.Load() {
				t.Error("the request was sent")
			}
		})
	}
}

// TestConnectionThatAServerGivesUpCostsNoDelivery: each answer over HTTP/2 comes with
// GOAWAY.
func TestConnectionThatAServerGivesUpCostsNoDelivery(t *testing.T) {
	t.Parallel()
	const deliveries = 20
	var connections, got atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("a request over %s", r.Proto)
		}
		got.Add(1)
		w.Header().Set("Connection", "close")
	}))
	srv.EnableHTTP2 = true
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	srv.StartTLS()
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	c, err := (&sdk.Outbound{Allow: []string{"127.0.0.0/8"}}).Client(&tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	for i := range deliveries {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if err := sdk.FromHTTP(c.Do(req)); err != nil { //nolint:bodyclose // FromHTTP closes it
			t.Errorf("delivery %d: %v", i, err)
		}
	}
	if got.Load() != deliveries || connections.Load() < 2 {
		t.Errorf("%d requests over %d connections, want %d over several", got.Load(), connections.Load(), deliveries)
	}
}
