package app

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

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
	srv, err := searchapi.New(cfg.Config, searchapi.Deps{
		Catalog: s.catalog, Searcher: s.store, Identity: auth,
		DeadLetters:   searchapi.Letters{Store: s.store, Resend: s.resend},
		Subscriptions: subscriptions{s.engine, destinations(s.Config.Publishers.Subscriptions)}, Books: ledger{s.listener, s.indexer},
		Indices: operators{s.reindexing()},
		Status:  s.status, Ready: s.readiness, Metrics: s.reg, Registerer: s.reg,
		Log: s.Log.With("component", "searchapi"),
	})
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
		Version: s.Version, Started: s.started, Roles: []string{"listener", "indexer", "publishers", "searchapi"},
		Listen: listen, Topics: s.topics(), Data: s.Config.Data,
	}
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
	broker := "Kafka            " + strings.Join(s.Config.Listener.Kafka.Brokers, ", ")
	if s.broker != nil {
		broker = "embedded Kafka   " + s.broker.Addr() + "  (not for production)"
	}
	topics := slices.Clone(s.Config.Listener.Topics)
	if p := s.Config.Listener.TopicPattern; p != "" {
		topics = append(topics, p)
	}
	_, err := fmt.Fprintf(s.Out, `fresnel %s
  search API       http://%s
  %s
  data             %s
  reads topics     %s
  subscriptions    %d
  try              fresnel search --url http://%s 'status:active'
`, s.Version, s.search.Addr(), broker, s.Config.Data, strings.Join(topics, ", "), len(s.Config.Publishers.Subscriptions), s.search.Addr())
	return err
}
