package elastic_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/indexer/elastic"
	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/storetest"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// cluster is a server that has the indices of the kit's types and answers searches as
// it is told.
type cluster struct {
	mu         sync.Mutex
	generation int
	asked      []string // paths of searches
	answer     func(w http.ResponseWriter, r *http.Request)
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	c.mu.Lock()
	answer := c.answer
	generation := c.generation
	if strings.HasSuffix(r.URL.Path, "/_search") {
		c.asked = append(c.asked, r.URL.Path)
	}
	c.mu.Unlock()
	switch {
	case r.URL.Path == "/":
		fmt.Fprint(w, `{"version":{"number":"8.19.13"}}`)
	case strings.HasSuffix(r.URL.Path, "/_search"):
		if !json.Valid(body) {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		answer(w, r)
	case r.Method == http.MethodGet:
		c.list(w, generation)
	default:
		fmt.Fprint(w, `{}`)
	}
}

// list answers what indices there are.
func (c *cluster) list(w io.Writer, generation int) {
	all := map[string]any{}
	add := func(slug string, meta map[string]any) {
		name := fmt.Sprintf("x-%s-%06d", slug, generation)
		all[name] = map[string]any{
			"aliases":  map[string]any{name + "-read": struct{}{}, name + "-write": struct{}{}},
			"mappings": map[string]any{"_meta": meta},
		}
	}
	for _, t := range storetest.Types() {
		add(strings.ToLower(strings.ReplaceAll(t.Name, "::", "-")), map[string]any{layout.MetaKey: layout.Of(t)})
	}
	add("records", nil)
	if err := json.NewEncoder(w).Encode(all); err != nil {
		fmt.Fprint(w, err)
	}
}

func openFake(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) (*elastic.Store, *cluster) {
	t.Helper()
	c := &cluster{generation: 1, answer: answer}
	srv := httptest.NewServer(c)
	t.Cleanup(srv.Close)
	cfg := elastic.DefaultConfig()
	cfg.Addresses, cfg.Prefix, cfg.SearchTimeout = []string{srv.URL}, "x", 5*time.Second
	s, err := elastic.Open(t.Context(), cfg, storetest.Types(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, c
}

func ask(scope *query.Scope) query.Request {
	return query.Request{Types: []string{storetest.Port, storetest.Server}, Query: query.Term{Field: "status", Value: "hush-hush"}, Size: 5, Scope: scope}
}

var everything = query.Scope{All: true, Hidden: true}

const oneHit = `{"timed_out":%t,"_shards":{"total":2,"successful":%d,"failed":%d,"failures":[{"shard":0,"index":"x",` +
	`"reason":{"type":"query_shard_exception","reason":"no hypervisor: hush-hush"}}]},"hits":{"total":{"value":1,"relation":"eq"},"max_score":1.0,` +
	`"hits":[{"_index":"x","_id":"s","_score":1.0,"_source":{"id":"s","type":"Test::Server","fields":{"name":"n"},"system":{"revision":3,"tenant_revision":2}},"sort":[1.0,"Test::Server","s"]}]}}`

func TestSearchThatShardsDidNotAnswerIsPartialAndSaysSo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		timedOut bool
		failed   int
		want     string
	}{
		{false, 0, ""},
		{false, 1, "1 of 2 shards of the index did not answer"},
		{true, 0, "the search ran out of time after 5s"},
		{true, 1, "the search ran out of time after 5s; 1 of 2 shards of the index did not answer"},
	} {
		s, _ := openFake(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, oneHit, c.timedOut, 2-c.failed, c.failed) })
		res, err := s.Search(t.Context(), ask(&everything))
		if err != nil || res.Partial != c.want || len(res.Hits) != 1 || res.Hits[0].Revision != 3 || res.Total != 1 {
			t.Errorf("Search = %+v, %v, want partial %q", res, err, c.want)
		}
	}
}

// Copies of a shard refresh at different moments: who is sent to another one each time
// sees resources vanish and come back.
func TestSearchesOfTheSamePeopleGoToTheSameCopies(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var sent []string
	s, _ := openFake(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, r.URL.Query().Get("preference"))
		fmt.Fprintf(w, oneHit, false, 2, 0)
	})
	for _, project := range []resource.Principal{"project:a", "project:b", "project:a"} {
		if _, err := s.Search(t.Context(), ask(&query.Scope{Principals: []resource.Principal{project}})); err != nil {
			t.Fatal(err)
		}
	}
	n := len(sent) / 3
	if n == 0 || sent[0] == "" || strings.HasPrefix(sent[0], "_") || sent[0] != sent[2*n] || sent[0] == sent[n] {
		t.Errorf("searches of a, b and a preferred %q", sent)
	}
}

