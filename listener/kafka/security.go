package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"github.com/fresnel-search/fresnel/configs/secret"
)

// TLS says how connections to brokers are encrypted.
type TLS struct {
	Enabled bool `yaml:"enabled"`
	// CAFile holds the authorities, in PEM, that brokers' certificates must come
	// from; empty means those of the system.
	CAFile string `yaml:"ca_file"`
	// CertFile and KeyFile are our certificate and its key, in PEM, for brokers that
	// know clients by it.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// ServerName is the name that the certificates must have; empty means that of
	// the address connected to.
	ServerName string `yaml:"server_name"`
}

// SASL says how to log in.
type SASL struct {
	// Mechanism is plain, scram-sha-256 or scram-sha-512; empty means no log-in.
	Mechanism    string        `yaml:"mechanism"`
	Username     string        `yaml:"username"`
	Password     secret.String `yaml:"password"`
	PasswordFile string        `yaml:"password_file"` // read by package configs
}

const (
	mechanismPlain    = "plain"
	mechanismScram256 = "scram-sha-256"
	mechanismScram512 = "scram-sha-512"
)

func (t TLS) validate() error {
	if !t.Enabled {
		if t.CAFile != "" || t.CertFile != "" || t.KeyFile != "" || t.ServerName != "" {
			return errors.New("tls.enabled: is false although other keys of tls are set")
		}
		return nil
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return errors.New("tls.cert_file, tls.key_file: give both or none")
	}
	return nil
}

func (s SASL) validate(encrypted bool) error {
	switch s.Mechanism {
	case "":
		if s.Username != "" || !s.Password.Empty() {
			return errors.New("sasl.mechanism: required with sasl.username and sasl.password")
		}
		return nil
	case mechanismPlain:
		if !encrypted {
			return errors.New("sasl.mechanism: plain shows the password to the network: needs tls.enabled")
		}
	case mechanismScram256, mechanismScram512:
	default:
		return fmt.Errorf("sasl.mechanism: %q is none of %s", s.Mechanism,
			strings.Join([]string{mechanismPlain, mechanismScram256, mechanismScram512}, ", "))
	}
	if s.Username == "" || s.Password.Empty() {
		return errors.New("sasl.username, sasl.password: both are required")
	}
	return nil
}

// load reads the files. It returns nil if connections are not encrypted.
func (t TLS) load() (*tls.Config, error) {
	if !t.Enabled {
		return nil, nil //nolint:nilnil // kafka-go's word for no encryption
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls.ca_file: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca_file: %s holds no certificate in PEM", t.CAFile)
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls.cert_file, tls.key_file: %w", err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}

// mechanism returns nil if there is no log-in.
func (s SASL) mechanism() (sasl.Mechanism, error) {
	algorithm := scram.SHA512
	switch s.Mechanism {
	case "":
		return nil, nil //nolint:nilnil // kafka-go's word for no log-in
	case mechanismPlain:
		return plain.Mechanism{Username: s.Username, Password: s.Password.Reveal()}, nil
	case mechanismScram256:
		algorithm = scram.SHA256
	}
	m, err := scram.Mechanism(algorithm, s.Username, s.Password.Reveal())
	if err != nil { // its text might quote the password
		return nil, errors.New("sasl.username, sasl.password: contain characters that SCRAM does not allow")
	}
	return m, nil
}
