package sdk

import (
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/fresnel-search/fresnel/plugins/internal/wire"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// Serve serves an implementation of the contract to the host that started this
// process: the way out for those who need more than Main offers. It returns when the
// host is done. The default slog logger becomes one whose lines the host understands.
//
// The process ignores SIGTERM, SIGINT and SIGHUP, which reach a whole process group or
// service: it ends when its host says so, or at once when its host is gone.
//
// Started by hand it exits with status 1, unless it is given -info, to print what it
// is, or -listen, to serve hosts over the network: with certificates of both sides
// (-cert, -key, -client-ca), or without TLS at a loopback address, for debuggers.
func Serve(server publisherv1.PublisherServer) {
	// go-plugin replaces os.Stderr; what is logged must go to the real one.
	stderr := os.Stderr
	slog.SetDefault(logger(stderr))
	if os.Getenv(publisherv1.CookieKey) != publisherv1.CookieValue {
		os.Exit(command(server, os.Args[1:], os.Stdout, stderr))
	}
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go exitWithHost(os.Stdin)
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  wire.Handshake(),
		VersionedPlugins: wire.Sets(server),
		GRPCServer:       newGRPCServer,
		Logger: hclog.New(&hclog.LoggerOptions{
			Name: "go-plugin", Level: hclog.Warn, Output: stderr, JSONFormat: true,
		}),
	})
}

func newGRPCServer(opts []grpc.ServerOption) *grpc.Server {
	const message, window, connWindow = 16 << 20, 8 << 20, 16 << 20
	return grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(message),
		grpc.InitialWindowSize(window), grpc.InitialConnWindowSize(connWindow))...)
}

// exitWithHost ends the process when the host's end of stdin closes, which the kernel
// sees to even if the host was killed.
func exitWithHost(stdin io.Reader) {
	// Whatever stops the copy, the lifeline is gone.
	if _, err := io.Copy(io.Discard, stdin); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// logger writes JSON lines at the level that the host asked for.
func logger(w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(os.Getenv(publisherv1.LogLevelKey))); err != nil {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}
