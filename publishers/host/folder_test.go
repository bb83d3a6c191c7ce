package host_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/plugins/manifest"
	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/host"
)

// folder is a plugin as it is installed.
type folder struct {
	t       *testing.T
	dir     string
	version string
	mode    string
	more    string // of plugin.yaml
}

// installed makes a plugin named it in a folder of its own below dir.
func installed(t *testing.T, dir, name string) *folder {
	t.Helper()
	f := &folder{t: t, dir: filepath.Join(dir, name), version: "1.0.0", mode: "fake"}
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f.write()
	return f
}

// program is a script that runs this test binary as a plugin.
func (f *folder) program() string {
	self, err := os.Executable()
	if err != nil {
		f.t.Fatal(err)
	}
	return fmt.Sprintf("#!/bin/sh\nTEST_NAME=%s TEST_VERSION=%s %s=%s exec %s '-test.run=^$'\n",
		filepath.Base(f.dir), f.version, modeKey, f.mode, self)
}

// write installs program and manifest as they are to be now.
func (f *folder) write() {
	f.t.Helper()
	program := f.program()
	sum := sha256.Sum256([]byte(program))
	f.file("run.sh", program)
	f.file(manifest.FileName, fmt.Sprintf("name: %s\nversion: %s\nprotocols: [1]\nschemes: [fake]\nentry:\n  any: {path: run.sh, sha256: %s}\n%s",
		filepath.Base(f.dir), f.version, hex.EncodeToString(sum[:]), f.more))
}

// file replaces a file, as installers do.
func (f *folder) file(name, content string) {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	if err := os.WriteFile(path+".new", []byte(content), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		f.t.Fatal(err)
	}
}

// inFolder configures a plugin named it that is installed in a folder.
func inFolder(t *testing.T) (*folder, host.Config) {
	t.Helper()
	cfg := config(t, "")
	dir := t.TempDir()
	cfg.PluginDirs = []string{dir}
	cfg.CopyDir = filepath.Dir(cfg.RunDir)
	p := cfg.Plugins["it"]
	cfg.Plugins["it"] = host.PluginConfig{TLS: p.TLS}
	return installed(t, dir, "it"), cfg
}

// state waits for a state of the plugin it.
func (s *started) state(want host.State) host.Process {
	s.t.Helper()
	var it host.Process
	eventually(s.t, "plugin is "+string(want), func() bool {
		for _, p := range s.host.Processes() {
			if p.Name == "it" {
				it = p
			}
		}
		return it.State == want
	})
	return it
}

// refused waits for the quarantine of a plugin and its reason.
func (s *started) refused(want string) {
	s.t.Helper()
	if p := s.state(host.Quarantined); !strings.Contains(p.Problem, want) {
		s.t.Errorf("problem = %q, want %q in it", p.Problem, want)
	}
	if got, err := s.publish("fake://ok", "d"); !unavailable(err) || len(got) > 0 {
		s.t.Errorf("Publish() = %v, %v, want ErrUnavailable", got, err)
	}
}

