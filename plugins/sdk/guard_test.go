package sdk_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

func TestGuardRefusesWhatIsNotPublic(t *testing.T) {
	g, err := sdk.NewGuard(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.8.8.8", "169.254.169.254", "172.16.0.1",
		"172.31.255.255", "192.168.1.1", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
		"224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.88.99.1", "168.63.129.16",
		"::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
		"64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "::ffff:0:127.0.0.1", "::ffff:0:7f00:1", "2002:7f00:1::", "2002:808:808::1", "2001::1",
		"fc00::1", "fd12::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2001:db8::1", "100::1", "5f00::1",
	} {
		var refused *sdk.RefusedError
		err := g.Check(netip.MustParseAddr(addr))
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), "publishers.outbound.allow") {
			t.Errorf("Check(%s) = %v, want a refusal that names the key", addr, err)
		}
	}
	for _, addr := range []string{
		"8.8.8.8", "172.32.0.1", "100.128.0.1", "192.169.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "2a00::1",
	} {
		if err := g.Check(netip.MustParseAddr(addr)); err != nil {
			t.Errorf("Check(%s) = %v, want it let through", addr, err)
		}
	}
}

func TestGuardAllowsWhatIsConfigured(t *testing.T) {
	g, err := sdk.NewGuard([]string{"10.1.0.0/16", "::1/128", "64:ff9b::/96", "::ffff:192.168.7.0/120", "fe80::/10"})
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "10.2.0.1": false, "::1": true, "127.0.0.1": false,
		"64:ff9b::a01:203": true, "192.168.7.9": true, "192.168.8.9": false, "fe80::1%lo": true,
	} {
		if got := g.Check(netip.MustParseAddr(addr)) == nil; got != want {
			t.Errorf("Check(%s) lets through: %v, want %v", addr, got, want)
		}
	}
	for _, bad := range []string{"10.0.0.1", "x", "::ffff:0:0/90"} {
		if _, err := sdk.NewGuard([]string{bad}); err == nil {
			t.Errorf("NewGuard(%q) = nil", bad)
		}
	}
}

// TestGuardedClientNeverConnects aims every spelling of a local address at a server
// that would notice.
func TestGuardedClientNeverConnects(t *testing.T) {
	touched := false
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { touched = true }))
	defer srv.Close()
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{
		"127.0.0.1", "localhost", "localhost.", "LOCALHOST", "0.0.0.0", "[::]", "[::1]", "[::ffff:127.0.0.1]",
		"[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "2130706433", "0177.0.0.1", "0x7f.1", "127.1", "0",
	} {
		err := get(t, &sdk.Outbound{}, "http://"+host+":"+port+"/")
		var f *sdk.Failure
		if !errors.As(err, &f) || f.Final && f.Code != "bad_destination" {
			t.Errorf("%s: %v, want it refused or not found", host, err)
			continue
		}
		if f.Code == "address_refused" && !strings.Contains(err.Error(), "publishers.outbound.allow") {
			t.Errorf("%s: %v, want the key named", host, err)
		}
		if f.Code != "address_refused" && f.Code != "dns" && f.Code != "transport" {
			t.Errorf("%s: code %s (%v)", host, f.Code, err)
		}
	}
	if touched {
		t.Error("a connection was made")
	}
	allowed := &sdk.Outbound{Allow: []string{"127.0.0.0/8"}}
	if err := get(t, allowed, srv.URL); err != nil || !touched {
		t.Errorf("an allowed address: %v", err)
	}
}

func TestEnvironmentProxiesAreNotHonoured(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	if err := get(t, &sdk.Outbound{Allow: []string{"127.0.0.0/8"}}, srv.URL); err != nil {
		t.Error(err)
	}
}

func TestConfiguredProxyIsUsed(t *testing.T) {
	var asked string
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = r.RequestURI }))
	defer proxy.Close()
	if err := get(t, &sdk.Outbound{Proxy: proxy.URL}, "http://internal.example/x"); err != nil {
		t.Error(err)
	}
	if asked != "http://internal.example/x" {
		t.Errorf("the proxy was asked for %q", asked)
	}
}

func get(t *testing.T, o *sdk.Outbound, url string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	return sdk.FromHTTP(o.Do(req)) //nolint:bodyclose // FromHTTP closes it
}
