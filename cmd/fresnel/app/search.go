package app

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fresnel-search/fresnel/configs"
	"github.com/fresnel-search/fresnel/searchapi"
	"github.com/fresnel-search/fresnel/searchapi/identity"
)

var (
	_ searchapi.Authenticator = identity.None{}
	_ searchapi.Authenticator = (*identity.Static)(nil)
)

// startSearch serves the HTTP API.
func (s *system) startSearch(ctx context.Context) error {
	cfg := s.Config.SearchAPI
	auth, err := s.identity(cfg.Identity)
	if err != nil {
		return err
	}
	deps := searchapi.Deps{
		Catalog: s.catalog, Identity: auth, DeadLetters: searchapi.Letters{Store: s.store, Resend: s.resend},
		Indices: operators{s.reindexing()}, Status: s.status, Ready: s.readiness, Metrics: s.reg, Registerer: s.reg,
		Log: s.Log.With("component", "searchapi"),
	}
	if s.Config.Has(configs.RoleSearchAPI) {
		deps.Searcher, deps.Feeds = s.store, s.feeds()
	}
	if s.engine != nil {
		subs := newSubscriptions(s)
		deps.Subscriptions, deps.Deliveries = subs, deliveries{subs}
	}
	if s.host != nil {
		deps.Plugins = operatedPlugins{s.host}
	}
	if s.listener != nil || s.indexer != nil {
		deps.Books = ledger{s.listener, s.indexer, s.mine, s.Config.Listener.Group, s.Config.Indexer.Group}
	}
	srv, err := searchapi.New(cfg.Config, deps)
	if err != nil {
		return err
	}
	if err := srv.Bind(ctx); err != nil {
		return err
	}
	s.search = srv
	s.add("search api", srv.Run, nil)
	return nil
}

func (s *system) identity(cfg identity.Config) (searchapi.Authenticator, error) {
	if cfg.Mode == identity.ModeStatic {
		return identity.OpenStatic(cfg, s.Log.With("component", "identity"))
	}
	s.Log.Warn("nobody has to log in: every caller is an admin of all projects", "listen", s.Config.SearchAPI.Listen)
	return identity.None{}, nil
}

// status is what an operator wants to know first.
func (s *system) status() searchapi.Status {
	listen := map[string]string{"searchapi": s.search.Addr()}
	if s.broker != nil {
		listen["kafka"] = s.broker.Addr()
	}
	return searchapi.Status{
		Version: s.Version, Started: s.started, Roles: s.Config.Roles, Listen: listen, Topics: s.topics(), Data: s.kept(),
	}
}

// kept is the folder of what this process keeps, if it keeps anything.
func (s *system) kept() string {
	if s.Config.Kept() {
		return s.Config.Data
	}
	return ""
}

// topics are those that the listener reads now.
func (s *system) topics() []string {
	set := map[string]bool{}
	for _, t := range s.kafka.Status(s.Config.Listener.Group).Topics {
		set[t] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// greet tells people where everything is, and one query to try.
func (s *system) greet() error {
	var b strings.Builder
	line := func(name string, values ...string) { fmt.Fprintf(&b, "  %-16s %s\n", name, strings.Join(values, ", ")) }
	c, url := s.Config, "http://"+s.search.Addr()
	fmt.Fprintf(&b, "fresnel %s\n", s.Version)
	if c.Has(configs.RoleSearchAPI) {
		line("search API", url)
	} else {
		line("health, metrics", url)
	}
	if len(c.Roles) < len(configs.AllRoles()) {
		line("roles", c.Roles...)
	}
	if s.broker != nil {
		line("embedded Kafka", s.broker.Addr()+"  (not for production)")
	} else {
		line("Kafka", c.Listener.Kafka.Brokers...)
	}
	if c.Shared() {
		line(string(c.Indexer.Elasticsearch.Flavor), c.Indexer.Elasticsearch.Addresses...)
	}
	if c.Kept() {
		line("data", c.Data)
	}
	if c.Has(configs.RoleListener) {
		topics := slices.Clone(c.Listener.Topics)
		if p := c.Listener.TopicPattern; p != "" {
			topics = append(topics, p)
		}
		line("reads topics", topics...)
	}
	if c.Has(configs.RolePublishers) {
		line("subscriptions", strconv.Itoa(len(c.Publishers.Subscriptions)))
	}
	if c.Has(configs.RoleSearchAPI) {
		line("try", "fresnel search --url "+url+" 'status:active'")
	}
	_, err := io.WriteString(s.Out, b.String())
	return err
}
