package searchapi

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/fresnel-search/fresnel/searchapi/query"
)

// Config is the search API's configuration.
type Config struct {
	// Listen is host:port; port 0 takes a free one.
	Listen string `yaml:"listen"`
	// PublicEndpoint is how clients reach this server, for links; empty takes the
	// name that the client used.
	PublicEndpoint string `yaml:"public_endpoint"`
	// QueryTimeout bounds one search.
	QueryTimeout time.Duration `yaml:"query_timeout"`
	// MaxConcurrent searches run at once, MaxConcurrentPerProject of them for one
	// project; others wait in line for at most QueueTimeout. The store should be able
	// to run MaxConcurrent at once, or projects wait for each other in there.
	MaxConcurrent           int           `yaml:"max_concurrent"`
	MaxConcurrentPerProject int           `yaml:"max_concurrent_per_project"`
	QueueTimeout            time.Duration `yaml:"queue_timeout"`
	// ReadTimeout bounds the reading of a request, IdleTimeout a silent connection,
	// DrainTimeout the answering of what was taken when the server stops.
	ReadTimeout    time.Duration `yaml:"read_timeout"`
	IdleTimeout    time.Duration `yaml:"idle_timeout"`
	DrainTimeout   time.Duration `yaml:"drain_timeout"`
	MaxHeaderBytes int           `yaml:"max_header_bytes"`
	// Limits bound what one search may ask for.
	Limits query.Limits `yaml:"limits"`
}

// DefaultConfig serves this machine only.
func DefaultConfig() Config {
	return Config{
		Listen:                  "127.0.0.1:9393",
		QueryTimeout:            10 * time.Second,
		MaxConcurrent:           8,
		MaxConcurrentPerProject: 3,
		QueueTimeout:            5 * time.Second,
		ReadTimeout:             15 * time.Second,
		IdleTimeout:             2 * time.Minute,
		DrainTimeout:            5 * time.Second,
		MaxHeaderBytes:          64 << 10,
		Limits:                  query.DefaultLimits(),
	}
}

// Validate joins everything that is wrong, each with its key.
func (c Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf(key+": "+format, args...))
	}
	if _, port, err := net.SplitHostPort(c.Listen); err != nil {
		bad("listen", "must be host:port, is %q", c.Listen)
	} else if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		bad("listen", "port %q is no number up to %d", port, n)
	}
	if u, err := url.Parse(c.PublicEndpoint); c.PublicEndpoint != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		bad("public_endpoint", "must be a URL such as https://search.example.net")
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"query_timeout", c.QueryTimeout},
		{"queue_timeout", c.QueueTimeout},
		{"read_timeout", c.ReadTimeout},
		{"idle_timeout", c.IdleTimeout},
		{"drain_timeout", c.DrainTimeout},
	} {
		if d.value <= 0 {
			bad(d.key, "must be longer than 0s")
		}
	}
	if c.MaxConcurrent < 1 {
		bad("max_concurrent", "must be at least 1")
	}
	if c.MaxConcurrentPerProject < 1 {
		bad("max_concurrent_per_project", "must be at least 1")
	}
	const leastHeader = 4096
	if c.MaxHeaderBytes < leastHeader {
		bad("max_header_bytes", "must be at least %d", leastHeader)
	}
	for _, err := range unjoin(c.Limits.Validate()) {
		errs = append(errs, fmt.Errorf("limits.%w", err))
	}
	return errors.Join(errs...)
}

// unjoin takes joined errors apart.
func unjoin(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	if err != nil {
		return []error{err}
	}
	return nil
}
