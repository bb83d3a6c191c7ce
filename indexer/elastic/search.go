package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/fresnel-search/fresnel/indexer/elastic/dsl"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/searchapi/query"
	"github.com/fresnel-search/fresnel/searchapi/view"
)

// searchTries is how often a search begins again because a reindex moved an alias
// while it ran.
const searchTries = 5

// errSearchTimeout ends a search that took longer than it may.
var errSearchTimeout = errors.New("search timed out")

// searches is what searching keeps between requests.
type searches struct {
	view *view.View

	mu     sync.Mutex
	joined map[string]joinedIndex // by type
	looked map[string]time.Time   // by type, for outdated
}

// joinedIndex is an index as searches see it.
type joinedIndex struct {
	of   *index
	seen *dsl.Index
}

// searched are the indices of the types of one request, in their order.
type searched struct {
	indices []*index
	seen    []*dsl.Index
	missing []string // types without an index
}

// Search answers a request that policy has restricted; without a scope it is refused.
// What was written before the last refresh is found. A search that runs out of time,
// or that some shards did not answer, answers with what it has and says so. The error
// wraps resource.ErrAgain if the cluster cannot answer now; no error quotes what the
// server said.
func (s *Store) Search(ctx context.Context, req query.Request) (res query.Result, err error) {
	start := time.Now()
	if req.Scope == nil {
		return res, dsl.ErrUnrestricted
	}
	limit := req.Timeout
	if limit <= 0 {
		limit = s.cfg.SearchTimeout
	}
	bound, cancel := context.WithTimeoutCause(ctx, limit, errSearchTimeout)
	defer cancel()
	res, err = s.search(bound, &req, limit)
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(bound), errSearchTimeout) {
		res, err = query.Result{Partial: ranOut(limit)}, nil
	}
	res.Took = time.Since(start)
	return res, err
}

func ranOut(limit time.Duration) string { return "the search ran out of time after " + limit.String() }

// search begins again, with what serves now, whenever an alias is gone.
func (s *Store) search(ctx context.Context, req *query.Request, limit time.Duration) (res query.Result, err error) {
	for range searchTries {
		var in searched
		if in, err = s.searched(ctx, req.Types); err != nil {
			return res, err
		}
		var plan *dsl.Plan
		// The server stops before we do, so that what it has found arrives.
		if plan, err = dsl.Compile(req, in.seen, limit*3/4); err != nil {
			return res, err
		}
		if s.outdated(ctx, &in, plan) {
			continue
		}
		if res, err = s.run(ctx, req, plan, &in, limit); err == nil {
			res.Partial = joinWords(res.Partial, in.missed())
			return res, nil
		}
		if !gone(err) {
			break
		}
		if lerr := s.lookAgain(ctx, &in, err); lerr != nil {
			return res, lerr
		}
	}
	return res, s.searchError(ctx, err)
}

// searched finds the indices to search. A type without one is missing from the answer,
// which says so; if all are, there is none.
func (s *Store) searched(ctx context.Context, types []string) (in searched, err error) {
	for _, typ := range types {
		if s.types[typ] == nil {
			continue
		}
		ix, err := s.index(ctx, typ)
		switch {
		case errors.Is(err, errMissing):
			in.missing = append(in.missing, typ)
			continue
		case err != nil:
			return in, s.searchError(ctx, err)
		}
		in.indices = append(in.indices, ix)
		in.seen = append(in.seen, s.searches.join(ix, s))
	}
	if len(in.indices) == 0 && len(in.missing) > 0 {
		return in, fmt.Errorf("search: %w: no index for %s", resource.ErrAgain, strings.Join(in.missing, ", "))
	}
	return in, nil
}

func (in *searched) missed() string {
	if len(in.missing) == 0 {
		return ""
	}
	return "there is no index for " + strings.Join(in.missing, ", ")
}

// join is what searches see of an index; it is made once.
func (c *searches) join(ix *index, s *Store) *dsl.Index {
	c.mu.Lock()
	defer c.mu.Unlock()
	if j := c.joined[ix.typ]; j.of == ix {
		return j.seen
	}
	if c.joined == nil {
		c.joined = map[string]joinedIndex{}
	}
	j := joinedIndex{ix, dsl.NewIndex(ix.name, ix.layout, s.types[ix.typ])}
	c.joined[ix.typ] = j
	return j.seen
}

