//go:build real

package configs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnitsAreAccepted asks systemd itself. The binary need not be installed: another
// one stands in for it.
func TestUnitsAreAccepted(t *testing.T) {
	t.Parallel()
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("there is no systemd-analyze; apt-get install systemd provides it")
	}
	dir := t.TempDir()
	args := []string{"verify", "--man=no"}
	for _, name := range []string{"fresnel@.service", "fresnel.service", "fresnel.target"} {
		text := strings.ReplaceAll(read(t, "deploy/"+name), "/usr/bin/fresnel", "/bin/true")
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// It exits with 0 for keys that it does not know, too. What it says of units of this
	// machine that ours name is not our affair.
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "fresnel") {
			t.Errorf("systemd-analyze verify: %s", line)
		}
	}
}
