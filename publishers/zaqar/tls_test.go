package zaqar_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"strings"
	"testing"

	"github.com/fresnel-search/fresnel/plugins/publishertest"
	"github.com/fresnel-search/fresnel/publishers/zaqar"
)

func TestCertificatesAreForZaqarAndKeystone(t *testing.T) {
	t.Parallel()
	c := unstarted(t)
	c.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	c.StartTLS()
	pair := c.TLS.Certificates[0] // good enough for the client, too
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	all := map[string][]byte{
		"ca": cert, "client_cert": cert, "client_key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	}
	without := func(names ...string) map[string][]byte {
		some := maps.Clone(all)
		for _, name := range names {
			delete(some, name)
		}
		return some
	}
	plain := strings.Replace(c.URL, "https", "http", 1)
	p := publishertest.Open(t, zaqar.Publisher, publishertest.Local)
	for i, test := range []struct {
		zaqar, keystone string
		secrets         map[string][]byte
		want            string
	}{
		{c.URL, "", all, "delivered"},
		{c.URL, c.URL, all, "delivered"},
		{c.URL, "", without("ca"), "retry tls SCOPE_DELIVERY"},
		{c.URL, c.URL, without("ca", "client_cert", "client_key"), "retry keystone_tls SCOPE_DESTINATION"},
		{c.URL, "", without("client_key"), "rejected bad_secret SCOPE_DESTINATION"},
		{plain, "", all, "rejected bad_destination SCOPE_DESTINATION"},
		{c.URL, plain, all, "rejected keystone_bad_destination SCOPE_DESTINATION"},
	} {
		options := none()
		if test.keystone != "" {
			options = c.keystoneOptions()
			options["auth_url"] = test.keystone + "/v3"
		}
		to := c.queue(options, "pass")
		to.Uri = strings.Replace(to.GetUri(), c.URL, test.zaqar, 1)
		to.Secrets = maps.Clone(test.secrets)
		to.Secrets["secret"] = []byte("pass")
		to.Fingerprint += string(rune('a' + i))
		c.set(func() { c.auth = "" })
		if got := publish(t, p, to, changed("e", "web"))["e"]; got != test.want {
			t.Errorf("%d: %s, want %s", i, got, test.want)
		}
	}
	// What may be connected to is asked of the newest configuration.
	to := c.queue(none(), "pass")
	to.Secrets = all
	publish(t, p, to, changed("e", "web"))
	if _, err := p.Configure(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := publish(t, p, to, changed("e", "web"))["e"]; got != "retry address_refused SCOPE_DESTINATION" {
		t.Errorf("once its network is not allowed any more: %s", got)
	}
}
