package sdk

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// options are what people may say to a plugin that they start themselves.
type options struct {
	info                      bool
	listen                    string
	certFile, keyFile, caFile string
}

// command is what a plugin does when it was not started by a host: it says what it
// is, or serves hosts over the network. It returns the exit status.
func command(server publisherv1.PublisherServer, args []string, out, errs io.Writer) int {
	const failed, misused = 1, 2
	var o options
	flags := flag.NewFlagSet("plugin", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.BoolVar(&o.info, "info", false, "print what the plugin is, as JSON")
	flags.StringVar(&o.listen, "listen", "", "serve hosts at this `address` until SIGTERM, instead of as a process of theirs")
	flags.StringVar(&o.certFile, "cert", "", "`file` with the certificate to serve with")
	flags.StringVar(&o.keyFile, "key", "", "`file` with its key")
	flags.StringVar(&o.caFile, "client-ca", "", "`file` with the authorities whose clients may connect")
	if err := flags.Parse(args); err != nil {
		return misused
	}
	var err error
	switch {
	case o.info:
		err = printInfo(server, out)
	case o.listen != "":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
		defer stop()
		err = o.serve(ctx, server, errs)
	default:
		fmt.Fprintln(errs, "This is a publisher plugin of Fresnel, which starts it. By hand it takes:")
		flags.PrintDefaults()
		return failed
	}
	if err != nil {
		fmt.Fprintln(errs, err)
		return failed
	}
	return 0
}

// printInfo writes the part of plugin.yaml that the program knows.
func printInfo(server publisherv1.PublisherServer, out io.Writer) error {
	info, err := server.GetInfo(context.Background(), &publisherv1.GetInfoRequest{})
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(struct {
		Name          string          `json:"name"`
		Version       string          `json:"version"`
		Protocols     []int           `json:"protocols"`
		Schemes       []string        `json:"schemes"`
		ConfigSchema  json.RawMessage `json:"config_schema,omitempty"`
		OptionsSchema json.RawMessage `json:"options_schema,omitempty"`
	}{
		Name: info.GetName(), Version: info.GetVersion(), Protocols: []int{publisherv1.ProtocolVersion},
		Schemes: info.GetSchemes(), ConfigSchema: info.GetConfigSchema(), OptionsSchema: info.GetDestinationSchema(),
	}, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", b)
	return err
}

// serve serves hosts over the network until ctx is done, and then lets what they sent
// end.
func (o options) serve(ctx context.Context, server publisherv1.PublisherServer, errs io.Writer) error {
	const grace, moment = 10 * time.Second, 2 * time.Second
	creds, err := o.credentials()
	if err != nil {
		return err
	}
	log := logger(errs)
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", o.listen)
	if err != nil {
		return err
	}
	s := newGRPCServer(creds)
	publisherv1.RegisterPublisherServer(s, server)
	healthy := health.NewServer()
	for _, name := range []string{"", publisherv1.Publisher_ServiceDesc.ServiceName} {
		healthy.SetServingStatus(name, healthv1.HealthCheckResponse_SERVING)
	}
	healthv1.RegisterHealthServer(s, healthy)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	log.Info("serving", "address", listener.Addr().String(), "tls", len(creds) > 0)
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	healthy.Shutdown()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	resp, err := server.Drain(drain, &publisherv1.DrainRequest{Grace: durationpb.New(grace)})
	if err == nil && resp.GetAbandoned() > 0 {
		err = fmt.Errorf("%d deliveries did not end within %s", resp.GetAbandoned(), grace)
	}
	// The last answers may still be on their way.
	cut := time.AfterFunc(moment, s.Stop)
	defer cut.Stop()
	s.GracefulStop()
	return errors.Join(err, <-served)
}

// credentials requires certificates of both sides, except from this machine to itself.
func (o options) credentials() ([]grpc.ServerOption, error) {
	if o.certFile == "" && o.keyFile == "" && o.caFile == "" {
		if ap, err := netip.ParseAddrPort(o.listen); err != nil || !ap.Addr().IsLoopback() {
			return nil, errors.New("without -cert, -key and -client-ca only a loopback address may be listened at, such as 127.0.0.1:7000")
		}
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(o.certFile, o.keyFile)
	if err != nil {
		return nil, fmt.Errorf("-cert and -key: %w", err)
	}
	text, err := os.ReadFile(o.caFile)
	if err != nil {
		return nil, fmt.Errorf("-client-ca: %w", err)
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("-client-ca: there is no certificate in %s", o.caFile)
	}
	return []grpc.ServerOption{grpc.Creds(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
	}))}, nil
}
