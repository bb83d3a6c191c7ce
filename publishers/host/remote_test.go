package host_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/host"
)

// authority makes certificates.
type authority struct {
	t    testing.TB
	dir  string
	name string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir(), name: name}
	a.cert, a.key = a.issue(name, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	return a
}

// issue makes a certificate, signed by parent or itself, and writes name.pem and
// name.key.
func (a *authority) issue(name string, template *x509.Certificate, parent *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	template.NotBefore = time.Now().Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	by, with := template, key
	if parent != nil {
		by, with = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by, &key.PublicKey, with)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for ext, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(a.dir, name+ext), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) leaf(name string, until time.Time) {
	a.t.Helper()
	a.issue(name, &x509.Certificate{
		DNSNames: []string{name}, NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a)
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// elsewhere is a plugin that serves at an address, as on another machine.
type elsewhere struct {
	t       *testing.T
	address string
	args    string
	cmd     *exec.Cmd
}

// tlsArgs are those of a plugin with TLS of both sides.
func (a *authority) tlsArgs() string {
	return "-cert " + a.file("plugin.pem") + " -key " + a.file("plugin.key") + " -client-ca " + a.file(a.name+".pem")
}

func newElsewhere(t *testing.T, args string) *elsewhere {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &elsewhere{t: t, address: l.Addr().String(), args: args}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	e.start()
	return e
}

func (e *elsewhere) start() {
	e.t.Helper()
	self, err := os.Executable()
	if err != nil {
		e.t.Fatal(err)
	}
	e.cmd = exec.Command(self)
	e.cmd.Env = append(os.Environ(), modeKey+"=remote", "REMOTE_ARGS=-listen "+e.address+" "+e.args)
	e.cmd.Stderr = os.Stderr
	if err := e.cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { e.end(syscall.SIGKILL) })
	eventually(e.t, "the plugin listens", func() bool {
		conn, err := net.Dial("tcp", e.address)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
}

func (e *elsewhere) end(sig syscall.Signal) {
	if e.cmd.ProcessState != nil {
		return
	}
	if err := e.cmd.Process.Signal(sig); err != nil {
		e.t.Error(err)
	}
	if err := e.cmd.Wait(); err != nil && sig != syscall.SIGKILL {
		e.t.Errorf("after %s: %v", sig, err)
	}
}

// remote configures the plugin it to be at an address.
func remote(t *testing.T, e *elsewhere, a *authority) host.Config {
	t.Helper()
	cfg := config(t, "")
	cfg.Plugins["it"] = host.PluginConfig{
		Address: e.address, Schemes: []string{"fake"}, ServerName: "plugin", Config: map[string]any{"greeting": "hello"},
		CAFile: a.file(a.name + ".pem"), CertFile: a.file("fresnel.pem"), KeyFile: a.file("fresnel.key"),
	}
	return cfg
}

func TestRemotePluginIsServedOverTLSOfBothSides(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "ca")
	a.leaf("plugin", time.Time{})
	a.leaf("fresnel", time.Time{})
	e := newElsewhere(t, a.tlsArgs())
	cfg := remote(t, e, a)
	cfg.HealthInterval = 200 * time.Millisecond
	s := start(t, cfg)
	p := s.process(0)
	if p.Version != "1.2.3" || p.PID != 0 || p.Origin != host.Remote || p.Path != e.address {
		t.Errorf("process %+v", p)
	}
	s.mustDeliver()
	got, err := s.publish("fake://config", "d")
	if err != nil || !strings.HasPrefix(got["d"].Message, "hello") {
		t.Errorf("its configuration is %v, %v", got, err)
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		t.Run("it comes back after "+sig.String(), func(t *testing.T) {
			restarts := s.process(0).Restarts
			e.end(sig)
			s.state(host.Backoff)
			if got, err := s.publish("fake://ok", "d"); !unavailable(err) || len(got) > 0 {
				t.Errorf("Publish() while it is away = %v, %v, want ErrUnavailable", got, err)
			}
			e.start()
			s.process(restarts + 1)
			s.mustDeliver()
		})
	}
	t.Run("renewed certificates are used at the next connection", func(t *testing.T) {
		a.leaf("fresnel", time.Time{})
		if err := s.host.Reload(t.Context(), "it"); err != nil {
			t.Error(err)
		}
		s.mustDeliver()
	})
	t.Run("one that hangs is given up", func(t *testing.T) {
		if err := e.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		s.state(host.Backoff)
		if err := e.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		s.state(host.Ready)
		s.mustDeliver()
	})
	if s.log.has(slog.LevelWarn, string(host.Quarantined)) {
		t.Error("a plugin that was away was put into quarantine")
	}
}

func TestStrangersAtTheAddressOfAPluginAreRefused(t *testing.T) {
	t.Parallel()
	good, evil := newAuthority(t, "ca"), newAuthority(t, "evil")
	for _, a := range []*authority{good, evil} {
		a.leaf("plugin", time.Time{})
		a.leaf("other", time.Time{})
		a.leaf("fresnel", time.Time{})
		a.leaf("late", time.Now().Add(-time.Minute))
	}
	e := newElsewhere(t, good.tlsArgs())
	for name, c := range map[string]struct {
		change func(*host.PluginConfig)
		want   string
	}{
		"a plugin of another authority":         {func(p *host.PluginConfig) { p.CAFile = evil.file("evil.pem") }, "certificate signed by unknown authority"},
		"a plugin of another name":              {func(p *host.PluginConfig) { p.ServerName = "other" }, "certificate is valid for plugin, not other"},
		"our certificate, of another one":       {func(p *host.PluginConfig) { p.CertFile, p.KeyFile = evil.file("fresnel.pem"), evil.file("fresnel.key") }, "connect to "},
		"our certificate, expired":              {func(p *host.PluginConfig) { p.CertFile, p.KeyFile = good.file("late.pem"), good.file("late.key") }, "connect to "},
		"no TLS where the plugin insists":       {func(p *host.PluginConfig) { *p = host.PluginConfig{Address: p.Address, TLS: "off"} }, "connect to "},
		"a certificate that is not there":       {func(p *host.PluginConfig) { p.CertFile = "/nowhere" }, "cert_file, key_file: open /nowhere"},
		"an authority that is not there":        {func(p *host.PluginConfig) { p.CAFile = "/nowhere" }, "ca_file: open /nowhere"},
		"a plugin of other schemes":             {func(p *host.PluginConfig) { p.Schemes = []string{"sms"} }, "it does not serve sms"},
		"nobody there":                          {func(p *host.PluginConfig) { p.Address = "127.0.0.1:1" }, "connection refused"},
		"a configuration that it does not like": {func(p *host.PluginConfig) { p.Config = map[string]any{"x": 1} }, "/x: is not a known key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := remote(t, e, good)
			p := cfg.Plugins["it"]
			c.change(&p)
			cfg.Plugins["it"] = p
			s := start(t, cfg)
			eventually(t, "the problem is said", func() bool { return s.log.has(slog.LevelWarn, c.want) })
			if got, err := s.publish("fake://ok", "d"); !unavailable(err) || len(got) > 0 {
				t.Errorf("Publish() = %v, %v", got, err)
			}
		})
	}
}

func TestPluginOfThisMachineMayBeReachedWithoutTLS(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t, "")
	cfg := config(t, "")
	cfg.Plugins["it"] = host.PluginConfig{Address: e.address, TLS: "off"}
	s := start(t, cfg)
	s.process(0)
	s.mustDeliver()
}

// TestLostConnectionLeavesTheOutcomeUnknown: the remote plugin may have delivered.
func TestLostConnectionLeavesTheOutcomeUnknown(t *testing.T) {
	t.Parallel()
	e := newElsewhere(t, "")
	cfg := config(t, "")
	cfg.Plugins["it"] = host.PluginConfig{Address: e.address, TLS: "off"}
	s := start(t, cfg)
	s.process(0)
	acked := 0
	err := s.it.Publish(t.Context(), delivery.Destination{URI: "fake://exit-on/b"}, deliveries("a", "b"), func(delivery.Outcome) {
		if acked++; acked == 1 {
			e.end(syscall.SIGKILL)
		}
	})
	if acked != 1 || err == nil || unavailable(err) {
		t.Errorf("Publish() acked %d, %v, want an error that leaves one open", acked, err)
	}
}
