package host

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/plugins/manifest"
)

// MaxRunDir is the longest path that RunDir may have: the name of a unix socket in it
// has to fit into the 107 bytes that the kernel allows.
const MaxRunDir = 65

// Config says which plugins there are and how long they get.
type Config struct {
	// RunDir holds the plugins' sockets and scratch folders; if empty, a temporary
	// folder does.
	RunDir string `yaml:"run_dir"`
	// CopyDir holds the copies of plugins that are run, so it must allow programs to
	// be; if empty, a temporary folder does. No other process may use it.
	CopyDir string `yaml:"copy_dir"`
	// Cgroup is the folder of a cgroup of version 2 in which each plugin gets one of its
	// own; if empty, that is done where systemd has delegated one to us.
	Cgroup string `yaml:"cgroup"`
	// PluginDirs are folders with a folder for each plugin that is installed. What
	// Plugins does not name is not used.
	PluginDirs []string `yaml:"plugin_dirs"`
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
	// PluginLimits bound the process of each plugin that has no limits of its own.
	PluginLimits Limits `yaml:"plugin_limits"`
	// Plugins are those besides the built-in ones, and settings of those, by name.
	Plugins map[string]PluginConfig `yaml:"plugins"`
	// Builtins are the plugins that are built in. A scheme that several serve is the
	// first one's.
	Builtins []Builtin `yaml:"-"`
	// Version is Fresnel's own, for plugins that need a certain one.
	Version string `yaml:"-"`
	// AskOnly has plugins only say what they are: they get no configuration, and count
	// as ready without.
	AskOnly bool `yaml:"-"`
	// Supervision is how failing plugins are started again.
	Supervision Supervision `yaml:"-"`
}

// Supervision says how a plugin that ends is started again: after a wait that doubles
// from First to Longest, until it was ready for Calm. After Crashes within Within it is
// in quarantine, where only every Probe it gets another chance.
type Supervision struct {
	First, Longest, Calm, Within, Probe time.Duration
	Crashes                             int
}

// Builtin is a plugin that is built in.
type Builtin struct {
	Manifest manifest.Manifest
	Argv     []string // what to run; the first is an absolute path
}

// Outbound says what plugins may connect to.
type Outbound struct {
	// Allow lists networks that the address guard lets through although they are not
	// public.
	Allow []string `yaml:"allow" json:"allow,omitempty"`
	// Proxy is the URL of an HTTP proxy.
	Proxy string `yaml:"proxy" json:"proxy,omitempty"`
}

// Limits bound what one plugin's process may use.
type Limits struct {
	// Memory is in bytes: of data, and with a cgroup of our own of everything.
	Memory int64 `yaml:"memory"`
	// Files are those that may be open at once, connections included.
	Files int `yaml:"files"`
	// Nice is added to the priority of the process, 0 to 19: the more, the less of the
	// processor it gets where others want it, too.
	Nice int `yaml:"nice"`
}

// PluginConfig describes one plugin: one that is built in or was found in PluginDirs,
// by its name alone; or where it is.
type PluginConfig struct {
	// Disabled keeps a plugin from being used, also one that is built in.
	Disabled bool `yaml:"disabled"`
	// Path is a folder with a plugin.yaml, or a program without one: then nothing is
	// known of it until it runs.
	Path string   `yaml:"path"`
	Args []string `yaml:"args"`
	// Schemes are those of a plugin that has no plugin.yaml.
	Schemes []string `yaml:"schemes"`
	// Env is added to the few variables that plugins get; nothing else of ours leaks.
	Env map[string]string `yaml:"env"`
	// Config is judged by the plugin. A secret in it may be file:PATH instead.
	Config map[string]any `yaml:"config"`
	// TLS is auto, or off: for gRPC libraries that cannot verify P-521 certificates,
	// and for an address of this machine.
	TLS string `yaml:"tls"`
	// Limits replace those of PluginLimits that are not 0 here.
	Limits Limits `yaml:"limits"`
	// Address is the host:port of a plugin that runs elsewhere.
	Address string `yaml:"address"`
	// CAFile, CertFile and KeyFile are PEM files: the authority that vouches for the
	// plugin at Address, and what we show to it.
	CAFile   string `yaml:"ca_file"`
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// ServerName is the name in the plugin's certificate, if it is not that of Address.
	ServerName string `yaml:"server_name"`
}