func TestNoErrorQuotesWhatTheServerSaid(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		body   string
		is     error // nil: a *query.Error
	}{
		{400, `{"error":{"type":"search_phase_execution_exception","reason":"hush-hush hypervisor","root_cause":[{"type":"too_many_clauses","reason":"hush-hush"}]}}`, nil},
		{429, `{"error":{"type":"rejected_execution_exception","reason":"hush-hush"}}`, resource.ErrAgain},
		{503, `{"error":{"type":"search_phase_execution_exception","reason":"hush-hush"}}`, resource.ErrAgain},
		{502, `<html>hush-hush</html>`, resource.ErrAgain},
		{200, `{"hits":`, resource.ErrAgain},
		{200, `hush-hush`, resource.ErrAgain},
	} {
		s, _ := openFake(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			fmt.Fprint(w, c.body)
		})
		_, err := s.Search(t.Context(), ask(&everything))
		invalid, isInvalid := errors.AsType[*query.Error](err)
		if err == nil || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "hypervisor") {
			t.Errorf("%d: %v", c.status, err)
		}
		if c.is == nil && (!isInvalid || invalid.Path != "query") || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%d: %v is of the wrong kind", c.status, err)
		}
	}
}

func TestSearchBeginsAgainWhenAReindexMovesAnAlias(t *testing.T) {
	t.Parallel()
	var c *cluster
	s, c := openFake(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "-000001-read") {
			c.mu.Lock()
			c.generation = 2
			c.mu.Unlock()
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"error":{"type":"index_not_found_exception","reason":"no such index [x-test-server-000001-read]"},"status":404}`)
			return
		}
		fmt.Fprintf(w, oneHit, false, 2, 0)
	})
	res, err := s.Search(t.Context(), ask(&everything))
	if err != nil || res.Total != 1 || res.Partial != "" {
		t.Fatalf("Search = %+v, %v", res, err)
	}
	if last := c.asked[len(c.asked)-1]; last != "/x-test-port-000002-read,x-test-server-000002-read/_search" || len(c.asked) > 3 {
		t.Errorf("asked %v", c.asked)
	}
	// An alias that never comes back ends in an error, not in searching for ever.
	c.mu.Lock()
	c.asked, c.answer = nil, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"error":{"type":"index_not_found_exception","reason":"no such index"},"status":404}`)
	}
	c.mu.Unlock()
	if _, err := s.Search(t.Context(), ask(&everything)); !errors.Is(err, resource.ErrAgain) || len(c.asked) > 10 {
		t.Errorf("Search = %v after %d searches", err, len(c.asked))
	}
}

func TestSearchEndsWithItsTimeAndWithItsCaller(t *testing.T) {
	t.Parallel()
	came, gone := make(chan struct{}, 2), make(chan struct{}, 2)
	s, _ := openFake(t, func(_ http.ResponseWriter, r *http.Request) {
		came <- struct{}{}
		<-r.Context().Done() // the connection is closed: the server stops working
		gone <- struct{}{}
	})
	req := ask(&everything)
	req.Timeout = 50 * time.Millisecond
	res, err := s.Search(t.Context(), req)
	if err != nil || !strings.Contains(res.Partial, "ran out of time after 50ms") {
		t.Errorf("Search = %+v, %v, want a partial answer", res, err)
	}
	select {
	case <-came:
		<-gone
	default: // a busy machine had not sent it by then
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the caller left")
	cancel(why)
	if _, err := s.Search(ctx, ask(&everything)); !errors.Is(err, why) {
		t.Errorf("Search = %v, want the cause", err)
	}
}

func TestSearchForNobodyAsksNobody(t *testing.T) {
	t.Parallel()
	s, c := openFake(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, oneHit, false, 2, 0) })
	for _, req := range []query.Request{
		ask(&query.Scope{}),
		{Types: []string{storetest.Server}, Query: query.Term{Field: "hypervisor", Value: "x"}, Size: 5, Scope: &query.Scope{All: true}},
		{Types: []string{"Unknown::Type"}, Query: query.MatchAll{}, Size: 5, Scope: &everything},
	} {
		if res, err := s.Search(t.Context(), req); err != nil || res.Total != 0 {
			t.Errorf("Search = %+v, %v", res, err)
		}
	}
	if len(c.asked) > 0 {
		t.Errorf("asked %v", c.asked)
	}
	if _, err := s.Search(t.Context(), ask(nil)); err == nil {
		t.Error("a request without a scope was answered")
	}
}