func TestPluginIsFoundByItsManifestAndRunAsACheckedCopy(t *testing.T) {
	t.Parallel()
	f, cfg := inFolder(t)
	s := start(t, cfg)
	if name, err := s.host.Select("", "fake://ok"); name != "it" || err != nil {
		t.Errorf("Select() = %q, %v", name, err)
	}
	p := s.process(0)
	s.mustDeliver()
	if p.Version != "1.0.0" || p.Origin != host.Folder || p.Path != f.dir || !cmp.Equal(p.Schemes, []string{"fake"}) {
		t.Errorf("process %+v", p)
	}
	// What is changed in the folder now changes nothing: the copy runs again.
	f.file("run.sh", "#!/bin/sh\nexit 7\n")
	kill(t, p.PID)
	s.process(1)
	s.mustDeliver()
	copies, err := filepath.Glob(cfg.CopyDir + "/*/it-*/run.sh")
	if err != nil || len(copies) != 1 {
		t.Fatalf("copies %v, %v", copies, err)
	}
	if info, err := os.Stat(filepath.Dir(copies[0])); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder of the copy: %v, %v, want it for its owner only", info, err)
	}
	// A reload looks at the folder, and the old one stays if that is not right.
	if err := s.host.Reload(t.Context(), "it"); err == nil || !strings.Contains(err.Error(), "wrong checksum") {
		t.Errorf("Reload() = %v, want it to name the checksum", err)
	}
	s.mustDeliver()
	// Nor is a copy run that somebody has changed.
	f.write()
	if err := os.Chmod(copies[0], 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copies[0], []byte("#!/bin/sh\nexit 8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	kill(t, s.process(1).PID)
	s.process(2)
	s.mustDeliver()
}

func TestPluginThatIsNotWhatItsManifestSaysIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(f *folder)
		want   string
	}{
		"another program": {func(f *folder) { f.file("run.sh", f.program()+"#") }, "wrong checksum: "},
		"no program":      {func(f *folder) { f.remove("run.sh") }, "no such file"},
		"another version": {func(f *folder) {
			f.version = "1.0.1"
			f.file("run.sh", f.program())
			f.version = "1.0.0"
			f.sums("1.0.1")
		}, "version: the manifest says 1.0.0, the plugin answers 1.0.1"},
		"a broken manifest":   {func(f *folder) { f.file(manifest.FileName, "name: it\nverson: 1") }, "plugin.yaml:2: verson: unknown key"},
		"no manifest":         {func(f *folder) { f.remove(manifest.FileName) }, "no plugin of this name is in "},
		"for another machine": {func(f *folder) { f.replace("any:", "plan9/mips:") }, "entry: none for "},
		"for a later Fresnel": {func(f *folder) { f.more = "min_host: 99.0.0\n"; f.write() }, "needs Fresnel 99.0.0 or later"},
		"another contract":    {func(f *folder) { f.replace("[1]", "[2]") }, "speaks [2] of the contract"},
		"others may write":    {func(f *folder) { f.mode777() }, "can be changed by others"},
		"a link that leaves": {func(f *folder) {
			f.remove("run.sh")
			f.outside()
		}, "run.sh: path escapes from parent"},
		"a script without interpreter": {func(f *folder) {
			f.file("run.sh", "nonsense")
			f.sumsOf("nonsense")
		}, "exec format error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, cfg := inFolder(t)
			cfg.Version = "1.0.0"
			cfg.HealthInterval = 0x1p63 - 1 // nobody looks whether it has changed
			c.change(f)
			s := start(t, cfg)
			s.refused(c.want)
			if errs := s.host.Check(); len(errs) == 0 && name != "another program" && name != "no program" &&
				name != "another version" && name != "a link that leaves" && name != "a script without interpreter" {
				t.Error("Check() is content without running it")
			}
			*f = folder{t: f.t, dir: f.dir, version: "1.0.0", mode: "fake"}
			if err := os.Chmod(f.dir, 0o755); err != nil {
				t.Fatal(err)
			}
			f.remove("run.sh")
			f.write()
			if err := s.host.Resume(t.Context(), "it"); err != nil {
				t.Errorf("Resume() of the mended plugin = %v", err)
			}
			s.mustDeliver()
		})
	}
}

func (f *folder) remove(name string) {
	f.t.Helper()
	if err := os.RemoveAll(filepath.Join(f.dir, name)); err != nil {
		f.t.Fatal(err)
	}
}

func (f *folder) replace(was, is string) {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(f.dir, manifest.FileName))
	if err != nil {
		f.t.Fatal(err)
	}
	f.file(manifest.FileName, strings.Replace(string(b), was, is, 1))
}

// sums has the manifest vouch for the program of another version.
func (f *folder) sums(version string) {
	v := f.version
	f.version = version
	program := f.program()
	f.version = v
	f.sumsOf(program)
}

func (f *folder) sumsOf(program string) {
	is, was := sha256.Sum256([]byte(program)), sha256.Sum256([]byte(f.program()))
	f.replace(hex.EncodeToString(was[:]), hex.EncodeToString(is[:]))
}

func (f *folder) mode777() {
	f.t.Helper()
	if err := os.Chmod(f.dir, 0o777); err != nil {
		f.t.Fatal(err)
	}
}