// limits are the plugin's own ones over the general ones.
func (c Config) limits(p PluginConfig) Limits {
	l := c.PluginLimits
	if p.Limits.Memory != 0 {
		l.Memory = p.Limits.Memory
	}
	if p.Limits.Files != 0 {
		l.Files = p.Limits.Files
	}
	if p.Limits.Nice != 0 {
		l.Nice = p.Limits.Nice
	}
	return l
}

// DefaultConfig returns the defaults: no plugins.
func DefaultConfig() Config {
	return Config{
		AttemptTimeout:        10 * time.Second,
		StartTimeout:          10 * time.Second,
		StopGrace:             5 * time.Second,
		HealthInterval:        5 * time.Second,
		BatchesPerDestination: 4,
		PluginLimits:          Limits{Memory: 512 << 20, Files: 4096},
		Supervision: Supervision{
			First: 100 * time.Millisecond, Longest: 30 * time.Second, Calm: time.Minute,
			Within: time.Minute, Crashes: 5, Probe: 5 * time.Minute,
		},
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
	errs = append(errs, c.PluginLimits.validate("plugin_limits")...)
	for _, n := range slices.Sorted(maps.Keys(c.Plugins)) {
		errs = append(errs, c.Plugins[n].validate("plugins."+n, n)...)
	}
	return errors.Join(errs...)
}

// leastMemory is what a plugin of the SDK needs to start.
const leastMemory = 32 << 20

func (l Limits) validate(key string) (errs []error) {
	if l.Memory < leastMemory {
		errs = append(errs, fmt.Errorf("%s.memory: %d bytes are too few for any plugin; at least %d", key, l.Memory, leastMemory))
	}
	const leastFiles, mostNice = 64, 19
	if l.Files < leastFiles {
		errs = append(errs, fmt.Errorf("%s.files: must be at least %d", key, leastFiles))
	}
	if l.Nice < 0 || l.Nice > mostNice {
		errs = append(errs, fmt.Errorf("%s.nice: must be between 0 and %d", key, mostNice))
	}
	return errs
}

var pluginName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

func (p PluginConfig) validate(key, name string) (errs []error) {
	bad := func(member, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s%s: %w", key, member, fmt.Errorf(format, args...)))
	}
	if !pluginName.MatchString(name) {
		bad("", "a name is a lower-case word")
	}
	if p.TLS != "" && p.TLS != "auto" && p.TLS != "off" {
		bad(".tls", "%q is neither auto nor off", p.TLS)
	}
	for _, s := range p.Schemes {
		if strings.ToLower(s) != s || strings.ContainsAny(s, ":/ ") || s == "" {
			bad(".schemes", "%q is not a lower-case URI scheme such as https", s)
		}
	}
	if l := p.Limits; l != (Limits{}) {
		errs = append(errs, DefaultConfig().mergedLimits(l).validate(key+".limits")...)
	}
	if p.Address == "" {
		if p.CAFile+p.CertFile+p.KeyFile+p.ServerName != "" {
			bad(".address", "required by ca_file, cert_file, key_file and server_name")
		}
		return errs
	}
	host, port, err := net.SplitHostPort(p.Address)
	if err != nil || host == "" || port == "" {
		bad(".address", "%q is not of the form host:port", p.Address)
	}
	if p.Path != "" || len(p.Args) > 0 || len(p.Env) > 0 || p.Limits != (Limits{}) {
		bad(".address", "a plugin that runs elsewhere has no path, args, env or limits here")
	}
	switch {
	case p.TLS != "off":
		for _, f := range [][2]string{{"ca_file", p.CAFile}, {"cert_file", p.CertFile}, {"key_file", p.KeyFile}} {
			if f[1] == "" {
				bad("."+f[0], "required by address")
			}
		}
	case !loopback(host):
		bad(".tls", "off is for plugins on this machine; %s is another one", host)
	}
	return errs
}

func (c Config) mergedLimits(l Limits) Limits { return c.limits(PluginConfig{Limits: l}) }

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
