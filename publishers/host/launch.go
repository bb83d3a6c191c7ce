package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	goplugin "github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/fresnel-search/fresnel/plugins/client"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// launch starts a process of the plugin and returns when it is ready: it announced
// itself, said what it is, took its configuration and reports no failure. A go-plugin
// client is good for one start, so each gets its own.
func launch(ctx context.Context, cfg Config, s source, out *output, configuring func()) (*instance, error) {
	argv, err := s.program(cfg)
	if err != nil {
		return nil, err
	}
	cg, err := newCgroup(cfg.Cgroup, s.name, s.limits)
	if err != nil {
		return nil, fmt.Errorf("make a cgroup: %w", err)
	}
	r := newRunner(argv, s.environ(out.log), s.limits, cg, out)
	connector := plugin.NewClient(connectorConfig(cfg, s, r, out))
	i := &instance{
		lost: r.exited, why: r.exitReason, kill: r.killGroup, stop: func() { end(connector, r) },
	}
	i.finish = i.drain
	// go-plugin waits without bound for a plugin that listens but does not answer.
	startCtx, cancel := context.WithTimeoutCause(ctx, cfg.StartTimeout, errors.New("start_timeout"))
	defer cancel()
	defer context.AfterFunc(startCtx, r.killGroup)()
	if err = i.connect(connector, r); err == nil {
		err = i.introduce(startCtx, s, cfg, configuring)
	}
	if err != nil {
		i.stop()
		return nil, r.explain(err, context.Cause(startCtx))
	}
	return i, nil
}

// program is what to run, checked and copied if it comes with a manifest.
func (s source) program(cfg Config) ([]string, error) {
	if s.origin != Folder {
		return s.argv, nil
	}
	argv, err := copyProgram(s.manifest, s.path, copiesIn(cfg.CopyDir), s.ran)
	if err != nil {
		return nil, final(err)
	}
	return append(argv, s.config.Args...), nil
}

// explain says all that is known of a start that failed.
func (r *runner) explain(err, cause error) error {
	text := err.Error()
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOEXEC):
		err = final(fmt.Errorf("%w (is it a program, may it be run, and is its folder not mounted noexec?)", err))
	case strings.Contains(text, "incompatible API version"), strings.Contains(text, "incompatible core API version"):
		err = final(err)
	}
	if cause != nil {
		err = fmt.Errorf("%w (%w)", err, cause)
	}
	if strings.Contains(text, "tls:") || strings.Contains(text, "x509:") || strings.Contains(text, "handshake failed") {
		err = fmt.Errorf("%w (a gRPC library without P-521 certificates needs tls: off)", err)
	}
	if last := r.output.lastLines(); last != "" {
		err = fmt.Errorf("%w; it said: %s", err, last)
	}
	return err
}

func connectorConfig(cfg Config, s source, r *runner, out *output) *plugin.ClientConfig {
	return &plugin.ClientConfig{
		HandshakeConfig:  client.Handshake(),
		VersionedPlugins: client.PluginSets(),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, tmpDir string) (goplugin.Runner, error) {
			r.prepare(cmd.Env, tmpDir)
			return r, nil
		},
		AutoMTLS:         s.config.TLS != "off",
		SkipHostEnv:      true,
		StartTimeout:     cfg.StartTimeout,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: cfg.RunDir},
		Logger:           hclog.NewNullLogger(),
		SyncStdout:       &synced{out: out, stream: "stdout"},
		SyncStderr:       &synced{out: out, stream: "stderr"},
		GRPCDialOptions:  dialOptions(),
	}
}

func dialOptions() []grpc.DialOption {
	const message, headers, window, connWindow, buffer = 4 << 20, 16 << 10, 8 << 20, 16 << 20, 256 << 10
	return []grpc.DialOption{
		// go-plugin's own limit is 2 GiB.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(message)),
		grpc.WithMaxHeaderListSize(headers), // the text of an error is in one
		grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithWriteBufferSize(buffer), grpc.WithReadBufferSize(buffer),
	}
}

// connect starts the process and takes up the connection.
func (i *instance) connect(connector *plugin.Client, r *runner) error {
	protocol, err := connector.Client()
	if err != nil {
		return fmt.Errorf("start plugin: %w", err)
	}
	i.pid = r.processID()
	raw, err := protocol.Dispense(publisherv1.PluginName)
	if err != nil {
		return fmt.Errorf("start plugin: %w", err)
	}
	rpc, ok := raw.(publisherv1.PublisherClient)
	if !ok {
		return fmt.Errorf("start plugin: %T is not a publisher", raw)
	}
	i.publisher = client.New(rpc)
	return nil
}

// drain has the plugin finish what it has; the end of the process cuts it off.
func (i *instance) drain(ctx context.Context, grace time.Duration) error {
	abandoned, err := i.publisher.Drain(ctx, grace)
	if err == nil && abandoned > 0 {
		err = fmt.Errorf("%d deliveries did not end within %s", abandoned, grace)
	}
	return err
}

// end ends the process, whatever state it is in, and cleans up after it; it returns
// when nothing is left. It is also needed after a crash: go-plugin's goroutines and
// folders go with it.
func end(connector *plugin.Client, r *runner) {
	const patience = 2 * time.Second
	// go-plugin's Kill waits for a frozen process for ever.
	guard := time.AfterFunc(patience, r.killGroup)
	defer guard.Stop()
	connector.Kill()
	if !r.begun.Load() {
		r.output.closed(r.cgroup.remove())
		return
	}
	r.killGroup()
	<-r.over
}

// environ is the whole environment of a plugin besides what go-plugin adds.
func (s source) environ(log *slog.Logger) []string {
	const mostProcs, share = 2, 4
	env := map[string]string{
		"GOMAXPROCS":            strconv.Itoa(min(mostProcs, runtime.NumCPU())),
		"GOMEMLIMIT":            strconv.FormatInt(s.limits.Memory/share, 10),
		publisherv1.LogLevelKey: levelName(log),
	}
	for _, name := range []string{"PATH", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env[name] = value
		}
	}
	maps.Copy(env, s.config.Env)
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return list
}

// levelName is the lowest level that our log takes.
func levelName(log *slog.Logger) string {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn} {
		if log.Enabled(context.Background(), level) {
			return level.String()
		}
	}
	return slog.LevelError.String()
}
