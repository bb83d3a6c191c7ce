package main

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// inDir runs a command of the system.
func inDir(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod -buildvcs=false", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// TestNewPluginIsARepositoryThatBuildsAndPasses does what its author would do next.
func TestNewPluginIsARepositoryThatBuildsAndPasses(t *testing.T) {
	t.Parallel()
	tree, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "ticket")
	if r := fresnel(t, "plugins", "new", "ticket", "--dir", dir, "--tree", tree); r.code != 0 || !strings.Contains(r.out, "make test") {
		t.Fatalf("plugins new: exit code %d\n%s%s", r.code, r.out, r.errs)
	}
	for _, name := range []string{"go.mod", "main.go", "main_test.go", "plugin.yaml", "fixtures.json", "README.md", "Makefile", ".gitignore"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || strings.Contains(string(text), "{{") || len(text) == 0 {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
	if out := inDir(t, dir, "gofmt", "-l", "."); out != "" {
		t.Errorf("gofmt would change %s", out)
	}
	if top := strings.TrimSpace(inDir(t, dir, "git", "rev-parse", "--show-toplevel")); filepath.Base(top) != "ticket" {
		t.Errorf("it belongs to the repository %s", top)
	}
	sums, err := os.ReadFile(filepath.Join(tree, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	// What the tree was built with is here already, whatever has come out since.
	if err := os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o600); err != nil {
		t.Fatal(err)
	}
	inDir(t, dir, "go", "mod", "tidy")
	out := inDir(t, dir, "go", "test", "-v", "./...")
	if strings.Contains(out, "--- FAIL") || !regexp.MustCompile(`--- PASS: \S+/X4_`).MatchString(out) {
		t.Errorf("its test prints\n%s", out)
	}
	inDir(t, dir, "make", "build")
	if out := inDir(t, dir, "git", "status", "--porcelain"); strings.Contains(out, "dist") {
		t.Errorf("what is built would be committed:\n%s", out)
	}
	verifiesAsShipped(t, dir)
	for args, want := range map[string]string{
		"ticket --dir " + dir: "file exists", "Ticket": "lower-case word", "x --tree " + t.TempDir(): "is not Fresnel's source",
	} {
		if r := fresnel(t, append([]string{"plugins", "new"}, strings.Fields(args)...)...); r.code == 0 || !strings.Contains(r.errs, want) {
			t.Errorf("plugins new %s: exit code %d, says %q, want %q", args, r.code, r.errs, want)
		}
	}
}

// verifiesAsShipped gives the folder to verify, whole and then with another program.
func verifiesAsShipped(t *testing.T, dir string) {
	t.Helper()
	args := []string{"plugins", "verify", filepath.Join(dir, "dist/ticket"), "--fixtures", filepath.Join(dir, "fixtures.json"), "--only", "P0,P9,C8,D1,D6,S5", "--patience", "5"}
	r := fresnel(t, args...)
	if r.code != 0 || !strings.Contains(r.out, "6 passed, 0 failed, 0 warnings, 0 skipped") || !strings.Contains(r.out, "ticket 0.1.0, sha256 ") {
		t.Errorf("verify: exit code %d\n%s%s", r.code, r.out, r.errs)
	}
	program := filepath.Join(dir, "dist/ticket/fresnel-publisher-ticket")
	f, err := os.OpenFile(program, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if r := fresnel(t, args...); r.code != 1 || !strings.Contains(r.errs, "its SHA-256 is ") {
		t.Errorf("with another program: exit code %d\n%s%s", r.code, r.out, r.errs)
	}
}

func TestVerifyReportsInEveryForm(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fixtures, junit := filepath.Join(dir, "fixtures.yaml"), filepath.Join(dir, "junit.xml")
	if err := os.WriteFile(fixtures, []byte("destination: {uri: 'http://x/${mark}'}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := fresnel(t, "plugins", "verify", "echo", "--json", "--junit", junit, "--fixtures", fixtures)
	var report struct {
		Passed bool
		Checks []struct{ ID, Status string }
	}
	if err := json.Unmarshal([]byte(r.out), &report); err != nil {
		t.Fatalf("%v\n%s", err, r.out)
	}
	if r.code != 1 || report.Passed || len(report.Checks) < 50 || report.Checks[0].Status != "failed" || !strings.Contains(r.errs, "1 check of level MUST failed") {
		t.Errorf("echo: exit code %d, %+v\n%s", r.code, report, r.errs)
	}
	var suite struct {
		Tests int `xml:"tests,attr"`
	}
	text, err := os.ReadFile(junit)
	if err == nil {
		err = xml.Unmarshal(text, &suite)
	}
	if err != nil || suite.Tests != len(report.Checks) {
		t.Errorf("JUnit: %v, %d tests, want %d", err, suite.Tests, len(report.Checks))
	}
	r = fresnel(t, "plugins", "verify", "echo", "--only", "P0,D4")
	if r.code != 1 || !regexp.MustCompile(`(?m)^P0 +MUST +FAILED +starts and speaks the contract$`).MatchString(r.out) ||
		!strings.Contains(r.out, "D4    MUST    skipped ") || !strings.Contains(r.out, "0 passed, 1 failed, 0 warnings, 1 skipped") {
		t.Errorf("echo: exit code %d\n%s%s", r.code, r.out, r.errs)
	}
	for args, want := range map[string]string{
		"no/such/program":                      "no such file",
		"echo --only Q1":                       `no check "Q1"`,
		dir:                                    "plugin.yaml",
		"echo --fixtures " + dir + "/none":     "no such file",
		"echo --fixtures " + junit:             "junit.xml",
		"echo --only P0 --junit /no/such/file": "no such file",
	} {
		if r := fresnel(t, append([]string{"plugins", "verify"}, strings.Fields(args)...)...); r.code != 1 || !strings.Contains(r.errs, want) {
			t.Errorf("verify %s: exit code %d, says %q, want %q", args, r.code, r.errs, want)
		}
	}
}
