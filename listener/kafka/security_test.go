package kafka_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/configs/secret"
	"github.com/fresnel-search/fresnel/listener/kafka"
)

// certificate makes a self-signed one for localhost and writes it to a file.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, path
}

// front puts TLS before a broker, or before nothing if addr is empty.
func front(t *testing.T, cert tls.Certificate, addr string) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { pipe(c, addr) })
		}
	})
	return l.Addr().String()
}

func pipe(c net.Conn, addr string) {
	defer func() { _ = c.Close() }()
	b, err := (&net.Dialer{}).Dial("tcp", addr)
	if err != nil {
		return
	}
	defer func() { _ = b.Close() }()
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(b, c)
		_ = b.Close()
		close(done)
	}()
	_, _ = io.Copy(c, b)
	_ = c.Close()
	<-done
}

func TestReachSaysWhatIsWrongWithTheConfiguration(t *testing.T) {
	t.Parallel()
	broker := startBroker(t, t.TempDir()).Addr()
	cert, ca := certificate(t)
	_, otherCA := certificate(t)
	fronted := front(t, cert, broker)
	encrypt := func(ca, name string) func(*kafka.Config) {
		return func(c *kafka.Config) { c.TLS = kafka.TLS{Enabled: true, CAFile: ca, ServerName: name} }
	}
	for name, tc := range map[string]struct {
		addr   string
		change func(*kafka.Config)
		want   string // empty: it is reached
	}{
		"a trusted certificate":         {fronted, encrypt(ca, "localhost"), ""},
		"another authority":             {fronted, encrypt(otherCA, "localhost"), "check tls.ca_file"},
		"a certificate of another name": {fronted, encrypt(ca, "kafka.example.net"), "check brokers and tls.server_name"},
		"no TLS where it is wanted":     {fronted, func(*kafka.Config) {}, "check that tls.enabled and sasl.mechanism fit its port"},
		"TLS where there is none":       {broker, encrypt(ca, "localhost"), "check that tls.enabled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, tc.addr, tc.change)
			ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
			defer cancel()
			err := c.Reach(ctx)
			switch {
			case ctx.Err() != nil:
				t.Errorf("Reach goes on for ever: %v", err)
			case tc.want == "" && err != nil, tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("Reach = %v, want %q", err, tc.want)
			case err != nil && !strings.Contains(err.Error(), tc.addr):
				t.Errorf("Reach = %v, names no broker", err)
			}
		})
	}
}

func TestABrokerThatIsDownIsWaitedForWithOneLine(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	cfg := kafka.DefaultConfig()
	cfg.Brokers = []string{"127.0.0.1:1"}
	c, err := kafka.New(cfg, slog.New(slog.NewTextHandler(&out, nil)), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := c.EnsureTopics(ctx, kafka.Topic{Name: "a"}); err == nil || !strings.Contains(err.Error(), "broker 127.0.0.1:1") {
		t.Errorf("EnsureTopics = %v, want it to name the broker", err)
	}
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("%d lines logged, want one:\n%s", n, out.String())
	}
}

func TestPasswordIsNeverShown(t *testing.T) {
	t.Parallel()
	const password = "p4ssw0rd-\u0000-not-for-scram"
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		cfg := kafka.DefaultConfig()
		cfg.Brokers = []string{"127.0.0.1:1"}
		cfg.TLS.Enabled = true
		cfg.SASL = kafka.SASL{Mechanism: mechanism, Username: "fresnel", Password: secret.New(password)}
		_, err := kafka.New(cfg, nil, nil)
		if shown := fmt.Sprintf("%v %+v %#v %v", cfg, cfg, cfg, err); strings.Contains(shown, "p4ssw0rd") {
			t.Errorf("%s: the password is shown: %s", mechanism, shown)
		}
	}
}

func TestSecurityThatCannotBeMeantIsRefused(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*kafka.Config){
		"tls.enabled":   func(c *kafka.Config) { c.TLS.CAFile = "ca.pem" },
		"tls.cert_file": func(c *kafka.Config) { c.TLS = kafka.TLS{Enabled: true, CertFile: "c.pem"} },
		"sasl.mechanism: plain shows": func(c *kafka.Config) {
			c.SASL = kafka.SASL{Mechanism: "plain", Username: "u", Password: secret.New("p")}
		},
		"sasl.mechanism: required": func(c *kafka.Config) { c.SASL.Username = "u" },
		`"gssapi" is none of`:      func(c *kafka.Config) { c.SASL.Mechanism = "gssapi" },
		"sasl.username":            func(c *kafka.Config) { c.SASL.Mechanism = "scram-sha-256" },
		"own_topics.min_insync_replicas": func(c *kafka.Config) {
			c.OwnTopics.Replication, c.OwnTopics.MinInsyncReplicas = 1, 2
		},
		"own_topics.changes_retention": func(c *kafka.Config) { c.OwnTopics.ChangesRetention = time.Second },
	} {
		cfg := kafka.DefaultConfig()
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate = %v, want %q", err, want)
		}
	}
}
