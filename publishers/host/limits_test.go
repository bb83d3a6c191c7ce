package host_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/host"
)

func TestPluginRunsWithinItsLimits(t *testing.T) {
	t.Parallel()
	cfg := config(t, "fake")
	cfg.PluginLimits.Files = 200
	p := cfg.Plugins["it"]
	p.Limits = host.Limits{Memory: 300 << 20, Nice: 3}
	cfg.Plugins["it"] = p
	s := start(t, cfg)
	s.process(0)
	got, err := s.publish("fake://limits", "d")
	if err != nil {
		t.Fatal(err)
	}
	text := got["d"].Message
	for _, want := range []string{"Max core file size 0", "Max open files 200"} {
		if !strings.Contains(text, want) {
			t.Errorf("limits are %s, want %s", text, want)
		}
	}
	if want := "Max data size " + strconv.Itoa(300<<20); strings.Contains(text, want) == host.RaceDetector {
		t.Errorf("limits are %s, want %s; race detector: %v", text, want, host.RaceDetector)
	}
	if want := "nice " + strconv.Itoa(min(ownNice(t)+3, 19)); !strings.HasSuffix(text, want) {
		t.Errorf("limits are %s, want %s", text, want)
	}
	if got, err = s.publish("fake://env/GOMEMLIMIT", "d"); err != nil || !strings.HasPrefix(got["d"].Message, `"`+strconv.Itoa(75<<20)) {
		t.Errorf("GOMEMLIMIT is %s, %v, want a quarter of the memory", got["d"].Message, err)
	}
}

// ownNice is our own nice value.
func ownNice(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	const nice = 16
	n, err := strconv.Atoi(strings.Fields(string(b)[strings.LastIndex(string(b), ")")+1:])[nice])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestPluginThatEatsMemoryDiesAlone: 2 GiB are asked for where 256 MiB may be had.
func TestPluginThatEatsMemoryDiesAlone(t *testing.T) {
	t.Parallel()
	if host.RaceDetector {
		t.Skip("the race detector maps more than any limit; run it by go test without -race")
	}
	f, cfg := inFolder(t)
	installed(t, filepath.Dir(f.dir), "other")
	cfg.PluginLimits.Memory = 256 << 20
	cfg.Plugins["other"] = host.PluginConfig{TLS: "off"}
	s := start(t, cfg)
	other := s.host.Plugin("other")
	s.process(0)
	pid := 0
	eventually(t, "the other is ready", func() bool {
		for _, p := range s.host.Processes() {
			if p.Name == "other" && p.State == host.Ready {
				pid = p.PID
			}
		}
		return pid != 0
	})
	began := time.Now()
	if got, err := s.publish("fake://eat", "d"); !unavailable(err) || len(got) > 0 {
		t.Errorf("Publish() = %v, %v, want that it died", got, err)
	}
	t.Logf("it died after %s", time.Since(began))
	eventually(t, "its end is in the log", func() bool {
		return strings.Contains(s.log.String(), "out of memory") || strings.Contains(s.log.String(), "cannot allocate memory")
	})
	delivered := false
	err := other.Publish(t.Context(), delivery.Destination{URI: "fake://ok"}, deliveries("d"), func(o delivery.Outcome) { delivered = o.Kind == delivery.Delivered })
	if err != nil || !delivered || gone(pid) {
		t.Errorf("the other plugin: %v, delivered %v, gone %v", err, delivered, gone(pid))
	}
	s.process(1)
	s.mustDeliver()
}

// Trap 29: children in a session of their own escape from the process group, but not
// from a cgroup.
func TestCgroupTakesChildrenThatLeftTheGroup(t *testing.T) {
	parent, err := os.MkdirTemp("/sys/fs/cgroup/unified", "fresnel-test-") //nolint:usetesting // it must be there
	if err != nil {
		if parent, err = os.MkdirTemp("/sys/fs/cgroup", "fresnel-test-"); err == nil { //nolint:usetesting // or there
			if _, err = os.Stat(filepath.Join(parent, "cgroup.kill")); err != nil {
				err = os.Remove(parent)
				parent = ""
			}
		}
	}
	if parent == "" || err != nil {
		t.Skip("no cgroup of version 2 may be made here; run it as root: sudo go test ./publishers/host -run Cgroup")
	}
	t.Cleanup(func() {
		if err := os.Remove(parent); err != nil {
			t.Error(err)
		}
	})
	cfg := config(t, "grandchild")
	cfg.Cgroup = parent
	s := start(t, cfg)
	p := s.process(0)
	said := regexp.MustCompile(`escaped=(\d+)`)
	eventually(t, "the child is known", func() bool { return said.MatchString(s.log.String()) })
	child, err := strconv.Atoi(said.FindStringSubmatch(s.log.String())[1])
	if err != nil || gone(child) {
		t.Fatalf("child %d: %v", child, err)
	}
	if in, err := filepath.Glob(parent + "/fresnel-plugin-it-*"); err != nil || len(in) != 1 {
		t.Errorf("cgroups %v, %v, want one", in, err)
	}
	kill(t, p.PID)
	eventually(t, "the child is gone, too", func() bool { return gone(child) })
	s.process(1)
	s.mustDeliver()
	s.stop()
	if in, err := filepath.Glob(parent + "/fresnel-plugin-it-*"); err != nil || len(in) != 0 {
		t.Errorf("cgroups %v, %v are left", in, err)
	}
}
