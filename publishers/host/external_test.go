package host_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/host"
)

// TestPluginOutsideTheTreeNeedsNothingOfOurs builds the smallest useful plugin in a
// module of its own, counts what it depends on, and runs it.
func TestPluginOutsideTheTreeNeedsNothingOfOurs(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(root, "plugins/sdk/testdata/ntfy/main.go"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"main.go": string(source),
		"go.sum":  string(sums),
		"go.mod": "module example.org/ntfy\n\ngo 1.26\n\nrequire github.com/fresnel-search/fresnel v0.0.0\n\n" +
			"replace github.com/fresnel-search/fresnel => " + root + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod -buildvcs=false", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	run("mod", "tidy")
	var modules []string
	for line := range strings.Lines(run("list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", ".")) {
		if m := strings.TrimSpace(line); m != "" && !slices.Contains(modules, m) {
			modules = append(modules, m)
		}
	}
	slices.Sort(modules)
	// go-plugin, grpc and protobuf, and what these three bring.
	want := []string{
		"example.org/ntfy", "github.com/fatih/color", "github.com/fresnel-search/fresnel", "github.com/golang/protobuf",
		"github.com/hashicorp/go-hclog", "github.com/hashicorp/go-plugin", "github.com/hashicorp/yamux",
		"github.com/mattn/go-colorable", "github.com/mattn/go-isatty", "github.com/oklog/run",
		"golang.org/x/net", "golang.org/x/sys", "golang.org/x/text", "google.golang.org/genproto/googleapis/rpc",
		"google.golang.org/grpc", "google.golang.org/protobuf",
	}
	if diff := cmp.Diff(want, modules); diff != "" {
		t.Error(diff)
	}
	gomod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{"/gin-gonic/", "kafka", "sqlite", "prometheus", "cobra", "yaml"} {
		if strings.Contains(string(gomod), m) {
			t.Errorf("go.mod of the plugin names %s:\n%s", m, gomod)
		}
	}
	run("build", "-o", "ntfy", ".")
	runExternal(t, filepath.Join(dir, "ntfy"))
}

func runExternal(t *testing.T, path string) {
	t.Helper()
	got := make(chan struct{}, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { got <- struct{}{} }))
	defer srv.Close()
	cfg := config(t, "")
	cfg.Outbound.Allow = []string{"127.0.0.0/8"}
	cfg.Plugins = map[string]host.PluginConfig{"it": {Path: path}}
	s := start(t, cfg)
	p := s.process(0)
	t.Logf("%s uses %d MiB", path, p.RSS>>20)
	if out, err := s.publish(srv.URL, "d"); err != nil || out["d"].Kind != delivery.Delivered {
		t.Errorf("Publish() = %v, %v", out, err)
	}
	<-got
}
