package publishers

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"time"

	"github.com/fresnel-search/fresnel/configs/secret"
	"github.com/fresnel-search/fresnel/publishers/filter"
	"github.com/fresnel-search/fresnel/publishers/lane"
)

// Config is what the publishers are told.
type Config struct {
	// Topic is the change log; no setting, for others write it.
	Topic string `yaml:"-"`
	// Timeout bounds one attempt, as the plugin sees it. It is the host's setting.
	Timeout time.Duration `yaml:"-"`
	// DrainTimeout is how long attempts may run on when the process stops.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
	Retry        Retry         `yaml:"retry"`
	// Window is how many changes a subscription may have open: about what a crash
	// repeats at most.
	Window int `yaml:"window"`
	// Parked bounds the failed deliveries that a subscription keeps; then its cursor
	// stops.
	Parked        Parked         `yaml:"parked"`
	Subscriptions []Subscription `yaml:"subscriptions"`
}

// Retry is a schedule of attempts.
type Retry struct {
	// Schedule has the wait before each attempt; the first is before the first one.
	Schedule []time.Duration `yaml:"schedule"`
	// Jitter is the part of a wait that chance adds or takes away.
	Jitter float64 `yaml:"jitter"`
	// MaxAfter caps what a destination may ask to wait, as by Retry-After.
	MaxAfter time.Duration `yaml:"max_after"`
	// ProbeMax is the longest wait between probes of a destination that is away.
	ProbeMax time.Duration `yaml:"probe_max"`
}

// Parked are bounds for each subscription.
type Parked struct {
	Max      int   `yaml:"max"`
	MaxBytes int64 `yaml:"max_bytes"`
}

// Subscription is one subscription. Its name is its identity: a new name starts at
// the head of the change log, a changed filter keeps the cursor, and what is kept
// for a removed name goes after seven days.
type Subscription struct {
	Name string `yaml:"name"`
	// Publisher is a plugin's name; if empty, the destination's scheme chooses.
	Publisher   string        `yaml:"publisher"`
	Destination string        `yaml:"destination"`
	Secret      secret.String `yaml:"secret"`
	SecretFile  string        `yaml:"secret_file"` // read by package configs into Secret
	// Secrets are more of them, by the names that the publisher knows.
	Secrets     map[string]secret.String `yaml:"secrets"`
	SecretFiles map[string]string        `yaml:"secret_files"` // read by package configs into Secrets
	Options     map[string]string        `yaml:"options"`
	Filter      filter.Filter            `yaml:"filter"`
	// AdminFields shows fields and changes that only operators see.
	AdminFields bool `yaml:"admin_fields"`
	// Durability is Kept, the default, or Live.
	Durability string `yaml:"durability"`
	// MessageTTL is how long after it came into the change log a change is wanted; 0
	// is for ever.
	MessageTTL time.Duration `yaml:"message_ttl"`
	// WhenBehind is All, the default, or Latest.
	WhenBehind string   `yaml:"when_behind"`
	Retry      Attempts `yaml:"retry"`
}

// What a subscription may ask for. Kept delivers every change at least once or makes
// a dead letter of it. Live begins at the head whenever it starts, makes one attempt,
// keeps nothing, and counts what it drops. All delivers every change; Latest lets a
// state of a resource that could not be sent yet give way to a later one.
const (
	Kept   = "kept"
	Live   = "live"
	All    = "all"
	Latest = "latest"
)

func (s Subscription) live() bool   { return s.Durability == Live }
func (s Subscription) latest() bool { return s.WhenBehind == Latest }

// DefaultConfig returns the defaults: no subscriptions.
func DefaultConfig() Config {
	p := lane.DefaultPolicy()
	return Config{
		Topic:        "fresnel.changes",
		Timeout:      10 * time.Second,
		DrainTimeout: 5 * time.Second,
		Retry:        Retry{Schedule: p.Schedule, Jitter: p.Jitter, MaxAfter: p.MaxAfter, ProbeMax: p.ProbeMax},
		Window:       p.Window,
		Parked:       Parked{Max: p.MaxParked, MaxBytes: p.MaxParkedBytes},
	}
}

