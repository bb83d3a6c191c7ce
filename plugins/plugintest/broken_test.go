package plugintest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fresnel-search/fresnel/plugins/manifest"
	"github.com/fresnel-search/fresnel/plugins/plugintest"
)

var brokenPlugin = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "broken")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // P7 runs it as another user
		return "", err
	}
	path := filepath.Join(dir, "broken")
	cmd := exec.CommandContext(context.Background(), "go", "build", "-o", path, "./testdata/broken")
	cmd.Stderr = os.Stderr
	return path, cmd.Run()
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := brokenPlugin(); err == nil {
		if err := os.RemoveAll(filepath.Dir(path)); err != nil && code == 0 {
			code = 1
		}
	}
	os.Exit(code)
}

// patience is for machines that run many tests at once.
const patience = 5

// verify runs the kit over the broken plugin.
func verify(t *testing.T, mode string, c plugintest.Config) *plugintest.Report {
	t.Helper()
	path, err := brokenPlugin()
	if err != nil {
		t.Fatal(err)
	}
	c.Path, c.Args, c.Patience = path, []string{"-mode", mode, "-dir", t.TempDir()}, patience
	r, err := plugintest.Verify(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// musts are the checks of level MUST.
func musts(r *plugintest.Report) (ids []string) {
	for _, c := range r.Checks {
		if c.Level == plugintest.Must {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

func whole() *manifest.Manifest {
	return &manifest.Manifest{Name: "broken", Version: "1.0.0", Schemes: []string{"https", "http"}, Protocols: []int{1}}
}

// variants are more defects that a check has to find.
func variants(id string) []string {
	return map[string][]string{
		"C2": {"C2-default"}, "C8": {"C8-manifest"}, "D1": {"D1-twice", "D1-lost"}, "D5": {"D5-all"}, "S1": {"S1-error"}, "X1": {"X1-cut"},
	}[id]
}

// TestEveryMustFailsForItsDefectAlone holds, for each check of level MUST, a plugin
// with just the defect that the check is about.
func TestEveryMustFailsForItsDefectAlone(t *testing.T) {
	t.Parallel()
	good := verify(t, "", plugintest.Config{MustOnly: true, Manifest: whole()})
	for _, c := range good.Checks {
		if c.Status != plugintest.Passed {
			t.Errorf("a plugin without defects: %s %s %s: %s", c.ID, c.Title, c.Status, c.Detail)
		}
	}
	// Verifying is mostly waiting, so more run at once than tests would.
	const together = 8
	room, reports := make(chan struct{}, together), map[string]chan outcome{}
	for _, id := range musts(good) {
		for _, mode := range append(variants(id), id) {
			c, report := broken(t, mode), make(chan outcome, 1)
			reports[mode] = report
			go func() {
				room <- struct{}{}
				defer func() { <-room }()
				r, err := plugintest.Verify(t.Context(), c)
				report <- outcome{r, err}
			}()
		}
	}
	for _, id := range musts(good) {
		for _, mode := range append(variants(id), id) {
			o := <-reports[mode]
			t.Run(mode, func(t *testing.T) { failsAlone(t, id, o) })
		}
	}
}

// outcome is that of a verification.
type outcome struct {
	report *plugintest.Report
	err    error
}

// broken is how to verify a plugin with a defect. Most defects have nothing to do with
// TLS, which costs more than all the rest.
func broken(t *testing.T, mode string) plugintest.Config {
	t.Helper()
	path, err := brokenPlugin()
	if err != nil {
		t.Fatal(err)
	}
	m := whole()
	switch mode {
	case "P9":
		m.Protocols = []int{1, 2}
	case "C8-manifest":
		m.Version = "1.2.0"
	case "C1":
		m = nil
	}
	return plugintest.Config{
		Path: path, Args: []string{"-mode", mode, "-dir", t.TempDir()}, MustOnly: true, Manifest: m, Patience: patience, NoTLS: mode[0] != 'P',
	}
}

func failsAlone(t *testing.T, id string, o outcome) {
	t.Helper()
	if o.err != nil {
		t.Fatal(o.err)
	}
	for _, c := range o.report.Checks {
		switch {
		case c.ID == id && c.Status != plugintest.Failed:
			t.Errorf("%s %s: %s (%s), want it failed", c.ID, c.Title, c.Status, c.Detail)
		case c.ID == id:
			t.Log(c.Detail)
		case c.Status == plugintest.Failed:
			t.Errorf("%s %s fails too: %s", c.ID, c.Title, c.Detail)
		}
	}
	if o.report.Passed() {
		t.Error("the plugin has passed")
	}
}

// TestShouldsWarn holds a plugin for each check of level SHOULD that one can fail on
// purpose; the plugin still passes.
func TestShouldsWarn(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"P3b", "P7", "D14b", "D16", "D18", "D19", "H1b", "H2", "X2b", "S3"} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			if id == "P7" && os.Geteuid() != 0 {
				t.Skip("only root can start a plugin as another user: try sudo")
			}
			only := []string{"P0", id}
			if id == "S3" {
				only = []string{"P0", "D1", id}
			}
			r := verify(t, id, plugintest.Config{Only: only})
			if last := r.Checks[len(r.Checks)-1]; last.ID != id || last.Status != plugintest.Warned {
				t.Errorf("%s: %s (%s), want a warning", id, last.Status, last.Detail)
			}
			if !r.Passed() {
				t.Errorf("the plugin has not passed: %+v", r.Checks)
			}
		})
	}
}

// TestRealDestinationsStandInForTheKitsOwn is what plugins get that speak no HTTP.
func TestRealDestinationsStandInForTheKitsOwn(t *testing.T) {
	t.Parallel()
	over := make(chan struct{})
	got := map[string]*atomic.Int64{"/ok": {}, "/503": {}, "/400": {}, "/hang": {}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got[r.URL.Path].Add(1)
		switch r.URL.Path {
		case "/503", "/400":
			w.WriteHeader(map[string]int{"/503": 503, "/400": 400}[r.URL.Path])
		case "/hang":
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return
			}
			select {
			case <-r.Context().Done():
			case <-over:
			}
		}
	}))
	defer srv.Close()
	defer close(over)
	f, err := plugintest.ParseFixtures([]byte(strings.ReplaceAll(`{"destinations": {
		"ok": {"uri": "URL/ok"}, "transient": {"uri": "URL/503"}, "permanent": {"uri": "URL/400"}, "hang": {"uri": "URL/hang"}
	}}`, "URL", srv.URL)))
	if err != nil {
		t.Fatal(err)
	}
	r := verify(t, "", plugintest.Config{Only: []string{"P0", "D1", "D2", "D5", "D7", "D10", "D12", "D14", "H1", "X1", "X4"}, Fixtures: f})
	for _, c := range r.Checks {
		if c.Status != plugintest.Passed {
			t.Errorf("%s %s: %s: %s", c.ID, c.Title, c.Status, c.Detail)
		}
	}
	for path, n := range got {
		if n.Load() == 0 {
			t.Errorf("%s was not used", path)
		}
	}
	for _, bad := range []string{`{"destinations": {"good": {}}}`, `{"destination": {"url": "x"}}`, `[]`} {
		if _, err := plugintest.ParseFixtures([]byte(bad)); err == nil {
			t.Errorf("ParseFixtures(%s) = nil", bad)
		}
	}
}

