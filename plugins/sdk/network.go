package sdk

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"time"
)

// The names of the secrets that TLS looks for, each in PEM. Those that are no secrets
// are among them because all come by the same way: from files of the operator.
const (
	SecretCA         = "ca"          // authorities that the server's certificate must come from
	SecretClientCert = "client_cert" // certificate to show, with its chain
	SecretClientKey  = "client_key"  // its key
)

// errBadTLS hides what is in a secret that makes no sense.
func errBadTLS(text string) error {
	return &Failure{Code: "bad_secret", Final: true, Destination: true, Err: errors.New(text)}
}

// TLS returns how to speak TLS with a destination, by its secrets ca, client_cert and
// client_key. Without any of them it is nil: the authorities of the system and no
// certificate to show.
func TLS(secrets map[string]Secret) (*tls.Config, error) {
	ca, cert, key := secrets[SecretCA], secrets[SecretClientCert], secrets[SecretClientKey]
	if ca.Empty() && cert.Empty() && key.Empty() {
		return nil, nil //nolint:nilnil // nil is a configuration of package tls: the default one
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if !ca.Empty() {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(ca.Reveal()) {
			return nil, errBadTLS("the secret ca has no certificate in PEM")
		}
	}
	if cert.Empty() != key.Empty() {
		return nil, errBadTLS("of the secrets client_cert and client_key there is only one")
	}
	if !cert.Empty() {
		pair, err := tls.X509KeyPair(cert.Reveal(), key.Reveal())
		if err != nil {
			return nil, errBadTLS("the secrets client_cert and client_key are no pair in PEM")
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}

// DialContext opens a connection that the address guard lets through, for protocols
// other than HTTP. It is asked for every address; Proxy has no part in it.
func (o *Outbound) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	guard, err := NewGuard(o.Allow)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second, Control: guard.control}
	return d.DialContext(ctx, network, address)
}

// FromNetwork makes an outcome of why a connection could not be opened: a retry that
// speaks for the destination.
func FromNetwork(err error) error {
	f := classify(fromTransport(err))
	f.Destination = true
	return f
}
