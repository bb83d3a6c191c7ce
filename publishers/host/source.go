package host

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/fresnel-search/fresnel/plugins/manifest"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// The origins of a plugin.
const (
	BuiltIn = "built in"
	Folder  = "folder"
	Program = "program"
	Remote  = "remote"
)

// source is where a plugin comes from and what is known of it before it runs.
type source struct {
	name     string
	origin   string
	config   PluginConfig
	limits   Limits
	manifest manifest.Manifest // without a name if there is none
	schemes  []string
	path     string   // folder, program or address
	argv     []string // of what is run where it is: what is built in, and programs
	problem  error    // why it cannot be used
	ran      bool     // it was ready once, as it is
}

// sources are all plugins that the configuration names, in the order in which they
// are asked for a scheme: first what is built in.
func (c Config) sources() []source {
	var list []source
	built := map[string]bool{}
	for _, b := range c.Builtins {
		name := b.Manifest.Name
		p := c.Plugins[name]
		if p.Path == "" && p.Address == "" {
			built[name] = true
			list = append(list, source{
				name: name, origin: BuiltIn, config: p, limits: c.limits(p), manifest: b.Manifest,
				schemes: b.Manifest.Schemes, argv: append(slices.Clone(b.Argv), p.Args...), path: b.Argv[0],
			})
		}
	}
	installed := c.installed()
	for _, name := range slices.Sorted(maps.Keys(c.Plugins)) {
		if !built[name] {
			list = append(list, c.source(name, installed))
		}
	}
	return slices.DeleteFunc(list, func(s source) bool { return s.config.Disabled })
}

// source finds a plugin that is not built in.
func (c Config) source(name string, installed map[string][]found) source {
	p := c.Plugins[name]
	s := source{name: name, config: p, limits: c.limits(p), schemes: p.Schemes}
	switch {
	case p.Address != "":
		s.origin, s.path = Remote, p.Address
	case p.Path != "":
		s.fromPath(p.Path)
	default:
		s.fromInstalled(c.PluginDirs, installed[name])
	}
	if s.origin == Folder && s.problem == nil {
		s.problem = s.usable(c.Version)
		s.schemes = s.manifest.Schemes
	}
	return s
}

func (s *source) fromPath(path string) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		s.origin, s.path = Folder, path
		s.manifest, s.problem = manifest.Read(path)
		return
	}
	s.origin = Program
	found, err := exec.LookPath(path)
	if err != nil {
		found = path // it may yet be installed; starting it will tell
	}
	if s.path, err = filepath.Abs(found); err != nil {
		s.problem = err
	}
	s.argv = append([]string{s.path}, s.config.Args...)
}

func (s *source) fromInstalled(dirs []string, candidates []found) {
	s.origin = Folder
	switch len(candidates) {
	case 0:
		s.problem = errors.New("no plugin of this name is built in, none is in plugin_dirs, and it has no path or address")
		if len(dirs) > 0 {
			s.problem = fmt.Errorf("no plugin of this name is in %s", strings.Join(dirs, ", "))
		}
	case 1:
		s.path, s.manifest, s.problem = candidates[0].dir, candidates[0].manifest, candidates[0].problem
	default:
		s.problem = fmt.Errorf("there are two plugins of this name, in %s and %s; choose one by path", candidates[0].dir, candidates[1].dir)
	}
}

// usable checks what is in a folder without running it.
func (s *source) usable(version string) error {
	if s.manifest.Name != s.name {
		return fmt.Errorf("%s is the plugin %s", s.path, s.manifest.Name)
	}
	if err := s.manifest.Supports(version, publisherv1.ProtocolVersion); err != nil {
		return err
	}
	if _, err := s.manifest.For(runtime.GOOS, runtime.GOARCH); err != nil {
		return err
	}
	return guarded(s.path)
}

// found is a folder in one of PluginDirs.
type found struct {
	dir      string
	manifest manifest.Manifest
	problem  error
}

// installed reads the manifests in PluginDirs, by plugin name; one that cannot be
// read goes by the name of its folder. Nothing is run.
func (c Config) installed() map[string][]found {
	all := map[string][]found{}
	for _, parent := range c.PluginDirs {
		entries, err := os.ReadDir(parent)
		if err != nil {
			continue // configured plugins are then said to be missing
		}
		for _, e := range entries {
			dir := filepath.Join(parent, e.Name())
			m, err := manifest.Read(dir)
			if errors.Is(err, fs.ErrNotExist) || strings.HasPrefix(e.Name(), ".") {
				continue
			}
			f := found{dir: dir, manifest: m, problem: err}
			if err == nil {
				f.problem = guarded(parent)
			}
			name := m.Name
			if name == "" {
				name = e.Name()
			}
			all[name] = append(all[name], f)
		}
	}
	return all
}

// guarded refuses a file or folder that others than its owner may change, and one
// that belongs to a stranger.
func guarded(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	const others = 0o022
	if info.Mode().Perm()&others != 0 {
		return fmt.Errorf("%s can be changed by others than its owner (mode %s): chmod go-w", path, info.Mode().Perm())
	}
	if uid, ok := owner(info); ok && uid != 0 && uid != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d, neither root nor the user of this process", path, uid)
	}
	return nil
}

// checkOptions returns what is wrong with a destination's options, as far as that is
// known without the plugin.
func (s *source) checkOptions(options map[string]string) []error {
	return s.manifest.OptionsSchema.CheckOptions(options)
}

// checkConfig returns what is wrong with the configuration of the plugin.
func (s *source) checkConfig() []error {
	config := s.config.Config
	if config == nil {
		config = map[string]any{}
	}
	return s.manifest.ConfigSchema.Check(config)
}
