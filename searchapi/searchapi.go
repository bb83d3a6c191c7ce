// Package searchapi serves the HTTP API: searches in the shape that clients of
// OpenStack Searchlight know, single resources, health, metrics, and what operators
// need to see and mend.
//
// It parses nothing of a query (searchapi/query does), decides nothing about who may
// see what (searchapi/policy does) and stores nothing. Its invariant: no request
// reaches a Searcher that policy has not restricted, and no answer says more about a
// resource that the caller may not see than that nothing was found.
package searchapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/searchapi/feed"
	"github.com/fresnel-search/fresnel/searchapi/policy"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// Searcher finds resources. It is safe for concurrent use, stops when ctx is done,
// and refuses a request without a scope.
type Searcher interface {
	Search(ctx context.Context, r query.Request) (query.Result, error)
	// Get returns one resource; query.ErrNotFound if there is none in the scope.
	Get(ctx context.Context, ref resource.Ref, s query.Scope) (query.Hit, error)
}

// Authenticator finds out who makes a request. An error that wraps
// policy.ErrUnauthenticated is the caller's; any other one is the server's.
type Authenticator interface {
	Authenticate(ctx context.Context, r *http.Request) (policy.Caller, error)
	// Challenge is the value of WWW-Authenticate beside a refusal.
	Challenge() string
}

// Deps is what the API stands on. Those marked optional may be nil: what needs them
// is then not served.
type Deps struct {
	Catalog       policy.Catalog
	Searcher      Searcher // optional
	Identity      Authenticator
	DeadLetters   DeadLetters         // optional
	Subscriptions Subscriptions       // optional
	Deliveries    Deliveries          // optional
	Books         Books               // optional
	Indices       Indices             // optional
	Feeds         *feed.Feeds         // optional
	Plugins       Plugins             // optional
	Status        func() Status       // optional
	Ready         func() []Part       // optional: nothing but the API itself can fail
	Starting      bool                // what stands below the API is not there yet: 503
	Metrics       prometheus.Gatherer // optional
	Registerer    prometheus.Registerer
	Log           *slog.Logger
}

// Server is the HTTP API.
type Server struct {
	config   Config
	deps     Deps
	policy   *policy.Policy
	gate     *gate
	metrics  *metrics
	log      *slog.Logger
	handler  http.Handler
	listener net.Listener
}

// New returns a server that is not listening yet.
func New(c Config, d Deps) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if d.Catalog == nil || d.Identity == nil {
		return nil, errors.New("search api: catalog and identity are required")
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		config: c, deps: d, policy: policy.New(d.Catalog), metrics: newMetrics(d.Registerer), log: d.Log,
		gate: newGate(c.MaxConcurrent, c.MaxConcurrentPerProject, c.QueueTimeout),
	}
	s.handler = s.routes()
	return s, nil
}

// Handler is the API as a handler, without a listener and its limits on time.
func (s *Server) Handler() http.Handler { return s.handler }

// Bind takes the address that Run serves; Run does it if nobody has. It fails if the
// address is taken.
func (s *Server) Bind(ctx context.Context) error {
	if s.listener != nil {
		return nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.config.Listen)
	if err != nil {
		return fmt.Errorf("search api: %w", err)
	}
	s.listener = l
	return nil
}

// Addr is the address taken by Bind.
func (s *Server) Addr() string {
	if s.listener == nil {
		return s.config.Listen
	}
	return s.listener.Addr().String()
}

// Run serves until ctx is done and what was taken is answered, within DrainTimeout.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Bind(ctx); err != nil {
		return err
	}
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	const answer = 30 * time.Second // to write an answer to a slow reader
	srv := &http.Server{
		Handler:           s.handler,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: s.config.ReadTimeout,
		ReadTimeout:       s.config.ReadTimeout,
		WriteTimeout:      s.config.ReadTimeout + s.config.QueueTimeout + s.config.QueryTimeout + answer,
		IdleTimeout:       s.config.IdleTimeout,
		MaxHeaderBytes:    s.config.MaxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("search api: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(base, s.config.DrainTimeout)
	defer cancel()
	err := srv.Shutdown(drain)
	if errors.Is(err, context.DeadlineExceeded) {
		stop() // ends searches that still run
		s.log.Warn("requests cut off at shutdown", "after", s.config.DrainTimeout)
		err = srv.Close()
	}
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}

// routes lays out the API. gin's mode is its package's only global: every server
// sets the same one.
func (s *Server) routes() http.Handler {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.HandleMethodNotAllowed = true
	e.RedirectTrailingSlash = false
	e.ForwardedByClientIP = false
	e.UseEscapedPath = true
	e.Use(s.identify, s.recovered)
	e.NoRoute(s.noRoute)
	e.NoMethod(s.noMethod)

	e.GET("/healthz", s.health)
	e.GET("/readyz", s.ready)
	if s.deps.Metrics != nil {
		e.GET("/metrics", s.prometheus())
	}
	if s.deps.Starting {
		e.NoRoute(func(c *gin.Context) { s.fail(c, errStarting) })
		return e
	}
	search, oneResource := s.search, s.oneResource
	if s.deps.Searcher == nil {
		search, oneResource = s.noSearch, s.noSearch
	}
	for _, version := range []string{"/v1", "/v1.0"} {
		v := e.Group(version)
		v.GET("/search", s.authenticated, search)
		v.POST("/search", s.authenticated, search)
		v.GET("/resources/:type/*id", s.authenticated, oneResource)
		s.feedRoutes(v)
		s.adminRoutes(v.Group("/admin", s.authenticated, s.adminOnly))
	}
	return e
}

// noSearch answers searches where there is nothing to search with.
func (s *Server) noSearch(c *gin.Context) {
	s.fail(c, fmt.Errorf("%w: it answers no searches; ask one that has the role searchapi", errNotServed))
}
