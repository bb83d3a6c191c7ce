package embedded

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"time"
)

// Config says where the broker listens, where its log is, and what it keeps.
type Config struct {
	// Dir is the folder of the log; it is made if it is not there.
	Dir string `yaml:"-"`
	// Listen is a loopback address.
	Listen string `yaml:"listen"`
	// CapBytes bounds the folder. Producing to others' topics is refused before
	// it is reached; the rest is room for our own.
	CapBytes int64 `yaml:"cap_bytes"`
	// Partitions is how many a topic gets that clients create without saying so.
	Partitions int `yaml:"partitions"`
	// TrimInterval is how often consumed records are deleted.
	TrimInterval time.Duration `yaml:"trim_interval"`
	// OwnPrefix tells our topics from the services'.
	OwnPrefix string `yaml:"-"`
	// Groups name who reads which topics. Records are kept until each group that
	// reads their topic has committed them. Topics that no group reads are kept
	// while there is room.
	Groups []Reads `yaml:"-"`
	// Sized topics are kept by size: an eighth of the cap, up to a quarter where
	// a Floor asks for it.
	Sized []string `yaml:"-"`
}

// Reads says that a consumer group reads the topics matching a pattern.
type Reads struct {
	Group  string
	Topics *regexp.Regexp
}

// DefaultConfig returns the settings of a Fresnel without configuration, which
// still lack Dir and Groups.
func DefaultConfig() Config {
	return Config{
		Listen:       "127.0.0.1:9092",
		CapBytes:     512 << 20,
		Partitions:   4,
		TrimInterval: 2 * time.Second,
		OwnPrefix:    "fresnel.",
		Sized:        []string{"fresnel.changes"},
	}
}

// minCap leaves room for a few of the smallest segments.
const minCap = 1 << 20

// Validate reports every problem, each with its key.
func (c Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf(key+": "+format, args...))
	}
	if c.Dir == "" {
		bad("dir", "required")
	}
	if host, _, err := net.SplitHostPort(c.Listen); err != nil {
		bad("listen", "%w", err)
	} else if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		bad("listen", "%q is no loopback address; the embedded broker has no authentication", c.Listen)
	}
	if c.CapBytes < minCap {
		bad("cap_bytes", "must be at least %d", minCap)
	}
	if c.Partitions < 1 {
		bad("partitions", "must be at least 1")
	}
	if c.TrimInterval <= 0 {
		bad("trim_interval", "must be positive")
	}
	if c.OwnPrefix == "" {
		bad("own_prefix", "required")
	}
	for i, g := range c.Groups {
		if g.Group == "" || g.Topics == nil {
			bad(fmt.Sprintf("groups[%d]", i), "needs a group and a pattern")
		}
	}
	return errors.Join(errs...)
}
