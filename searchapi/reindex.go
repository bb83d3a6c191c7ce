package searchapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// Indices is the operators' view of what documents are kept in, and of the way to
// new indices after the catalogue has changed. What is not there is ErrNotFound, what
// cannot be now ErrConflict, and ErrUnavailable that the store does not answer.
type Indices interface {
	// Indices returns what there is and what the catalogue wants, by name.
	Indices(ctx context.Context) ([]resource.Index, error)
	// Create makes those that are missing, and returns their names.
	Create(ctx context.Context) ([]string, error)
	// Drop removes one that is not in use, with its documents.
	Drop(ctx context.Context, name string) error
	// Reindex says what would be done and, unless it is a dry run, has it done.
	Reindex(ctx context.Context, q ReindexRequest) ([]record.Reindex, error)
	// Jobs returns the last reindex of each type that had one.
	Jobs(ctx context.Context) ([]record.Reindex, error)
	// Abort has a reindex ended and undone.
	Abort(ctx context.Context, typ string) (record.Reindex, error)
}

// ReindexRequest asks for new indices for types whose index is not as the catalogue
// wants it.
type ReindexRequest struct {
	Types  []string `json:"types"`   // none: all
	DryRun bool     `json:"dry_run"` // only say what would be done
	Force  bool     `json:"force"`   // also where nothing differs
	Rate   int      `json:"rate"`    // documents a second at most; 0: as fast as it goes
	Keep   bool     `json:"keep"`    // leave the old index
	// Grace is how long the old index is left otherwise, in seconds.
	Grace float64 `json:"grace"`
}

// What a request may ask for: documents a second, and seconds.
const (
	maxReindexRate  = 10_000_000
	maxReindexGrace = 30 * 24 * 3600
)

func (s *Server) indexRoutes(g *gin.RouterGroup) {
	if s.deps.Indices == nil {
		return
	}
	g.GET("/indices", s.listIndices)
	g.POST("/indices", s.createIndices)
	g.DELETE("/indices/:name", s.dropIndex)
	g.GET("/reindex", s.listReindexes)
	g.POST("/reindex", s.reindex)
	g.DELETE("/reindex/:type", s.abortReindex)
}

func (s *Server) listIndices(c *gin.Context) {
	list, err := s.deps.Indices.Indices(c.Request.Context())
	if err != nil {
		s.fail(c, err)
		return
	}
	matches := true
	for _, x := range list {
		matches = matches && len(x.Differences) == 0 && len(x.Settings) == 0 && x.Trouble == "" && x.State != resource.IndexMissing
	}
	s.answer(c, http.StatusOK, gin.H{"indices": some(list), "as_wanted": matches})
}

func (s *Server) createIndices(c *gin.Context) {
	made, err := s.deps.Indices.Create(c.Request.Context())
	if err != nil {
		s.fail(c, err)
		return
	}
	s.answer(c, http.StatusOK, gin.H{"created": some(made)})
}

// dropIndex wants the name twice, since there is no way back.
func (s *Server) dropIndex(c *gin.Context) {
	name := c.Param("name")
	if c.Query("confirm") != name {
		s.fail(c, &query.Error{Path: "confirm", Detail: "must repeat the name of the index: its documents will be gone for good"})
		return
	}
	if err := s.deps.Indices.Drop(c.Request.Context(), name); err != nil {
		s.fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}

func (s *Server) listReindexes(c *gin.Context) {
	jobs, err := s.deps.Indices.Jobs(c.Request.Context())
	if err != nil {
		s.fail(c, err)
		return
	}
	s.answer(c, http.StatusOK, gin.H{"reindexes": jobViews(jobs)})
}

func (s *Server) reindex(c *gin.Context) {
	q, err := reindexRequest(c.Request.Body)
	if err != nil {
		s.fail(c, err)
		return
	}
	jobs, err := s.deps.Indices.Reindex(c.Request.Context(), q)
	if err != nil {
		s.fail(c, err)
		return
	}
	status := http.StatusAccepted
	if q.DryRun {
		status = http.StatusOK
	}
	s.answer(c, status, gin.H{"dry_run": q.DryRun, "reindexes": jobViews(jobs)})
}

func reindexRequest(body io.Reader) (q ReindexRequest, err error) {
	dec := json.NewDecoder(http.MaxBytesReader(nil, io.NopCloser(body), 64<<10))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&q); err != nil && !errors.Is(err, io.EOF) {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return q, err
		}
		return q, &query.Error{Path: "body", Detail: strings.TrimPrefix(err.Error(), "json: ") + "; allowed here: types, dry_run, force, rate, keep, grace"}
	}
	if q.Rate < 0 || q.Rate > maxReindexRate {
		return q, &query.Error{Path: "rate", Detail: fmt.Sprintf("must be from 0 to %d", maxReindexRate)}
	}
	if q.Grace < 0 || q.Grace > maxReindexGrace {
		return q, &query.Error{Path: "grace", Detail: fmt.Sprintf("must be from 0 to %d seconds", maxReindexGrace)}
	}
	return q, nil
}

func (s *Server) abortReindex(c *gin.Context) {
	job, err := s.deps.Indices.Abort(c.Request.Context(), c.Param("type"))
	if err != nil {
		s.fail(c, err)
		return
	}
	s.answer(c, http.StatusAccepted, jobViews([]record.Reindex{job})[0])
}

// jobView is a reindex without what only the store understands.
type jobView struct {
	record.Reindex
	Checkpoint *json.RawMessage `json:"checkpoint,omitempty"`
	// Left and Paused in seconds, beside the exact figures.
	LeftSeconds   float64 `json:"left_seconds,omitempty"`
	PausedSeconds float64 `json:"paused_seconds,omitempty"`
}

func jobViews(jobs []record.Reindex) []jobView {
	out := make([]jobView, len(jobs))
	for i, j := range jobs {
		out[i] = jobView{Reindex: j, LeftSeconds: j.Left.Seconds(), PausedSeconds: j.Paused.Seconds()}
	}
	return out
}

// some is a list that is never null.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
