package listener

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/fresnel-search/fresnel/listener/notification"
)

// Config is the listener's part of the configuration.
type Config struct {
	// Topics are read by name, and so is every topic that TopicPattern matches as a
	// whole, those made later included.
	Topics       []string `yaml:"topics"`
	TopicPattern string   `yaml:"topic_pattern"`
	// Limits bounds what is accepted of a record; what goes beyond is a dead letter.
	Limits Limits `yaml:"limits"`
	// ThrottleAbove is how many mutations may wait before records of low priority
	// do too. Topics of priority warn, error and critical never wait.
	ThrottleAbove int64 `yaml:"throttle_above"`
}

// Limits bounds a record.
type Limits struct {
	Bytes int `yaml:"bytes"` // of the value
	Depth int `yaml:"depth"` // of nesting
	Keys  int `yaml:"keys"`  // of object members in all
}

// DefaultPattern matches what oslo.messaging calls the topics of notifications:
// Nova's and Ironic's versioned ones too, each with any of the seven priorities and,
// where the transport URL has a path, that as a suffix.
const DefaultPattern = `(notifications|versioned_notifications|ironic_versioned_notifications)` +
	`\.(audit|debug|info|warn|error|critical|sample)(\.[A-Za-z0-9._-]+)?`

// DefaultConfig reads all notifications.
func DefaultConfig() Config {
	l := notification.DefaultLimits()
	return Config{
		TopicPattern:  DefaultPattern,
		Limits:        Limits{Bytes: l.Bytes, Depth: l.Depth, Keys: l.Keys},
		ThrottleAbove: 2000,
	}
}

// Validate names every value that cannot be.
func (c Config) Validate() error {
	var errs []error
	if len(c.Topics) == 0 && c.TopicPattern == "" {
		errs = append(errs, errors.New("topics: nothing to read: name topics or set topic_pattern"))
	}
	for i, t := range c.Topics {
		if t == "" {
			errs = append(errs, fmt.Errorf("topics[%d]: is empty", i))
		}
	}
	if _, err := c.compile(); err != nil {
		errs = append(errs, fmt.Errorf("topic_pattern: %w", err))
	}
	for _, p := range []struct {
		key   string
		value int64
	}{
		{"limits.bytes", int64(c.Limits.Bytes)},
		{"limits.depth", int64(c.Limits.Depth)},
		{"limits.keys", int64(c.Limits.Keys)},
		{"throttle_above", c.ThrottleAbove},
	} {
		if p.value <= 0 {
			errs = append(errs, fmt.Errorf("%s: must be above zero", p.key))
		}
	}
	return errors.Join(errs...)
}

// Pattern matches, as a whole, the names of the topics to read beside Topics; nil if
// there are none.
func (c Config) Pattern() *regexp.Regexp {
	re, err := c.compile()
	if err != nil || c.TopicPattern == "" {
		return nil
	}
	return re
}

func (c Config) compile() (*regexp.Regexp, error) {
	return regexp.Compile("^(?:" + c.TopicPattern + ")$")
}
