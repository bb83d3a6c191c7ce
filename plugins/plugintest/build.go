package plugintest

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
)

// Build builds the Go program in a folder, for Config.Path.
func Build(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin")
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "go", "build", "-o", path, ".")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}
