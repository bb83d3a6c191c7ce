package host_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/host"
)

// Trap 23: a plugin may lack go-plugin's own services: health, shutdown, streams.
func TestPluginWithoutGoPluginsServicesWorksAndIsEnded(t *testing.T) {
	t.Parallel()
	cfg := config(t, "bare")
	s := start(t, cfg)
	pid := s.process(0).PID
	err := s.it.Publish(t.Context(), delivery.Destination{URI: "raw:all"}, deliveries("a", "b"), func(delivery.Outcome) {})
	if err != nil {
		t.Error(err)
	}
	if took := s.stop(); took > 5*time.Second || !gone(pid) {
		t.Errorf("the end took %s; process gone: %v", took, gone(pid))
	}
}

// Trap 24: who cannot do our TLS is told what to set.
func TestFailedTLSNamesTheSetting(t *testing.T) {
	t.Parallel()
	cfg := config(t, "bare")
	p := cfg.Plugins["it"]
	p.TLS = "auto"
	cfg.Plugins["it"] = p
	cfg.StartTimeout = 3 * time.Second
	s := start(t, cfg)
	eventually(t, "the setting is named", func() bool { return s.log.has(slog.LevelWarn, "tls: off") })
}

func TestPluginThatNeverAnnouncesItselfIsEnded(t *testing.T) {
	t.Parallel()
	cfg := config(t, "silent")
	cfg.StartTimeout = 200 * time.Millisecond
	s := start(t, cfg)
	eventually(t, "it is given up", func() bool { return s.log.has(slog.LevelWarn, "timeout") })
}

func TestPluginIsNotTalkedToElsewhere(t *testing.T) {
	t.Parallel()
	s := start(t, config(t, "elsewhere"))
	eventually(t, "its address is refused", func() bool {
		return s.log.has(slog.LevelWarn, "its address 192.0.2.1:443 is not a loopback one")
	})
}

func TestLongLastWordsAreCut(t *testing.T) {
	t.Parallel()
	s := start(t, config(t, "long-misery"))
	p := s.state(host.Backoff)
	if n := len(p.Problem); n > 12<<10 || !strings.Contains(p.Problem, "misery misery") {
		t.Errorf("the problem has %d bytes: %.200s", n, p.Problem)
	}
}

func TestPluginThatSaysThatItFailedIsReplaced(t *testing.T) {
	t.Parallel()
	cfg := config(t, "raw")
	cfg.HealthInterval = 50 * time.Millisecond
	flag := filepath.Join(t.TempDir(), "failed")
	cfg.Plugins["it"].Env["FAILED"] = flag
	s := start(t, cfg)
	pid := s.process(0).PID
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its end is said", func() bool { return s.log.has(slog.LevelWarn, "plugin reports that it failed") && gone(pid) })
	if err := os.Remove(flag); err != nil {
		t.Fatal(err)
	}
	s.process(1)
}

func TestPluginThatForgotItsConfigurationGetsItAgain(t *testing.T) {
	t.Parallel()
	s := start(t, config(t, "raw"))
	pid := s.process(0).PID
	err := s.it.Publish(t.Context(), delivery.Destination{URI: "raw:forgetful"}, deliveries("a"), func(delivery.Outcome) { t.Error("acked") })
	if !unavailable(err) {
		t.Errorf("Publish() = %v, want ErrUnavailable", err)
	}
	acked := 0
	err = s.it.Publish(t.Context(), delivery.Destination{URI: "raw:forgetful"}, deliveries("a"), func(delivery.Outcome) { acked++ })
	if err != nil || acked != 1 || s.process(0).PID != pid {
		t.Errorf("Publish() after the new configuration = %v, %d acked", err, acked)
	}
}

func TestSecretsOfAPluginsConfigurationComeFromFiles(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config(t, "fake")
	p := cfg.Plugins["it"]
	p.Config = map[string]any{"token": "file:" + file}
	cfg.Plugins["it"] = p
	s := start(t, cfg)
	s.process(0)
	if got, err := s.publish("fake://token/hunter2", "d"); err != nil || got["d"].Kind != delivery.Delivered {
		t.Errorf("the token is another one: %v, %v", got, err)
	}
	if strings.Contains(s.log.String(), "hunter2") {
		t.Error("the token is in the log")
	}
	p.Config = map[string]any{"token": "file:" + file + ".none"}
	cfg = config(t, "fake")
	p.Env = cfg.Plugins["it"].Env
	cfg.Plugins["it"] = p
	start(t, cfg).refused("plugins.it.config.token: open ")
}

func TestPluginsAreMeasured(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	s := startWith(t, config(t, "fake"), reg)
	s.process(0)
	s.mustDeliver()
	for i := range 100 { // codes of the plugin's own making
		if _, err := s.publish("fake://code/c"+strings.Repeat("x", i%40), "d"); err != nil {
			t.Fatal(err)
		}
	}
	kill(t, s.process(0).PID)
	s.process(1)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, f := range families {
		got[f.GetName()] = len(f.GetMetric())
	}
	for _, name := range []string{
		"state", "restarts_total", "log_lines_dropped_total", "start_duration_seconds", "batch_deliveries", "ack_duration_seconds",
		"outcomes_total", "batches_in_flight", "window_batches", "resident_memory_bytes", "cpu_seconds_total",
	} {
		if got["fresnel_publishers_plugin_"+name] == 0 {
			t.Errorf("%s is not measured: %v", name, got)
		}
	}
	if n := got["fresnel_publishers_plugin_outcomes_total"]; n > 66 {
		t.Errorf("%d series of outcomes: a plugin can make as many as it likes", n)
	}
	if ps := s.host.Processes(); ps[0].RSS == 0 || ps[0].State != host.Ready {
		t.Errorf("process %+v", ps[0])
	}
}