// named is what a subscription's name may be: it is part of record keys.
var named = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// Validate reports everything that is wrong, by key.
func (c Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %w", key, fmt.Errorf(format, args...)))
	}
	if c.Topic == "" {
		bad("topic", "required")
	}
	if c.Timeout <= 0 {
		bad("timeout", "must be positive")
	}
	if c.DrainTimeout < 0 {
		bad("drain_timeout", "must not be negative")
	}
	if c.Window < 1 {
		bad("window", "must be at least 1")
	}
	if c.Parked.Max < 1 || c.Parked.MaxBytes < 1<<20 {
		bad("parked", "max must be at least 1 and max_bytes at least 1048576")
	}
	errs = append(errs, c.Retry.validate("retry")...)
	seen := map[string]bool{}
	for i, s := range c.Subscriptions {
		key := fmt.Sprintf("subscriptions[%d]", i)
		if seen[s.Name] {
			bad(key+".name", "%q is taken; a name is the subscription's identity", s.Name)
		}
		seen[s.Name] = true
		errs = append(errs, s.validate(key)...)
		errs = append(errs, s.Retry.validate(key+".retry", c.Timeout)...)
	}
	return errors.Join(errs...)
}

func (r Retry) validate(key string) (errs []error) {
	errs = schedule(key+".schedule", r.Schedule)
	if len(r.Schedule) == 0 {
		errs = append(errs, fmt.Errorf("%s.schedule: needs at least one entry", key))
	}
	if r.Jitter < 0 || r.Jitter > 1 {
		errs = append(errs, fmt.Errorf("%s.jitter: must be between 0 and 1", key))
	}
	if r.MaxAfter < 0 {
		errs = append(errs, fmt.Errorf("%s.max_after: must not be negative", key))
	}
	if r.ProbeMax <= 0 {
		errs = append(errs, fmt.Errorf("%s.probe_max: must be positive", key))
	}
	return errs
}

func schedule(key string, waits []time.Duration) (errs []error) {
	for i, d := range waits {
		if d < 0 || d > longestWait {
			errs = append(errs, fmt.Errorf("%s[%d]: must be between 0 and %s", key, i, longestWait))
		}
	}
	return errs
}

func (s Subscription) validate(key string) (errs []error) {
	bad := func(member, text string) { errs = append(errs, fmt.Errorf("%s.%s: %s", key, member, text)) }
	if !named.MatchString(s.Name) {
		bad("name", "required: letters, digits, dots, dashes and underscores, at most 100")
	}
	if s.Publisher == "" && s.Destination == "" {
		bad("publisher", "required, or a destination whose scheme says which")
	}
	if u, err := url.Parse(s.Destination); s.Destination != "" && (err != nil || u.Scheme == "") {
		bad("destination", "is no absolute URI") // not quoted: it may hold a password
	}
	if _, twice := s.Secrets[mainSecret]; twice && !s.Secret.Empty() {
		bad("secrets", "secret is there twice")
	}
	if err := s.Filter.Validate(); err != nil {
		for _, e := range unjoin(err) {
			errs = append(errs, fmt.Errorf("%s.filter.%w", key, e))
		}
	}
	if _, all := s.Filter.Principals(); s.AdminFields && !all {
		bad("admin_fields", `needs filter.projects: ["*"], for a project never sees them`)
	}
	if s.Durability != "" && s.Durability != Kept && s.Durability != Live {
		bad("durability", "must be kept or live")
	}
	if s.WhenBehind != "" && s.WhenBehind != All && s.WhenBehind != Latest {
		bad("when_behind", "must be all or latest")
	}
	if s.MessageTTL < 0 {
		bad("message_ttl", "must not be negative")
	}
	if s.live() && (s.Retry.MaxAttempts > 1 || len(s.Retry.Schedule) > 0 || s.Retry.grows()) {
		bad("retry", "durability live makes one attempt; only timeout may be set")
	}
	return errs
}

// mainSecret is the name under which a publisher finds Secret.
const mainSecret = "secret"

// secrets are all of a subscription's secrets by name.
func (s Subscription) secrets() map[string][]byte {
	all := make(map[string][]byte, len(s.Secrets)+1)
	for name, value := range s.Secrets {
		all[name] = []byte(value.Reveal())
	}
	if !s.Secret.Empty() {
		all[mainSecret] = []byte(s.Secret.Reveal())
	}
	return all
}

func unjoin(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}

// policy is what the lanes of a subscription go by.
func (c Config) policy(s Subscription) lane.Policy {
	p := lane.DefaultPolicy()
	p.Schedule, p.Jitter, p.MaxAfter = c.Retry.Schedule, c.Retry.Jitter, c.Retry.MaxAfter
	p.ProbeMax = c.Retry.ProbeMax
	p.Window, p.MaxParked, p.MaxParkedBytes = c.Window, c.Parked.Max, c.Parked.MaxBytes
	p.Live, p.Latest = s.live(), s.latest()
	p.Patience = p.Span()
	if !p.Live {
		p.Schedule = s.Retry.schedule(p.Schedule)
	}
	return p
}