func (f *folder) outside() {
	f.t.Helper()
	other := filepath.Join(f.t.TempDir(), "run.sh")
	if err := os.WriteFile(other, []byte(f.program()), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Symlink(other, filepath.Join(f.dir, "run.sh")); err != nil {
		f.t.Fatal(err)
	}
}

func TestChangedFilesBringAPluginBackFromQuarantine(t *testing.T) {
	t.Parallel()
	f, cfg := inFolder(t)
	cfg.HealthInterval = 50 * time.Millisecond
	f.file("run.sh", "#!/bin/sh\n")
	s := start(t, cfg)
	s.refused("wrong checksum")
	f.write()
	s.process(1)
	s.mustDeliver()
}

func TestCopiesAreNotMadeWhereOthersCanChangeThem(t *testing.T) {
	t.Parallel()
	f := installed(t, t.TempDir(), "it")
	m, err := manifest.Read(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	into := t.TempDir()
	if err := os.Chmod(into, 0o777); err != nil {
		t.Fatal(err)
	}
	if argv, err := host.CopyProgram(m, f.dir, into, false); err == nil || !strings.Contains(err.Error(), "can be changed by others") {
		t.Errorf("CopyProgram() = %v, %v", argv, err)
	}
}

// TestProgramSwappedMeanwhileIsNotRun: whoever changes the program while it is being
// checked gets either the right one run or none.
func TestProgramSwappedMeanwhileIsNotRun(t *testing.T) {
	t.Parallel()
	f := installed(t, t.TempDir(), "it")
	m, err := manifest.Read(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	good := f.program()
	evil := strings.Repeat("#", len(good)) // of the same length
	stop, swapped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(swapped)
		for {
			select {
			case <-stop:
				return
			default:
				f.file("run.sh", evil)
				f.file("run.sh", good)
			}
		}
	}()
	ran, refused := 0, 0
	for i := range 500 {
		argv, err := host.CopyProgram(m, f.dir, filepath.Join(t.TempDir(), fmt.Sprint(i)), i%2 == 0)
		if err != nil {
			refused++
			continue
		}
		ran++
		if b, err := os.ReadFile(argv[0]); err != nil || string(b) != good {
			t.Fatalf("%v would run %q, %v", argv, b, err)
		}
	}
	close(stop)
	<-swapped
	if ran == 0 || refused == 0 {
		t.Errorf("%d would be run and %d refused; want some of both", ran, refused)
	}
}

func TestListingRunsNothing(t *testing.T) {
	t.Parallel()
	f, cfg := inFolder(t)
	marker := filepath.Join(t.TempDir(), "ran")
	f.file("run.sh", "#!/bin/sh\ntouch "+marker+"\n")
	h, err := host.New(cfg, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ps := h.Processes()
	if len(ps) != 1 || ps[0].Version != "1.0.0" || ps[0].State != host.Discovered {
		t.Errorf("Processes() = %+v", ps)
	}
	if m, err := h.Manifest("it"); err != nil || m.Name != "it" {
		t.Errorf("Manifest() = %+v, %v", m, err)
	}
	if errs := append(h.Check(), h.CheckDestination("it", delivery.Destination{URI: "fake://ok"})...); len(errs) > 0 {
		t.Errorf("problems: %v", errs)
	}
	if _, err := os.Stat(marker); !os.IsNotExist(err) {
		t.Error("the plugin was run")
	}
}

func TestOnlyNamedPluginsAreUsed(t *testing.T) {
	t.Parallel()
	f, cfg := inFolder(t)
	installed(t, filepath.Dir(f.dir), "other")
	h, err := host.New(cfg, nil, nil)
	if err != nil || len(h.Processes()) != 1 || h.Plugin("other") != nil {
		t.Errorf("New() = %v, plugins %+v", err, h.Processes())
	}
	cfg.Plugins["it"] = host.PluginConfig{Disabled: true}
	if h, err = host.New(cfg, nil, nil); err != nil || len(h.Processes()) != 0 {
		t.Errorf("New() = %v, plugins %+v", err, h.Processes())
	}
}

func TestPluginInstalledTwiceIsNotChosenByChance(t *testing.T) {
	t.Parallel()
	f, cfg := inFolder(t)
	twice := t.TempDir()
	installed(t, twice, "it")
	cfg.PluginDirs = append(cfg.PluginDirs, twice)
	s := start(t, cfg)
	s.refused("there are two plugins of this name")
	cfg.Plugins["it"] = host.PluginConfig{Path: f.dir, TLS: "off"}
	s = start(t, cfg)
	s.process(0)
	s.mustDeliver()
}

func TestBrokenPluginStopsNoOther(t *testing.T) {
	t.Parallel()
	f, cfg := inFolder(t)
	sick := installed(t, filepath.Dir(f.dir), "sick")
	sick.file(manifest.FileName, "name: [")
	cfg.Plugins["sick"] = host.PluginConfig{TLS: "off"}
	s := start(t, cfg)
	s.process(0)
	s.mustDeliver()
	name, err := s.host.Select("", "sms:1")
	if err != nil || !host.Undecided(name) {
		t.Errorf("Select() = %q, %v; what would serve sms may be the one that cannot be read", name, err)
	}
	if it := s.host.Plugin("sick"); it == nil {
		t.Fatal("there is no such plugin")
	}
	eventually(t, "the sick one says why", func() bool { return s.log.has(slog.LevelWarn, "plugin.yaml: ") })
}
