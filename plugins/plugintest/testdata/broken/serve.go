package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/emptypb"

	pb "github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// serve is the whole of what a plugin has to do besides the contract.
func serve(mode string, w *wrapper) {
	begin(mode)
	dir := os.Getenv("PLUGIN_UNIX_SOCKET_DIR")
	if mode == "P3" {
		dir = filepath.Join(dir, "elsewhere")
		check(os.Mkdir(dir, 0o700))
	}
	socket := filepath.Join(dir, fmt.Sprintf("s%d", os.Getpid()))
	listener, err := net.Listen("unix", socket)
	check(err)
	listener.(*net.UnixListener).SetUnlinkOnClose(mode != "P3b")

	options := []grpc.ServerOption{grpc.MaxRecvMsgSize(16 << 20)}
	certificate := ""
	if client := os.Getenv("PLUGIN_CLIENT_CERT"); client != "" {
		config, der := tlsConfig(client)
		if mode == "P4" {
			config.ClientAuth = tls.NoClientCert
		}
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
		certificate = base64.RawStdEncoding.EncodeToString(der)
	}
	s := grpc.NewServer(options...)
	pb.RegisterPublisherServer(s, w)
	if mode != "P5" {
		h := health.NewServer()
		h.SetServingStatus("plugin", healthv1.HealthCheckResponse_SERVING)
		healthv1.RegisterHealthServer(s, h)
	}
	registerController(s, func() {
		// A defect that shows at every stop would make a test of it slow.
		if mode != "X2" || !w.configured.Load() || w.published.Load() {
			go s.Stop()
		}
	})
	protocol := "grpc"
	if mode == "P0" {
		protocol = "netrpc"
	}
	fmt.Printf("1|%d|unix|%s|%s|%s\n", pb.ProtocolVersion, socket, protocol, certificate)
	check(s.Serve(listener))
	if mode == "X2b" {
		os.Exit(3)
	}
}

// begin is what comes before listening.
func begin(mode string) {
	if os.Getenv(pb.CookieKey) != pb.CookieValue {
		if mode == "P1" {
			fmt.Println("hello")
			os.Exit(0)
		}
		fmt.Fprintln(os.Stderr, "this is a plugin of Fresnel, which starts it")
		os.Exit(1)
	}
	if mode == "P2" && os.Getenv("PATH") == "" {
		fmt.Fprintln(os.Stderr, "no PATH")
		os.Exit(1)
	}
	if mode != "P6" {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	}
	if mode != "X3" {
		go func() {
			if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
				os.Exit(1)
			}
			os.Exit(0)
		}()
	}
	if mode == "P7" {
		check(os.WriteFile("cache", nil, 0o600))
	}
	if mode == "P8" {
		self, err := os.Executable()
		check(err)
		f, err := os.Open(self)
		check(err)
		check(syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
		lock = f
	}
}

var lock *os.File // open for as long as the process lives

func tlsConfig(client string) (*tls.Config, []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:  x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().AddDate(10, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(client))
	return &tls.Config{
		MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	}, der
}

// registerController is go-plugin's service for ending a plugin.
func registerController(s *grpc.Server, shutdown func()) {
	handler := func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // grpc's order
		if err := decode(&emptypb.Empty{}); err != nil {
			return nil, err
		}
		shutdown()
		return &emptypb.Empty{}, nil
	}
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "plugin.GRPCController", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Shutdown", Handler: handler}},
	}, struct{}{})
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
