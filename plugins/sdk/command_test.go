package sdk_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/fresnel-search/fresnel/plugins/client"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// pluginKey makes the test binary a plugin.
const pluginKey = "TEST_SDK_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(pluginKey) == "" {
		os.Exit(m.Run())
	}
	sdk.Main(sdk.Publisher[struct{}, testOptions]{
		Name: "it", Version: "1.2.3", Schemes: []string{"test"},
		Publish: func(context.Context, *struct{}, *sdk.Destination[testOptions], *sdk.Event) error {
			<-time.After(500 * time.Millisecond) // it is under way when the process is told to end
			return nil
		},
	})
}

// plugin is the command line of a plugin that somebody starts by hand.
func plugin(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), pluginKey+"=1")
	return cmd
}

func TestPluginSaysWhatItIs(t *testing.T) {
	t.Parallel()
	out, err := plugin(t, "--info").Output()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Name, Version string
		Protocols     []int
		Schemes       []string
		OptionsSchema struct {
			Properties map[string]any
		} `json:"options_schema"`
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if got.Name != "it" || got.Version != "1.2.3" || len(got.Protocols) != 1 || got.Schemes[0] != "test" || got.OptionsSchema.Properties["urgent"] == nil {
		t.Errorf("--info prints %s", out)
	}
}

func TestPluginThatNobodyHostsSaysSo(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"":                        "a publisher plugin of Fresnel",
		"--listen 0.0.0.0:0":      "only a loopback address",
		"--listen [::]:0":         "only a loopback address",
		"--listen localhost:0":    "only a loopback address",
		"--nonsense":              "flag provided but not defined",
		"--listen x --cert /none": "-cert and -key: ",
	} {
		cmd := plugin(t, strings.Fields(args)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || len(out) > 0 || !strings.Contains(stderr.String(), want) {
			t.Errorf("%q: %v, prints %q, says %s, want %q", args, err, out, stderr.String(), want)
		}
	}
}

// authority issues certificates for 127.0.0.1 and writes them where asked.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.issue("ca")
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// issue makes name.crt and name.key; the first is the authority's own.
func (a *authority) issue(name string) tls.Certificate {
	a.t.Helper()
	return a.issueFor(name, func(*x509.Certificate) {})
}

func (a *authority) issueFor(name string, change func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: a.cert == nil, BasicConstraintsValid: true,
	}
	change(template)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	if a.cert == nil {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			a.t.Fatal(err)
		}
		a.key = key
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".crt": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(a.path(file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// quiet is for servers whose clients are to hang up.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// listen starts a plugin that serves over the network and returns where.
func listen(t *testing.T, args ...string) (cmd *exec.Cmd, address string) {
	t.Helper()
	cmd = plugin(t, args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stderr).ReadBytes('\n')
	var said struct{ Address string }
	if err = errors.Join(err, json.Unmarshal(line, &said)); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return cmd, said.Address
}

func dial(t *testing.T, address string, creds credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds), grpc.WithNoProxy())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func TestRemotePluginServesHostsWithCertificatesOnly(t *testing.T) {
	t.Parallel()
	a, stranger := newAuthority(t), newAuthority(t)
	a.issue("server")
	host, other := a.issue("host"), stranger.issue("host")
	cmd, address := listen(t, "--listen", "127.0.0.1:0", "--cert", a.path("server.crt"), "--key", a.path("server.key"), "--client-ca", a.path("ca.crt"))
	for who, conf := range map[string]*tls.Config{
		"without a certificate":                {RootCAs: a.pool()},
		"with a certificate of somebody else":  {RootCAs: a.pool(), Certificates: []tls.Certificate{other}},
		"that speaks TLS 1.2 only":             {RootCAs: a.pool(), Certificates: []tls.Certificate{host}, MaxVersion: tls.VersionTLS12},
		"that expects somebody else's service": {RootCAs: stranger.pool(), Certificates: []tls.Certificate{host}},
	} {
		c := client.New(publisherv1.NewPublisherClient(dial(t, address, credentials.NewTLS(conf))))
		if _, err := c.Info(t.Context(), "test"); err == nil {
			t.Errorf("a host %s is answered", who)
		}
	}
	c := client.New(publisherv1.NewPublisherClient(dial(t, address, insecure.NewCredentials())))
	if _, err := c.Info(t.Context(), "test"); err == nil {
		t.Error("a host without TLS is answered")
	}
	conn := dial(t, address, credentials.NewTLS(&tls.Config{RootCAs: a.pool(), Certificates: []tls.Certificate{host}}))
	c = client.New(publisherv1.NewPublisherClient(conn))
	if info, err := c.Info(t.Context(), "test"); err != nil || info.GetName() != "it" {
		t.Errorf("the host is told %v, %v", info, err)
	}
	healthy, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{Service: "fresnel.publisher.v1.Publisher"})
	if err != nil || healthy.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", healthy, err)
	}
	endsWell(t, cmd, c)
}

// endsWell has a delivery under way when the plugin is told to end.
func endsWell(t *testing.T, cmd *exec.Cmd, c *client.Publisher) {
	t.Helper()
	if _, err := c.Configure(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		got map[string]string
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		got, err := publish(t.Context(), c, batch("test:x", "a"))
		answers <- answer{got, err}
	}()
	for begun := false; !begun; {
		st, err := c.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		begun = st.GetDeliveriesInFlight() > 0
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if a := <-answers; a.err != nil || a.got["a"] != "delivered" {
		t.Errorf("what was under way: %v, %v", a.got, a.err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

func TestPluginForDebuggersListensHereOnly(t *testing.T) {
	t.Parallel()
	cmd, address := listen(t, "--listen", "127.0.0.1:0")
	c := client.New(publisherv1.NewPublisherClient(dial(t, address, insecure.NewCredentials())))
	if info, err := c.Info(t.Context(), "test"); err != nil || info.GetName() != "it" {
		t.Errorf("the host is told %v, %v", info, err)
	}
	endsWell(t, cmd, c)
}
