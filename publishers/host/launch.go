package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	goplugin "github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/fresnel-search/fresnel/plugins/client"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// process is one run of a plugin, from launch to stop.
type process struct {
	runner    *runner
	connector *plugin.Client
	publisher *client.Publisher
	version   string
	limits    limits
	pid       int
	draining  atomic.Bool
	progress  progress
}

// limits are what the plugin asked for, within what we allow.
type limits struct{ deliveries, bytes, batches int }

// launch starts a plugin and returns when it is ready: it announced itself, said what
// it is, took its configuration and reports no failure. A go-plugin client is good
// for one start, so each gets its own.
func launch(ctx context.Context, cfg Config, s spec, out *output) (*process, error) {
	r := newRunner(s.argv, s.environ(out.log), out)
	p := &process{runner: r, connector: plugin.NewClient(connectorConfig(cfg, s, r, out))}
	// go-plugin waits without bound for a plugin that listens but does not answer.
	startCtx, cancel := context.WithTimeoutCause(ctx, cfg.StartTimeout, errors.New("start_timeout"))
	defer cancel()
	defer context.AfterFunc(startCtx, r.killGroup)()
	if err := p.connect(startCtx, cfg, s); err != nil {
		p.stop()
		if cause := context.Cause(startCtx); cause != nil {
			err = fmt.Errorf("%w (%w)", err, cause)
		}
		if last := out.lastLines(); last != "" {
			err = fmt.Errorf("%w; it said: %s", err, last)
		}
		return nil, err
	}
	return p, nil
}

func connectorConfig(cfg Config, s spec, r *runner, out *output) *plugin.ClientConfig {
	const message, window, connWindow, buffer = 4 << 20, 8 << 20, 16 << 20, 256 << 10
	return &plugin.ClientConfig{
		HandshakeConfig:  client.Handshake(),
		VersionedPlugins: client.PluginSets(),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, tmpDir string) (goplugin.Runner, error) {
			r.prepare(cmd.Env, tmpDir)
			return r, nil
		},
		AutoMTLS:         !s.plain,
		SkipHostEnv:      true,
		StartTimeout:     cfg.StartTimeout,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: cfg.RunDir},
		Logger:           hclog.NewNullLogger(),
		SyncStdout:       &synced{out: out, stream: "stdout"},
		SyncStderr:       &synced{out: out, stream: "stderr"},
		GRPCDialOptions: []grpc.DialOption{
			// go-plugin's own limit is 2 GiB.
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(message)),
			grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(connWindow),
			grpc.WithWriteBufferSize(buffer), grpc.WithReadBufferSize(buffer),
		},
	}
}

// connect does everything between the start and ready.
func (p *process) connect(ctx context.Context, cfg Config, s spec) error {
	protocol, err := p.connector.Client()
	if err != nil {
		return fmt.Errorf("start plugin: %w", err)
	}
	p.pid = p.runner.processID()
	raw, err := protocol.Dispense(publisherv1.PluginName)
	if err != nil {
		return fmt.Errorf("start plugin: %w", err)
	}
	rpc, ok := raw.(publisherv1.PublisherClient)
	if !ok {
		return fmt.Errorf("start plugin: %T is not a publisher", raw)
	}
	p.publisher = client.New(rpc)
	info, err := p.publisher.Info(ctx, "")
	if err != nil {
		return fmt.Errorf("ask the plugin what it is: %w", err)
	}
	p.version, p.limits = info.GetVersion(), limitsOf(info.GetLimits())
	config, err := s.configFor(info, cfg.Outbound)
	if err != nil {
		return err
	}
	if _, err := p.publisher.Configure(ctx, config); err != nil {
		return fmt.Errorf("configure the plugin: %w", err)
	}
	return p.healthy(ctx, cfg.StartTimeout)
}

// healthy asks for the plugin's status. go-plugin's own ping has no deadline and
// answers well while every handler hangs.
func (p *process) healthy(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	st, err := p.publisher.Status(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("ask for the plugin's status: %w", err)
	case st.GetState() == publisherv1.GetStatusResponse_STATE_FAILED:
		return fmt.Errorf("plugin reports that it failed: %s", clip(st.GetMessage()))
	}
	return nil
}

// drain has the plugin finish what it has; Shutdown, which follows, cuts it off.
func (p *process) drain(ctx context.Context, grace time.Duration) error {
	const margin = time.Second
	p.draining.Store(true)
	ctx, cancel := context.WithTimeout(ctx, grace+margin)
	defer cancel()
	abandoned, err := p.publisher.Drain(ctx, grace)
	if err == nil && abandoned > 0 {
		err = fmt.Errorf("%d deliveries did not end within %s", abandoned, grace)
	}
	return err
}

// stop ends the process, whatever state it is in, and cleans up after it; it returns
// when nothing is left. It is also needed after a crash: go-plugin's goroutines and
// folders go with it.
func (p *process) stop() {
	const patience = 2 * time.Second
	// go-plugin's Kill waits for a frozen process for ever.
	guard := time.AfterFunc(patience, p.runner.killGroup)
	defer guard.Stop()
	p.connector.Kill()
	if p.runner.begun.Load() {
		p.runner.killGroup()
		<-p.runner.over
	}
}

// environ is the whole environment of a plugin besides what go-plugin adds.
func (s spec) environ(log *slog.Logger) []string {
	const mostProcs, memory = 2, "48MiB"
	env := map[string]string{
		"GOMAXPROCS":            strconv.Itoa(min(mostProcs, runtime.NumCPU())),
		"GOMEMLIMIT":            memory,
		publisherv1.LogLevelKey: levelName(log),
	}
	for _, name := range []string{"PATH", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env[name] = value
		}
	}
	maps.Copy(env, s.env)
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

// configFor is the plugin's configuration as JSON, with outbound if it knows that key
// and was not given its own.
func (s spec) configFor(info *publisherv1.GetInfoResponse, out Outbound) ([]byte, error) {
	config := map[string]any{}
	maps.Copy(config, s.config)
	var schema struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if len(info.GetConfigSchema()) > 0 {
		if err := json.Unmarshal(info.GetConfigSchema(), &schema); err != nil {
			return nil, fmt.Errorf("read the plugin's schema: %w", err)
		}
	}
	_, known := schema.Properties["outbound"]
	if _, given := config["outbound"]; known && !given {
		config["outbound"] = out
	}
	return json.Marshal(config)
}

func limitsOf(l *publisherv1.Limits) limits {
	const deliveries, size, batches = 100, 1 << 20, 4
	const mostDeliveries, mostSize, mostBatches = 1000, 3 << 20, 64
	or := func(v uint32, otherwise, most int) int {
		if v == 0 {
			return otherwise
		}
		return min(int(v), most)
	}
	return limits{
		deliveries: or(l.GetMaxBatchDeliveries(), deliveries, mostDeliveries),
		bytes:      or(l.GetMaxBatchBytes(), size, mostSize),
		batches:    or(l.GetMaxBatchesInFlight(), batches, mostBatches),
	}
}
