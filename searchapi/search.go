package searchapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/searchapi/policy"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

const indexName = "fresnel"

func (s *Server) search(c *gin.Context) {
	start := time.Now()
	r, err := s.readRequest(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	caller := callerOf(c)
	if err := s.policy.Restrict(caller, &r, start); err != nil {
		s.fail(c, err)
		return
	}
	r.Timeout = s.config.QueryTimeout
	var found query.Result
	err = s.run(c.Request.Context(), caller, func(ctx context.Context) (err error) {
		found, err = s.deps.Searcher.Search(ctx, r)
		return err
	})
	if err != nil {
		s.fail(c, err)
		return
	}
	out := answered{
		Took: time.Since(start).Milliseconds(), TimedOut: found.Partial != "", Partial: found.Partial,
		Shards: shards{Total: 1, Successful: 1},
		Hits:   hits{Total: found.Total, MaxScore: found.MaxScore, Hits: make([]hit, len(found.Hits))},
	}
	for i, h := range found.Hits {
		out.Hits.Hits[i] = hit{Index: indexName, Type: h.Ref.Type, ID: h.Ref.ID, Score: h.Score, Source: h.Source, Sort: h.Sort}
		if r.Version {
			out.Hits.Hits[i].Version = &h.Revision
		}
	}
	b, err := out.encode()
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Data(http.StatusOK, "application/json", b)
}

// readRequest reads a search from the body or, for a GET without one, from the URL.
func (s *Server) readRequest(c *gin.Context) (query.Request, error) {
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, int64(s.config.Limits.BodyBytes)))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return query.Request{}, err
	case err != nil:
		return query.Request{}, &query.Error{Path: "body", Detail: "could not be read to its end"}
	}
	params := c.Request.URL.Query()
	if c.Request.Method == http.MethodGet && len(body) == 0 {
		return query.ParseParams(params, s.config.Limits)
	}
	if len(params) > 0 {
		first := slices.Min(slices.Collect(maps.Keys(params)))
		return query.Request{}, &query.Error{Path: first, Detail: "a search with a body takes no parameters in the URL"}
	}
	return query.Parse(body, s.config.Limits)
}

// run runs a search of a caller when there is a place for it, within QueryTimeout.
func (s *Server) run(ctx context.Context, caller policy.Caller, search func(context.Context) error) error {
	leave, err := s.gate.enter(ctx, caller.ProjectID)
	if err != nil {
		if errors.Is(err, errBusy) {
			s.metrics.refused.Inc()
		}
		return err
	}
	defer leave()
	s.metrics.searches.Inc()
	defer s.metrics.searches.Dec()
	ctx, cancel := context.WithTimeoutCause(ctx, s.config.QueryTimeout, errQueryTimeout)
	defer cancel()
	if err := search(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause // whatever the store made of it
		}
		return err
	}
	return nil
}

// shown is the answer to a request for one resource.
type shown struct {
	Type     string          `json:"type"`
	ID       string          `json:"id"`
	Revision int64           `json:"revision"`
	Document json.RawMessage `json:"document"`
}

func (s *Server) oneResource(c *gin.Context) {
	caller := callerOf(c)
	all, err := allProjects(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	t, err := s.policy.Type(caller, c.Param("type"))
	if err != nil {
		s.fail(c, err)
		return
	}
	ref := resource.Ref{Type: t.Name, ID: strings.TrimPrefix(c.Param("id"), "/")}
	if ref.ID == "" {
		s.fail(c, query.ErrNotFound)
		return
	}
	var h query.Hit
	err = s.run(c.Request.Context(), caller, func(ctx context.Context) (err error) {
		h, err = s.deps.Searcher.Get(ctx, ref, s.policy.Scope(caller, all))
		return err
	})
	if err != nil {
		s.fail(c, err)
		return
	}
	s.answer(c, http.StatusOK, shown{Type: h.Ref.Type, ID: h.Ref.ID, Revision: h.Revision, Document: h.Source})
}

// allProjects reads the only parameter that a request for one resource takes.
func allProjects(c *gin.Context) (bool, error) {
	for key, values := range c.Request.URL.Query() {
		if key != "all_projects" {
			return false, &query.Error{Path: key, Detail: "unknown parameter; allowed here: all_projects"}
		}
		switch v := values[len(values)-1]; strings.ToLower(v) {
		case "true":
			return true, nil
		case "false":
		default:
			return false, &query.Error{Path: key, Detail: fmt.Sprintf("must be true or false, is %q", v)}
		}
	}
	return false, nil
}
