package configs

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/fresnel-search/fresnel/configs/secret"
	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/elastic"
	"github.com/fresnel-search/fresnel/indexer/sqlite"
	"github.com/fresnel-search/fresnel/listener"
	"github.com/fresnel-search/fresnel/listener/kafka"
	"github.com/fresnel-search/fresnel/listener/kafka/embedded"
	"github.com/fresnel-search/fresnel/publishers"
	"github.com/fresnel-search/fresnel/publishers/host"
	"github.com/fresnel-search/fresnel/searchapi"
	"github.com/fresnel-search/fresnel/searchapi/feed"
	"github.com/fresnel-search/fresnel/searchapi/identity"
)

// Config is the whole configuration, grouped by owner.
type Config struct {
	// Data is the folder of everything that serve keeps.
	Data string `yaml:"data"`
	// Roles are what this process does of all that there is to do.
	Roles      []string   `yaml:"roles"`
	Log        Log        `yaml:"log"`
	Catalog    Catalog    `yaml:"catalog"`
	Listener   Listener   `yaml:"listener"`
	Indexer    Indexer    `yaml:"indexer"`
	SearchAPI  SearchAPI  `yaml:"searchapi"`
	Publishers Publishers `yaml:"publishers"`
}

// Log says what is logged, and how.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn or error
	Format string `yaml:"format"` // auto (text on a terminal), text or json
}

// Catalog says where more resource types are.
type Catalog struct {
	Dir string `yaml:"dir"`
}

// Listener is the listener and the Kafka that everything uses.
type Listener struct {
	listener.Config `yaml:",inline"`
	Group           string `yaml:"group"`
	Kafka           Kafka  `yaml:"kafka"`
}

// Kafka is a cluster, or, without brokers, the embedded broker.
type Kafka struct {
	kafka.Config `yaml:",inline"`
	Embedded     embedded.Config `yaml:"embedded"`
}

// Indexer is the indexer and its topics.
type Indexer struct {
	indexer.Config `yaml:",inline"`
	Group          string `yaml:"group"`
	// Store says which of the two below is used.
	Store         string         `yaml:"store"`
	SQLite        sqlite.Config  `yaml:"sqlite"`
	Elasticsearch elastic.Config `yaml:"elasticsearch"`
	// Partitions of fresnel.mutations and fresnel.changes when they are made; they
	// keep it for life.
	Partitions int `yaml:"partitions"`
}

// SearchAPI is the search API and who may use it.
type SearchAPI struct {
	searchapi.Config `yaml:",inline"`
	Identity         identity.Config `yaml:"identity"`
}

// Publishers is the delivery engine and the host of the plugins.
type Publishers struct {
	publishers.Config `yaml:",inline"`
	Host              host.Config `yaml:",inline"`
	Feeds             feed.Config `yaml:",inline"`
}

// Default is the configuration of a server that is told nothing.
func Default() Config {
	return Config{
		Data:       "./fresnel-data",
		Roles:      AllRoles(),
		Log:        Log{Level: "info", Format: "auto"},
		Listener:   Listener{Config: listener.DefaultConfig(), Group: "fresnel-listener", Kafka: Kafka{kafka.DefaultConfig(), embedded.DefaultConfig()}},
		Indexer:    Indexer{indexer.DefaultConfig(), "fresnel-indexer", StoreSQLite, sqlite.DefaultConfig(), elastic.DefaultConfig(), 2},
		SearchAPI:  SearchAPI{searchapi.DefaultConfig(), identity.DefaultConfig()},
		Publishers: Publishers{publishers.DefaultConfig(), host.DefaultConfig(), feed.DefaultConfig()},
	}
}

