package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// MaxRunDir is the longest path that RunDir may have: the name of a unix socket in it
// has to fit into the 107 bytes that the kernel allows.
const MaxRunDir = 65

// Config says which plugins there are and how long they get.
type Config struct {
	// RunDir holds the plugins' sockets and scratch folders; if empty, a temporary
	// folder does.
	RunDir string `yaml:"run_dir"`
	// AttemptTimeout is how long a plugin gets for the deliveries of one batch.
	AttemptTimeout time.Duration `yaml:"attempt_timeout"`
	// StartTimeout is how long a plugin may take until it is ready.
	StartTimeout time.Duration `yaml:"start_timeout"`
	// StopGrace is how long a plugin may take to finish what it has when it is stopped.
	StopGrace time.Duration `yaml:"stop_grace"`
	// HealthInterval is how often a plugin is asked for its status; after three times
	// without an answer it is restarted.
	HealthInterval time.Duration `yaml:"health_interval"`
	// BatchesPerDestination bounds the batches under way to one destination.
	BatchesPerDestination int `yaml:"batches_per_destination"`
	// Outbound goes to every plugin whose configuration has a key outbound.
	Outbound Outbound `yaml:"outbound"`
	// Plugins are those besides the built-in ones, by name.
	Plugins map[string]PluginConfig `yaml:"plugins"`
	// Builtins are the command lines of the built-in plugins, by name.
	Builtins map[string][]string `yaml:"-"`
}

// Outbound says what plugins may connect to.
type Outbound struct {
	// Allow lists networks that the address guard lets through although they are not
	// public.
	Allow []string `yaml:"allow" json:"allow,omitempty"`
	// Proxy is the URL of an HTTP proxy.
	Proxy string `yaml:"proxy" json:"proxy,omitempty"`
}

// PluginConfig describes one plugin.
type PluginConfig struct {
	Path string   `yaml:"path"`
	Args []string `yaml:"args"`
	// Env is added to the few variables that plugins get; nothing else of ours leaks.
	Env map[string]string `yaml:"env"`
	// Config is judged by the plugin.
	Config map[string]any `yaml:"config"`
	// TLS is auto, or off for gRPC libraries that cannot verify P-521 certificates.
	TLS string `yaml:"tls"`
}

// DefaultConfig returns the defaults: no plugins.
func DefaultConfig() Config {
	return Config{
		AttemptTimeout:        10 * time.Second,
		StartTimeout:          10 * time.Second,
		StopGrace:             5 * time.Second,
		HealthInterval:        5 * time.Second,
		BatchesPerDestination: 4,
	}
}

// Validate returns all problems, each with its key.
func (c Config) Validate() error {
	var errs []error
	if dir, err := filepath.Abs(c.RunDir); c.RunDir != "" && (err != nil || len(dir) > MaxRunDir) {
		errs = append(errs, fmt.Errorf("run_dir: %q is longer than %d bytes, so sockets in it could not be named", dir, MaxRunDir))
	}
	for key, d := range map[string]time.Duration{
		"attempt_timeout": c.AttemptTimeout, "start_timeout": c.StartTimeout,
		"stop_grace": c.StopGrace, "health_interval": c.HealthInterval,
	} {
		if d <= 0 {
			errs = append(errs, fmt.Errorf("%s: must be more than 0", key))
		}
	}
	if c.BatchesPerDestination <= 0 {
		errs = append(errs, errors.New("batches_per_destination: must be more than 0"))
	}
	for i, text := range c.Outbound.Allow {
		if _, err := netip.ParsePrefix(text); err != nil {
			errs = append(errs, fmt.Errorf("outbound.allow[%d]: %q is not a network such as 10.1.0.0/16", i, text))
		}
	}
	name := regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	for _, n := range slices.Sorted(maps.Keys(c.Plugins)) {
		if !name.MatchString(n) {
			errs = append(errs, fmt.Errorf("plugins.%s: a name is a lower-case word", n))
		}
		if c.Plugins[n].Path == "" {
			errs = append(errs, fmt.Errorf("plugins.%s.path: required", n))
		}
		if t := c.Plugins[n].TLS; t != "" && t != "auto" && t != "off" {
			errs = append(errs, fmt.Errorf("plugins.%s.tls: %q is neither auto nor off", n, t))
		}
	}
	return errors.Join(errs...)
}

// spec is all that is needed to start a plugin.
type spec struct {
	name   string
	argv   []string // the first is an absolute path
	env    map[string]string
	config map[string]any
	plain  bool // no TLS on the socket
}

func (c Config) specs() ([]spec, error) {
	byName := map[string]spec{}
	for name, argv := range c.Builtins {
		byName[name] = spec{name: name, argv: argv}
	}
	for name, p := range c.Plugins {
		path, err := exec.LookPath(p.Path)
		if err != nil {
			path = p.Path // it may yet be installed; starting it will tell
		}
		if path, err = filepath.Abs(path); err != nil {
			return nil, fmt.Errorf("plugins.%s.path: %w", name, err)
		}
		if _, err := json.Marshal(p.Config); err != nil {
			return nil, fmt.Errorf("plugins.%s.config: %w", name, err)
		}
		byName[name] = spec{
			name: name, argv: append([]string{path}, p.Args...), env: p.Env, config: p.Config, plain: p.TLS == "off",
		}
	}
	return slices.Collect(maps.Values(byName)), nil
}
