package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Lab runs the scripts of test/lab: it starts, breaks and stops real servers.
type Lab struct {
	dir   string // of the scripts
	env   []string
	shift int
}

// SharedLab is the lab of the servers that the environment names, to break them. Who
// breaks a server repairs it before the test ends. The test is skipped, or fails if
// CI=true, where LAB_DIR does not say which lab that is.
func SharedLab(t testing.TB) *Lab {
	t.Helper()
	Need(t, "LAB_DIR")
	return &Lab{dir: scripts(t)}
}

// NewLab is a lab of the test's own, without any server so far, on other ports than
// the shared one: shift, such as 2000, is added to all of them, and no two tests at
// once may use the same. Everything in it is stopped and deleted when the test ends.
// It lies in LAB_DIR, with which it ends if the test does not get to that.
func NewLab(t testing.TB, shift int) *Lab {
	t.Helper()
	dir, err := os.MkdirTemp(Need(t, "LAB_DIR"), "lab-") //nolint:usetesting // a parent of t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // the servers run as other users
		t.Fatal(err)
	}
	l := &Lab{dir: scripts(t), env: []string{"LAB_DIR=" + dir, fmt.Sprintf("LAB_SHIFT=%d", shift)}, shift: shift}
	t.Cleanup(func() {
		l.Run(t, nil, "lab.sh", "down")
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return l
}

// Run runs a script of the lab, such as "kafka.sh", "kill9", "2", with additional
// environment, and returns what it printed. The test fails if the script does.
func (l *Lab) Run(t testing.TB, env []string, script string, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(l.dir, script), args...)
	cmd.Env = append(append(os.Environ(), l.env...), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", script, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Elasticsearch and OpenSearch are the URL of node i, and Kafka the address of broker
// i (from 1), of a lab of the test's own.
func (l *Lab) Elasticsearch(i int) string { return fmt.Sprintf("http://127.0.0.1:%d", 19200+l.shift+i) }

// OpenSearch is like Elasticsearch.
func (l *Lab) OpenSearch(i int) string { return fmt.Sprintf("http://127.0.0.1:%d", 29200+l.shift+i) }

// Kafka is like Elasticsearch; the list of n brokers is made of it.
func (l *Lab) Kafka(i int) string { return fmt.Sprintf("127.0.0.1:%d", 19091+l.shift+i) }

// scripts finds test/lab.
func scripts(t testing.TB) string { return Testdata(t, "lab") }

// Testdata is the path of something in the folder test of this module.
func Testdata(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "test", name)
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("the test does not run inside of the module")
		}
	}
}
