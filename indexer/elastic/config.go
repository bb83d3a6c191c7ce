package elastic

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"time"

	"github.com/fresnel-search/fresnel/configs/secret"
	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
)

// Config says which cluster to use, and how.
type Config struct {
	// Addresses are the URLs of some nodes.
	Addresses []string `yaml:"addresses"`
	// Flavor is elasticsearch or opensearch; it is compared with what answers.
	Flavor layout.Flavor `yaml:"flavor"`
	// Prefix of the names of all indices: two Fresnels can share a cluster.
	Prefix string `yaml:"prefix"`
	// Username and Password, or APIKey, log in; none of them where security is off.
	Username     string        `yaml:"username"`
	Password     secret.String `yaml:"password"`
	PasswordFile string        `yaml:"password_file"`
	APIKey       secret.String `yaml:"api_key"`
	APIKeyFile   string        `yaml:"api_key_file"`
	// CAFile holds certificates in PEM that sign the cluster's; empty: the system's.
	CAFile string `yaml:"ca_file"`
	// Compress sends bodies gzipped: worth it where the network is the limit.
	Compress bool `yaml:"compress"`
	// Timeout bounds each request but searches, which bring their own.
	Timeout time.Duration `yaml:"timeout"`
	// SearchTimeout bounds a search that does not say how long it may take.
	SearchTimeout time.Duration `yaml:"-"`
	// Shards, Replicas and RefreshInterval of indices that are made.
	Shards          int           `yaml:"shards"`
	Replicas        int           `yaml:"replicas"`
	RefreshInterval time.Duration `yaml:"refresh_interval"`
	// Bulks is how many bulk requests this process has under way at once, and
	// BulkBytes how large one gets.
	Bulks     int `yaml:"bulks"`
	BulkBytes int `yaml:"bulk_bytes"`
}

// DefaultConfig suits a cluster of three nodes; it has no addresses.
func DefaultConfig() Config {
	return Config{
		Flavor: layout.Elasticsearch, Prefix: "fresnel", Timeout: 30 * time.Second, SearchTimeout: 10 * time.Second,
		Shards: 1, Replicas: 1, RefreshInterval: time.Second, Bulks: 3, BulkBytes: 8 << 20,
	}
}

var prefixes = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// Validate joins everything that is wrong, each with its key.
func (c Config) Validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf(key+": "+format, args...))
	}
	if len(c.Addresses) == 0 {
		bad("addresses", "required")
	}
	for i, a := range c.Addresses {
		if u, err := url.Parse(a); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
			bad(fmt.Sprintf("addresses[%d]", i), "must be a URL such as https://es1:9200, without a password in it")
		}
	}
	if c.Flavor != layout.Elasticsearch && c.Flavor != layout.OpenSearch {
		bad("flavor", "%q is not one of elasticsearch, opensearch", string(c.Flavor))
	}
	if !prefixes.MatchString(c.Prefix) {
		bad("prefix", "must be at most 32 lower-case letters, digits and _, and begin with a letter")
	}
	if !c.APIKey.Empty() && (c.Username != "" || !c.Password.Empty()) {
		bad("api_key", "give it or username and password, not both")
	}
	if (c.Username == "") != c.Password.Empty() {
		bad("username", "needs password, and password needs username")
	}
	for _, d := range []struct {
		key  string
		v    time.Duration
		most time.Duration
	}{{"timeout", c.Timeout, 10 * time.Minute}, {"refresh_interval", c.RefreshInterval, time.Hour}} {
		if d.v <= 0 || d.v > d.most {
			bad(d.key, "must be above 0 and at most %s", d.most)
		}
	}
	for _, n := range []struct {
		key         string
		v, low, top int
	}{
		{"shards", c.Shards, 1, 1024},
		{"replicas", c.Replicas, 0, 10},
		{"bulks", c.Bulks, 1, 64},
		{"bulk_bytes", c.BulkBytes, 1 << 20, 64 << 20},
	} {
		if n.v < n.low || n.v > n.top {
			bad(n.key, "must be from %d to %d", n.low, n.top)
		}
	}
	return errors.Join(errs...)
}
