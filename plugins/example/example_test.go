// Package example_test verifies the examples as their authors would.
package example_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fresnel-search/fresnel/plugins/plugintest"
)

// passes runs the kit and wants nothing wrong, and nothing skipped but what is named.
func passes(t *testing.T, c plugintest.Config, maySkip string) {
	t.Helper()
	// What measures time or memory is for machines that do nothing else.
	c.MustOnly, c.Patience = true, 5
	r, err := plugintest.Verify(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, ch := range r.Checks {
		if ch.Status != plugintest.Passed && (ch.Status != plugintest.Skipped || !strings.Contains(maySkip, ch.ID)) {
			t.Errorf("%s %s: %s: %s", ch.ID, ch.Title, ch.Status, ch.Detail)
		}
	}
}

func TestUsefulGoPluginIs25LinesLong(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("ntfy/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(source, []byte("\n")); n > 25 {
		t.Errorf("it has %d lines", n)
	}
	passes(t, plugintest.Config{Path: plugintest.Build(t, "ntfy")}, "P9")
}

func TestPythonPluginKeepsTheContract(t *testing.T) {
	t.Parallel()
	if out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", "import grpc, google.protobuf").CombinedOutput(); err != nil {
		if mustHavePython && os.Getenv("CI") == "true" {
			t.Fatalf("python3-grpcio is missing: %v\n%s", err, out)
		}
		t.Skip("Debian's gRPC for Python is missing: apt-get install python3-grpcio")
	}
	path := filepath.Join("python", "post.py")
	t.Run("with AutoMTLS", func(t *testing.T) { t.Parallel(); passes(t, plugintest.Config{Path: path}, "P9") })
	t.Run("without TLS", func(t *testing.T) { t.Parallel(); passes(t, plugintest.Config{Path: path, NoTLS: true}, "P9 P4") })
}

// TestPluginInAModuleOfItsOwnKeepsTheContract tests the SMS plugin where nothing of the
// tree is around it, with the tests that it brings along.
func TestPluginInAModuleOfItsOwnKeepsTheContract(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("sms")); err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	mod = bytes.Replace(mod, []byte("=> ../../.."), []byte("=> "+root), 1)
	err = errors.Join(os.WriteFile(filepath.Join(dir, "go.mod"), mod, 0o600), os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"mod", "tidy"}, {"vet", "./..."}, {"test", "./..."}} {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod -buildvcs=false", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
