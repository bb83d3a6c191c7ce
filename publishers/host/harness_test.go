package host_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/host"
)

// modeKey makes the test binary a plugin: see modes_test.go.
const modeKey = "TEST_PLUGIN_MODE"

func TestMain(m *testing.M) {
	if mode := os.Getenv(modeKey); mode != "" {
		os.Exit(runMode(mode))
	}
	goleak.VerifyTestMain(m)
}

// config describes one plugin named "it", which is this test binary in a mode.
func config(t testing.TB, mode string) host.Config {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "host") //nolint:usetesting // t.TempDir is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	cfg := host.DefaultConfig()
	cfg.RunDir, cfg.StartTimeout = filepath.Join(dir, "run"), time.Minute
	cfg.Plugins = map[string]host.PluginConfig{"it": {
		Path: self, Args: []string{"-test.run=^$"}, Env: map[string]string{modeKey: mode}, TLS: "off",
	}}
	return cfg
}

// started is a running host with one plugin.
type started struct {
	t    testing.TB
	host *host.Host
	it   *host.Plugin
	log  *logBuffer
	stop func() time.Duration
}

func start(t testing.TB, cfg host.Config) *started { t.Helper(); return startWith(t, cfg, nil) }

func startWith(t testing.TB, cfg host.Config, reg prometheus.Registerer) *started {
	t.Helper()
	log := &logBuffer{}
	h, err := host.New(cfg, slog.New(slog.NewJSONHandler(log, nil)), reg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- h.Run(ctx) }()
	s := &started{t: t, host: h, it: h.Plugin("it"), log: log}
	var once sync.Once
	var took time.Duration
	s.stop = func() time.Duration {
		once.Do(func() {
			began := time.Now()
			cancel()
			if err := <-ran; err != nil {
				t.Errorf("Run() = %v", err)
			}
			took = time.Since(began)
		})
		return took
	}
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			const enough, long = 8 << 10, 500
			var some strings.Builder
			for line := range strings.Lines(log.String()) {
				if !strings.Contains(line, "garbage") && some.Len() < enough {
					some.WriteString(line[:min(len(line), long)])
				}
			}
			t.Log(some.String())
		}
	})
	return s
}

// process waits until the plugin is ready and was restarted as often as said.
func (s *started) process(restarts int) host.Process {
	s.t.Helper()
	var p host.Process
	eventually(s.t, "plugin ready", func() bool {
		for _, p = range s.host.Processes() {
			if p.Name == "it" && p.State == host.Ready && p.Restarts >= restarts {
				return true
			}
		}
		return false
	})
	return p
}

// publish sends one event to each URI in one call.
func (s *started) publish(uri string, ids ...string) (outcomes map[string]delivery.Outcome, err error) {
	s.t.Helper()
	outcomes = map[string]delivery.Outcome{}
	err = s.it.Publish(context.Background(), delivery.Destination{Subscription: "sub", URI: uri}, deliveries(ids...),
		func(o delivery.Outcome) { outcomes[o.ID] = o })
	return outcomes, err
}

func deliveries(ids ...string) []delivery.Delivery {
	ds := make([]delivery.Delivery, len(ids))
	for i, id := range ids {
		ds[i] = delivery.Delivery{ID: id, Attempt: 1, Event: delivery.Event{
			ID: id, Type: "org.fresnel.resource.updated", Source: "/test", ContentType: "application/json",
			Data: []byte(`{"n":1}`), Time: time.Unix(1, 0),
		}}
	}
	return ds
}

func (s *started) mustDeliver() {
	s.t.Helper()
	if got, err := s.publish("fake://ok", "d"); err != nil || got["d"].Kind != delivery.Delivered {
		s.t.Fatalf("Publish() = %v, %v, want it delivered", got, err)
	}
}

// eventually polls a condition.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(2 * time.Minute) // the machine may have other things to do
	for !cond() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("not in two minutes: %s", what)
		}
	}
}

// logBuffer holds what was logged, as JSON lines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// has reports whether a line at that level contains the text.
func (l *logBuffer) has(level slog.Level, text string) bool {
	for line := range strings.Lines(l.String()) {
		var m struct{ Level string }
		if json.Unmarshal([]byte(line), &m) == nil && m.Level == level.String() && strings.Contains(line, text) {
			return true
		}
	}
	return false
}

func unavailable(err error) bool { return errors.Is(err, delivery.ErrUnavailable) }