// lookAgain forgets the indices whose aliases an answer says are gone; all, if it does
// not say which.
func (s *Store) lookAgain(ctx context.Context, in *searched, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	var stale []*index
	for _, ix := range in.indices {
		if strings.Contains(e.Reason, "["+ix.read+"]") {
			stale = append(stale, ix)
		}
	}
	if len(stale) == 0 {
		stale = in.indices
	}
	for _, ix := range stale {
		if _, err := s.again(ctx, ix.typ, ix); err != nil && !errors.Is(err, errMissing) {
			return s.searchError(ctx, err)
		}
	}
	return nil
}

// run sends the searches of a plan, one after the other, and merges what they find.
func (s *Store) run(ctx context.Context, req *query.Request, plan *dsl.Plan, in *searched, limit time.Duration) (res query.Result, err error) {
	m := merger{req: req, plan: plan, view: s.searches.view}
	for i := range plan.Parts {
		part := &plan.Parts[i]
		aliases := make([]string, len(part.Indices))
		for j, at := range part.Indices {
			aliases[j] = in.indices[at].read
		}
		left := s.cfg.SearchTimeout
		if deadline, ok := ctx.Deadline(); ok {
			left = max(time.Until(deadline), time.Millisecond)
		}
		body, err := s.c.within(ctx, left, esapi.SearchRequest{
			Index: aliases, Body: bytes.NewReader(part.Body), AllowPartialSearchResults: new(true), Preference: preferred(req.Scope),
		})
		if err != nil {
			return res, err
		}
		if err := m.add(part, body); err != nil {
			return res, err
		}
	}
	if len(m.failures) > 0 {
		s.log.Warn("shards did not answer a search", "count", m.failed, "err", strings.Join(m.failures, ", "))
	}
	return m.result(limit)
}

// preferred sends all who see the same to the same copy of each shard, as long as it
// is there: copies refresh at different moments, so that what one has shown could be
// missing, or older, in the next answer of another.
func preferred(s *query.Scope) string {
	h := fnv.New64a()
	for _, p := range s.Principals {
		_, _ = io.WriteString(h, string(p)+"\n")
	}
	return "s" + strconv.FormatUint(h.Sum64(), 16)
}

// searchError makes of a failure what may be told: nothing that the server said.
func (s *Store) searchError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var e *Error
	if !errors.As(err, &e) {
		return fmt.Errorf("search: %w: %w", resource.ErrAgain, err)
	}
	s.log.Debug("search refused by the server", "status", e.Status, "err_type", e.Type, "cause", e.Cause)
	said := fmt.Sprintf("the server answers %d %s %s", e.Status, e.Type, e.Cause)
	switch {
	case classify(e.Status, e.Type) == blocking: // closed, or blocked for reading
		return fmt.Errorf("search: %w: %s", resource.ErrAgain, said)
	case e.Status == http.StatusBadRequest:
		return &query.Error{Path: "query", Detail: "is too complex for the index, such as by too many words or too long a pattern"}
	case e.Status == http.StatusTooManyRequests, e.Status >= 500, gone(err):
		return fmt.Errorf("search: %w: %s", resource.ErrAgain, said)
	default:
		return fmt.Errorf("search: %s", said)
	}
}

// Get returns one resource as a scope sees it, realtime: whoever was told of a change
// never finds an older state. It is query.ErrNotFound if the scope does not see it, be it
// that the resource is deleted, was never shown, is another's or is not at all.
func (s *Store) Get(ctx context.Context, ref resource.Ref, scope query.Scope) (h query.Hit, err error) {
	bound, cancel := context.WithTimeoutCause(ctx, s.cfg.SearchTimeout, errSearchTimeout)
	defer cancel()
	docs, err := s.Load(bound, []resource.Ref{ref})
	if err != nil {
		return h, fmt.Errorf("get %s: %w", ref, s.searchError(ctx, err))
	}
	d := &docs[0]
	if d.Version == 0 || d.Ghost() || d.Deleted || !scope.Sees(d.Readers) {
		return h, query.ErrNotFound
	}
	return s.searches.view.Hit(d, &scope, nil)
}

func joinWords(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// quoteFree is the type of a shard's failure, which quotes nothing.
func quoteFree(raw json.RawMessage) string {
	var f struct {
		Reason struct {
			Type string `json:"type"`
		} `json:"reason"`
	}
	if json.Unmarshal(raw, &f) != nil {
		return "unknown"
	}
	return identifier(f.Reason.Type)
}