// TestPluginWithoutFixturesIsNotPassed: its schemes say nothing to the kit.
func TestPluginWithoutFixturesIsNotPassed(t *testing.T) {
	t.Parallel()
	r := verify(t, "other-scheme", plugintest.Config{MustOnly: true})
	if d1 := r.Checks[slices.IndexFunc(r.Checks, func(c plugintest.Result) bool { return c.ID == "D1" })]; r.Passed() ||
		d1.Status != plugintest.Failed || !strings.Contains(d1.Detail, "fixtures") {
		t.Errorf("D1 %s: %s", d1.Status, d1.Detail)
	}
	for _, c := range r.Checks {
		if c.Status == plugintest.Failed && c.ID != "D1" {
			t.Errorf("%s %s fails too: %s", c.ID, c.Title, c.Detail)
		}
	}
}

func TestProgramThatIsNoPluginFailsOnceAndNothingElseIsTried(t *testing.T) {
	t.Parallel()
	r, err := plugintest.Verify(t.Context(), plugintest.Config{Path: "echo"})
	if err != nil {
		t.Fatal(err)
	}
	if r.Passed() || r.Counts[plugintest.Passed] != 0 {
		t.Errorf("echo: %+v", r.Checks)
	}
	for _, c := range r.Checks[1:] {
		if c.Status != plugintest.Skipped {
			t.Errorf("%s %s: %s", c.ID, c.Title, c.Status)
		}
	}
	if _, err := plugintest.Verify(t.Context(), plugintest.Config{Path: "no/such/file"}); err == nil {
		t.Error("no error for a program that is not there")
	}
	if _, err := plugintest.Verify(t.Context(), plugintest.Config{Path: "echo", Only: []string{"Z1"}}); err == nil {
		t.Error("no error for a check that is not there")
	}
}

func TestReportSaysTheSameToMachines(t *testing.T) {
	t.Parallel()
	r := verify(t, "D6", plugintest.Config{Only: []string{"P0", "P9", "D6", "D19", "H1"}})
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Passed bool
		Plugin struct{ Name, Version, SHA256 string }
		Kit    string
		Checks []struct{ ID, Level, Status, Detail string }
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	var statuses []string
	for _, c := range got.Checks {
		statuses = append(statuses, c.ID+" "+c.Level+" "+c.Status)
	}
	want := []string{"P0 MUST passed", "P9 MUST skipped", "D6 MUST failed", "D19 SHOULD passed", "H1 MUST passed"}
	if got.Passed || got.Plugin.Name != "broken" || len(got.Plugin.SHA256) != 64 || got.Kit != plugintest.Version || !slices.Equal(statuses, want) {
		t.Errorf("JSON: %s", b)
	}
	var out bytes.Buffer
	if err := r.WriteJUnit(&out); err != nil {
		t.Fatal(err)
	}
	var suite struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Skipped  int `xml:"skipped,attr"`
		Cases    []struct {
			Name    string `xml:"name,attr"`
			Failure *struct {
				Text string `xml:",chardata"`
			} `xml:"failure"`
		} `xml:"testcase"`
	}
	if err := xml.Unmarshal(out.Bytes(), &suite); err != nil {
		t.Fatal(err)
	}
	if suite.Tests != 5 || suite.Failures != 1 || suite.Skipped != 1 || suite.Cases[2].Failure == nil ||
		!strings.Contains(suite.Cases[2].Failure.Text, "rejected SCOPE_DELIVERY") {
		t.Errorf("JUnit: %s", out.String())
	}
}
