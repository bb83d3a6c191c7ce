package plugintest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// handshake is the line by which a plugin announces where it listens:
// core|protocol|network|address|grpc|certificate.
type handshake struct {
	protocol         int
	network, address string
	certificate      *x509.Certificate
	err              error // what is wrong with the line
}

// parseHandshake reads a line; ok says that it is meant to be the handshake.
func parseHandshake(line string) (h handshake, ok bool) {
	const least, core, kind, cert = 4, "1", 4, 5
	parts := strings.Split(strings.TrimSpace(line), "|")
	if len(parts) < least {
		return h, false
	}
	if _, err := strconv.Atoi(parts[0]); err != nil {
		return h, false
	}
	h.network, h.address = parts[2], parts[3]
	var err error
	switch h.protocol, err = strconv.Atoi(parts[1]); {
	case parts[0] != core:
		h.err = fmt.Errorf("handshake %q: its first part must be 1, the core protocol of go-plugin", clip(line))
	case err != nil:
		h.err = fmt.Errorf("handshake %q: its second part must be the version of the contract", clip(line))
	case len(parts) <= kind || parts[kind] != "grpc":
		h.err = fmt.Errorf("handshake %q: its fifth part must be grpc", clip(line))
	case h.network != "unix" && h.network != "tcp":
		h.err = fmt.Errorf("handshake %q: its third part must be unix", clip(line))
	case len(parts) > cert && parts[cert] != "":
		der, err := base64.RawStdEncoding.DecodeString(parts[cert])
		if err == nil {
			h.certificate, err = x509.ParseCertificate(der)
		}
		if err != nil {
			h.err = fmt.Errorf("handshake: its sixth part must be the certificate, DER in base64 without padding: %w", err)
		}
	}
	return h, true
}

// keys are the host's side of AutoMTLS.
type keys struct {
	pem  []byte
	pair tls.Certificate
}

// newKeys makes a certificate as go-plugin does: self-signed, for localhost, on P-521.
func newKeys() (*keys, error) {
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		return nil, err
	}
	const serialBits, validity = 128, 24 * time.Hour
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "localhost", Organization: []string{"HashiCorp"}}, DNSNames: []string{"localhost"},
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement | x509.KeyUsageCertSign,
		BasicConstraintsValid: true, IsCA: true, SerialNumber: serial,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(validity),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &keys{
		pem:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pair: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
	}, nil
}

// dial connects as the host does; it reaches the plugin with the first call only.
func dial(h handshake, k *keys) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if k != nil {
		if h.certificate == nil {
			return nil, errors.New("the host gave PLUGIN_CLIENT_CERT, but the handshake has no certificate: " +
				"serve TLS with a certificate of your own in the sixth part, or have the host use tls: off")
		}
		roots := x509.NewCertPool()
		roots.AddCert(h.certificate)
		creds = credentials.NewTLS(&tls.Config{
			MinVersion: tls.VersionTLS12, ServerName: "localhost", RootCAs: roots, Certificates: []tls.Certificate{k.pair},
		})
	}
	const message = 4 << 20
	return grpc.NewClient(address(h), grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(message)), grpc.WithNoProxy())
}

func address(h handshake) string {
	if h.network == "unix" {
		return "unix:" + h.address
	}
	return "passthrough:///" + h.address
}