// Validate reports all that is wrong, each with its key.
func (c Config) Validate() error {
	var errs []error
	if c.Data == "" {
		errs = append(errs, errors.New("data: required"))
	}
	errs = append(errs, oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error"),
		oneOf("log.format", c.Log.Format, "auto", "text", "json"))
	if c.Listener.Group == "" || c.Indexer.Group == "" || c.Listener.Group == c.Indexer.Group {
		errs = append(errs, errors.New("listener.group, indexer.group: both are required and must differ"))
	}
	if c.Indexer.Partitions < 1 || c.Indexer.Partitions > 1024 {
		errs = append(errs, fmt.Errorf("indexer.partitions: %d is not between 1 and 1024", c.Indexer.Partitions))
	}
	kc := c.Listener.Kafka.Config
	if len(kc.Brokers) == 0 {
		kc.Brokers = []string{c.Listener.Kafka.Embedded.Listen} // what the embedded broker will be
		e := c.Listener.Kafka.Embedded
		e.Dir = c.Data // app says which folder in it
		errs = append(errs, under("listener.kafka.embedded", e.Validate()))
	}
	errs = append(errs,
		under("listener", c.Listener.Validate()),
		under("listener.kafka", kc.Validate()),
		under("indexer", c.Indexer.Validate()),
		under("indexer", c.Indexer.validateStore()),
		c.validateRoles(),
		under("searchapi", c.SearchAPI.Validate()),
		under("searchapi.identity", c.SearchAPI.Identity.Validate()),
		under("publishers", c.Publishers.Validate()),
		under("publishers", c.Publishers.Host.Validate()),
		under("publishers", c.Publishers.Feeds.Validate()))
	if c.Publishers.Feeds.Open() && c.SearchAPI.PublicEndpoint == "" {
		errs = append(errs, errors.New("searchapi.public_endpoint: required with publishers.hubs, for hubs read feeds there"))
	}
	if _, _, err := net.SplitHostPort(c.SearchAPI.Listen); err == nil && c.SearchAPI.Identity.Mode == identity.ModeNone {
		if err := identity.CheckLoopback(c.SearchAPI.Listen); err != nil {
			errs = append(errs, fmt.Errorf("searchapi.identity.mode: %w", err))
		}
	}
	return errors.Join(errs...)
}

// resolve reads secrets and makes paths absolute where they are the file's.
func (c *Config) resolve(dir string) error {
	var errs []error
	if c.Catalog.Dir = abs(dir, c.Catalog.Dir); c.Catalog.Dir != "" {
		if _, err := os.ReadDir(c.Catalog.Dir); err != nil {
			errs = append(errs, fmt.Errorf("catalog.dir: %w", err))
		}
	}
	c.SearchAPI.Identity.TokensFile = abs(dir, c.SearchAPI.Identity.TokensFile)
	k := &c.Listener.Kafka
	for _, p := range []*string{&k.TLS.CAFile, &k.TLS.CertFile, &k.TLS.KeyFile} {
		*p = abs(dir, *p)
	}
	errs = append(errs, readSecret(&k.SASL.Password, k.SASL.PasswordFile, dir, "listener.kafka.sasl.password"))
	e := &c.Indexer.Elasticsearch
	e.CAFile = abs(dir, e.CAFile)
	errs = append(errs, readSecret(&e.Password, e.PasswordFile, dir, "indexer.elasticsearch.password"),
		readSecret(&e.APIKey, e.APIKeyFile, dir, "indexer.elasticsearch.api_key"))
	resolveHost(&c.Publishers.Host, dir)
	for i := range c.Publishers.Subscriptions {
		s := &c.Publishers.Subscriptions[i]
		errs = append(errs, readSecrets(s, dir, fmt.Sprintf("publishers.subscriptions[%d]", i)))
	}
	return errors.Join(errs...)
}

// resolveHost makes the paths of plugins absolute.
func resolveHost(h *host.Config, dir string) {
	h.RunDir, h.CopyDir = abs(dir, h.RunDir), abs(dir, h.CopyDir)
	for i, d := range h.PluginDirs {
		h.PluginDirs[i] = abs(dir, d)
	}
	for name, p := range h.Plugins {
		if strings.Contains(p.Path, "/") { // else it is looked for in PATH
			p.Path = abs(dir, p.Path)
		}
		for _, file := range []*string{&p.CAFile, &p.CertFile, &p.KeyFile} {
			*file = abs(dir, *file)
		}
		h.Plugins[name] = p
	}
}

// readSecrets reads the secrets of a subscription.
func readSecrets(s *publishers.Subscription, dir, key string) error {
	errs := []error{readSecret(&s.Secret, s.SecretFile, dir, key+".secret")}
	all := maps.Clone(s.Secrets)
	if all == nil && len(s.SecretFiles) > 0 {
		all = map[string]secret.String{}
	}
	for _, name := range slices.Sorted(maps.Keys(s.SecretFiles)) {
		var value secret.String
		if _, twice := all[name]; twice {
			errs = append(errs, fmt.Errorf("%s: %s is in secrets and in secret_files", key, name))
		}
		errs = append(errs, readInto(&value, s.SecretFiles[name], dir, key+".secret_files."+name))
		all[name] = value
	}
	s.Secrets = all
	return errors.Join(errs...)
}

func oneOf(key, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%s: %q is not one of %s", key, value, strings.Join(allowed, ", "))
}

// under puts a part's errors, one a line, under the part's own key.
func under(prefix string, err error) error {
	if err == nil {
		return nil
	}
	var errs []error
	for line := range strings.Lines(err.Error()) {
		errs = append(errs, fmt.Errorf("%s.%s", prefix, strings.TrimRight(line, "\n")))
	}
	return errors.Join(errs...)
}
