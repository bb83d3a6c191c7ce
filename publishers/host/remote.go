package host

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/fresnel-search/fresnel/plugins/client"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// dial connects to a plugin that runs elsewhere and returns when it is ready. The
// instance is lost when the connection is; the next one is dialed with backoff, as a
// process would be started, and the plugin introduces itself anew: it may be another
// one by then.
func dial(ctx context.Context, cfg Config, s source, configuring func()) (*instance, error) {
	creds, err := s.config.credentials()
	if err != nil {
		return nil, final(err)
	}
	// No keepalive: servers take pings that come more often than every five minutes for
	// an attack. The plugin's status tells, and sooner.
	conn, err := grpc.NewClient("passthrough:///"+s.path, append(dialOptions(),
		grpc.WithTransportCredentials(creds), grpc.WithIdleTimeout(0), grpc.WithDisableServiceConfig(),
	)...)
	if err != nil {
		return nil, final(err)
	}
	lost, closing := make(chan struct{}), sync.Once{}
	watching, unwatch := context.WithCancel(context.WithoutCancel(ctx))
	var watcher sync.WaitGroup
	i := &instance{
		publisher: client.New(publisherv1.NewPublisherClient(conn)),
		lost:      lost,
		why:       func() error { return fmt.Errorf("connection to %s lost", s.path) },
		kill:      func() { closing.Do(func() { close(lost) }) },
		// Others may use the plugin, too: it is not ours to drain.
		finish: func(context.Context, time.Duration) error { return nil },
	}
	i.stop = func() {
		unwatch()
		watcher.Wait()
		if err := conn.Close(); err != nil {
			return // it is closed
		}
	}
	startCtx, cancel := context.WithTimeoutCause(ctx, cfg.StartTimeout, errors.New("start_timeout"))
	defer cancel()
	if err := connected(startCtx, conn, s.path); err != nil {
		i.stop()
		return nil, err
	}
	watcher.Go(func() {
		for state := connectivity.Ready; state == connectivity.Ready && conn.WaitForStateChange(watching, state); {
			state = conn.GetState()
		}
		i.kill()
	})
	if err := i.introduce(startCtx, s, cfg, configuring); err != nil {
		i.stop()
		if cause := context.Cause(startCtx); cause != nil {
			err = fmt.Errorf("%w (%w)", err, cause)
		}
		return nil, err
	}
	return i, nil
}

// connected waits for the connection.
func connected(ctx context.Context, conn *grpc.ClientConn, address string) error {
	conn.Connect()
	for {
		state := conn.GetState()
		if state == connectivity.Ready {
			return nil
		}
		if state == connectivity.TransientFailure {
			return fmt.Errorf("connect to %s: %w", address, whyNot(ctx, conn))
		}
		if !conn.WaitForStateChange(ctx, state) {
			return fmt.Errorf("connect to %s: %w", address, context.Cause(ctx))
		}
	}
}

// whyNot is the reason of a failed connection, which only a call is told.
func whyNot(ctx context.Context, conn *grpc.ClientConn) error {
	_, err := client.New(publisherv1.NewPublisherClient(conn)).Status(ctx)
	if err == nil {
		err = errors.New("it came up late")
	}
	return err
}

// credentials are those of the plugin's own section: both sides show a certificate.
func (p PluginConfig) credentials() (credentials.TransportCredentials, error) {
	if p.TLS == "off" {
		return insecure.NewCredentials(), nil
	}
	pem, err := os.ReadFile(p.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file: %s holds no certificate in PEM", p.CAFile)
	}
	if _, err := tls.LoadX509KeyPair(p.CertFile, p.KeyFile); err != nil {
		return nil, fmt.Errorf("cert_file, key_file: %w", err)
	}
	name := p.ServerName
	if name == "" {
		if name, _, err = net.SplitHostPort(p.Address); err != nil {
			return nil, fmt.Errorf("address: %w", err)
		}
	}
	return credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: pool, ServerName: name,
		// Read at each connection, so that certificates can be renewed.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			c, err := tls.LoadX509KeyPair(p.CertFile, p.KeyFile)
			return &c, err
		},
	}), nil
}
