package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fresnel-search/fresnel/test/acceptance"
	"github.com/fresnel-search/fresnel/test/harness"
)

// TestPluginThatWillNotStartStopsNothingAndLosesNothing: its manifest cannot be read,
// so it is not even known which schemes it serves.
func TestPluginThatWillNotStartStopsNothingAndLosesNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "webhook")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("plugin.yaml", "name: webhook\nschemes: http\n")
	receiver := harness.NewReceiver(t)
	s := harness.New(t, acceptance.Admin+fmt.Sprintf("publishers:\n  outbound: {allow: [\"127.0.0.0/8\"]}\n"+
		"  plugins: {webhook: {path: %q}}\n  subscriptions:\n"+
		"    - {name: nfv, destination: %q, secret: %q, filter: {projects: [\"*\"]}}\n", dir, receiver.URL, harness.Secret))
	if out, err := s.Run("config", "check", s.File("check.yaml", fmt.Sprintf("publishers: {plugins: {webhook: {path: %q}}}", dir))); err == nil ||
		!strings.Contains(out, "plugin.yaml:2: ") {
		t.Errorf("config check: %v, prints %s; want the line of the manifest", err, out)
	}
	s.Start()
	s.Play("notifications/glance.jsonl.gz")
	acceptance.Settled(t, s, acceptance.Count(t, "notifications/glance.jsonl.gz"), "")
	s.Eventually("readiness names the plugin", func() error {
		var ready json.RawMessage
		if err := s.Get("/readyz", &ready); err != nil {
			return fmt.Errorf("not ready: %w", err)
		}
		if !strings.Contains(string(ready), `"plugin webhook","state":"degraded","reason":"is quarantined`) || !strings.Contains(string(ready), "plugin.yaml:2: ") {
			return errors.New(string(ready))
		}
		return nil
	})
	if out := s.MustRun("plugins", "list"); !strings.Contains(out, "quarantined") {
		t.Errorf("plugins list prints %s", out)
	}
	if out, err := s.Run("plugins", "resume", "webhook"); err == nil || !strings.Contains(out, "plugin.yaml:2: ") {
		t.Errorf("plugins resume: %v, prints %s", err, out)
	}
	if n := len(receiver.Deliveries()); n > 0 {
		t.Fatalf("%d deliveries by no plugin", n)
	}

	write("run.sh", "#!/bin/sh\nexec "+s.Binary()+" plugin-serve webhook\n")
	write("plugin.yaml", s.MustRun("plugins", "info", filepath.Join(dir, "run.sh")))
	if out := s.MustRun("plugins", "resume", "webhook"); !strings.Contains(out, "webhook: ready") {
		t.Errorf("plugins resume prints %s", out)
	}
	s.Eventually("what was kept is delivered", func() error {
		if n := len(receiver.Deliveries()); n == 0 {
			return errors.New("nothing is delivered")
		}
		return nil
	})
	pids := [2]string{s.MustRun("plugins", "info", "webhook")}
	s.MustRun("plugins", "reload", "webhook")
	pids[1] = s.MustRun("plugins", "info", "webhook")
	if pids[0] == pids[1] {
		t.Errorf("a reload changes nothing: %s", pids[0])
	}
	if out, err := s.Run("plugins", "reload", "nobody"); err == nil || !strings.Contains(out, "404") {
		t.Errorf("reload of nobody: %v, prints %s", err, out)
	}
}
