package searchapi_test

import (
	"bytes"
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

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/searchapi"
	"github.com/fresnel-search/fresnel/searchapi/policy"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// people are callers by their token.
type people map[string]policy.Caller

func (p people) Authenticate(_ context.Context, r *http.Request) (policy.Caller, error) {
	c, ok := p[r.Header.Get("X-Auth-Token")]
	if !ok {
		return c, fmt.Errorf("%w: who are you", policy.ErrUnauthenticated)
	}
	return c, nil
}

func (people) Challenge() string { return `Bearer realm="test"` }

func everybody() people {
	return people{
		"ann":  {UserID: "ann", ProjectID: "a"},
		"bob":  {UserID: "bob", ProjectID: "b"},
		"root": {UserID: "root", ProjectID: "a", Admin: true},
	}
}

// searcher answers with functions and remembers the last request.
type searcher struct {
	mu     sync.Mutex
	last   query.Request
	search func(ctx context.Context, r query.Request) (query.Result, error)
	get    func(ref resource.Ref, s query.Scope) (query.Hit, error)
}

func (s *searcher) Search(ctx context.Context, r query.Request) (query.Result, error) {
	s.mu.Lock()
	s.last = r
	s.mu.Unlock()
	if s.search == nil {
		return query.Result{}, nil
	}
	return s.search(ctx, r)
}

func (s *searcher) Get(_ context.Context, ref resource.Ref, sc query.Scope) (query.Hit, error) {
	if s.get == nil {
		return query.Hit{}, query.ErrNotFound
	}
	return s.get(ref, sc)
}

func newServer(t *testing.T, s *searcher, change func(*searchapi.Config, *searchapi.Deps)) *searchapi.Server {
	t.Helper()
	types, err := catalog.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	c, d := searchapi.DefaultConfig(), searchapi.Deps{Catalog: types, Searcher: s, Identity: everybody()}
	c.Listen = "127.0.0.1:0"
	if change != nil {
		change(&c, &d)
	}
	srv, err := searchapi.New(c, d)
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

// ask makes a request as somebody and returns the answer, decoded.
func ask(t *testing.T, s *searchapi.Server, who, request, body string) (*httptest.ResponseRecorder, map[string]any) {
	t.Helper()
	method, path, _ := strings.Cut(request, " ")
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body == "" {
		r = httptest.NewRequest(method, path, nil)
	}
	r.Header.Set("X-Auth-Token", who)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	var out map[string]any
	if w.Body.Len() > 0 && strings.Contains(w.Header().Get("Content-Type"), "json") {
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			t.Fatalf("%s %s answers %q: %v", method, path, w.Body, err)
		}
	}
	return w, out
}

func TestSearchAnswersInSearchlightsShape(t *testing.T) {
	t.Parallel()
	score := 1.5
	s := &searcher{search: func(context.Context, query.Request) (query.Result, error) {
		return query.Result{Total: 7, MaxScore: &score, Hits: []query.Hit{
			{Ref: resource.Ref{Type: "OS::Nova::Server", ID: "x"}, Score: &score, Revision: 3, Source: []byte(`{"id":"x","name":"<b>"}`)},
			{Ref: resource.Ref{Type: "OS::Neutron::Net", ID: "y"}, Revision: 1, Sort: []json.RawMessage{[]byte(`5`), []byte(`null`)}},
		}}, nil
	}}
	srv := newServer(t, s, nil)
	w, out := ask(t, srv, "ann", "POST /v1/search", `{"type":null,"all_projects":false,"_source":["id","name"],"version":true,
		"query":{"query_string":{"query":"name: lab*"}},"limit":2}`)
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	delete(out, "took")
	var want map[string]any
	if err := json.Unmarshal([]byte(`{"timed_out":false,"_shards":{"total":1,"successful":1,"failed":0},
		"hits":{"total":7,"max_score":1.5,"hits":[
			{"_index":"fresnel","_type":"OS::Nova::Server","_id":"x","_score":1.5,"_version":3,"_source":{"id":"x","name":"<b>"}},
			{"_index":"fresnel","_type":"OS::Neutron::Net","_id":"y","_score":null,"_version":1,"sort":[5,null]}]}}`), &want); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, out); d != "" {
		t.Error(d)
	}
	if !strings.Contains(w.Body.String(), "<b>") {
		t.Error("the document was escaped for HTML")
	}
	if s.last.Scope == nil || s.last.Scope.All || s.last.Scope.Hidden || len(s.last.Types) == 0 || s.last.Size != 2 {
		t.Errorf("the store was asked %+v", s.last)
	}
}

func TestSearchTakesTheURLOfAGet(t *testing.T) {
	t.Parallel()
	s := &searcher{}
	srv := newServer(t, s, nil)
	if w, _ := ask(t, srv, "ann", "GET /v1/search?q=name:x&type=OS::Nova::Server", ""); w.Code != http.StatusOK || len(s.last.Types) != 1 {
		t.Errorf("GET with parameters: %d %s", w.Code, w.Body)
	}
	if w, _ := ask(t, srv, "ann", "GET /v1.0/search", `{"size":0}`); w.Code != http.StatusOK || s.last.Size != 0 {
		t.Errorf("GET with a body: %d %s", w.Code, w.Body)
	}
	if w, _ := ask(t, srv, "root", "GET /v1/search?all_projects=True", ""); w.Code != http.StatusOK || !s.last.Scope.All {
		t.Errorf("GET of all projects: %d %s", w.Code, w.Body)
	}
}

func TestEveryErrorIsAProblemThatOldClientsRead(t *testing.T) {
	t.Parallel()
	s := &searcher{search: func(_ context.Context, r query.Request) (query.Result, error) {
		switch r.Size {
		case 1:
			return query.Result{}, errors.New("SELECT secret FROM table")
		case 2:
			panic("boom")
		case 3:
			return query.Result{}, &query.Error{Path: "sort[0]", Detail: "bad"}
		case 4:
			return query.Result{}, fmt.Errorf("x: %w", resource.ErrAgain)
		}
		return query.Result{}, nil
	}}
	srv := newServer(t, s, nil)
	for _, c := range []struct {
		name, who, method, path, body string
		status                        int
		says                          string
	}{
		{"no body", "ann", "POST", "/v1/search", "", 400, "body: is empty"},
		{"unknown key", "ann", "POST", "/v1/search", `{"qurey":{}}`, 400, "qurey: unknown key; did you mean query?"},
		{"aggregations", "root", "POST", "/v1/search", `{"aggs":{}}`, 400, "aggs: unknown key"},
		{"unknown clause", "ann", "POST", "/v1/search", `{"query":{"bool":{"must":[{"fuzy":{}}]}}}`, 400, "query.bool.must[0].fuzy: unknown clause"},
		{"unknown type", "ann", "POST", "/v1/search", `{"type":"OS::Nova::Sever"}`, 400, "did you mean OS::Nova::Server?"},
		{"unknown parameter", "ann", "GET", "/v1/search?qq=1", "", 400, "qq: unknown parameter"},
		{"body and parameters", "ann", "POST", "/v1/search?size=1", `{}`, 400, "size: "},
		{"large body", "ann", "POST", "/v1/search", `{"query":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "too large"},
		{"nobody", "", "POST", "/v1/search", `{}`, 401, "who are you"},
		{"nobody, badly", "", "POST", "/v1/search", `{{`, 401, "who are you"},
		{"store's mistake", "ann", "POST", "/v1/search", `{"size":1}`, 500, "something went wrong"},
		{"panic", "ann", "POST", "/v1/search", `{"size":2}`, 500, "something went wrong"},
		{"refused by the store", "ann", "POST", "/v1/search", `{"size":3}`, 400, "sort[0]: bad"},
		{"store busy", "ann", "POST", "/v1/search", `{"size":4}`, 503, "try again"},
		{"method", "ann", "PUT", "/v1/search", `{}`, 405, "GET, POST"},
		{"path", "ann", "GET", "/v1/nowhere", "", 404, "nothing at this path"},
		{"resource", "ann", "GET", "/v1/resources/servers/x", "", 404, "resource not found"},
		{"resource of no type", "ann", "GET", "/v1/resources/sevrers/x", "", 404, "resource not found"},
		{"resource without id", "ann", "GET", "/v1/resources/servers/", "", 404, "resource not found"},
		{"resource, parameter", "ann", "GET", "/v1/resources/servers/x?a=b", "", 400, "a: unknown parameter"},
		{"admin things", "ann", "GET", "/v1/admin/books", "", 403, "only admins"},
		{"admin things for nobody", "", "GET", "/v1/admin/books", "", 401, "who are you"},
		{"not served", "root", "GET", "/v1/admin/books", "", 404, "does not serve"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, out := ask(t, srv, c.who, c.method+" "+c.path, c.body)
			if w.Code != c.status || w.Header().Get("Content-Type") != "application/problem+json" {
				t.Fatalf("status %d, type %q: %s; want %d", w.Code, w.Header().Get("Content-Type"), w.Body, c.status)
			}
			old, ok := out["error"].(map[string]any)
			detail, isText := out["detail"].(string)
			if !ok || !isText || old["message"] != detail || old["code"] != float64(c.status) || old["title"] != out["title"] {
				t.Errorf("answer is %s", w.Body)
			}
			if !strings.Contains(detail, c.says) || strings.Contains(w.Body.String(), "secret") || strings.Contains(w.Body.String(), "boom") {
				t.Errorf("detail is %q, want %q", detail, c.says)
			}
			if out["request_id"] != w.Header().Get("X-Openstack-Request-Id") {
				t.Errorf("request id %v is not the header's", out["request_id"])
			}
			if c.status == 401 && w.Header().Get("WWW-Authenticate") == "" {
				t.Error("401 without WWW-Authenticate")
			}
			if c.status == 405 && w.Header().Get("Allow") == "" {
				t.Error("405 without Allow")
			}
		})
	}
}

func TestRequestIDsAreKeptAndMade(t *testing.T) {
	t.Parallel()
	srv := newServer(t, &searcher{}, nil)
	for given, keeps := range map[string]bool{"req-1f2e-33": true, "abc": true, "": false, "a b\n": false, strings.Repeat("a", 99): false} {
		r := httptest.NewRequest("GET", "/healthz", nil)
		r.Header.Set("X-Openstack-Request-Id", given)
		w := httptest.NewRecorder()
		srv.Handler().ServeHTTP(w, r)
		got := w.Header().Get("X-Openstack-Request-Id")
		if want := "req-" + strings.TrimPrefix(given, "req-"); !strings.HasPrefix(got, "req-") || (got == want) != keeps || len(got) < 5 {
			t.Errorf("request id %q became %q", given, got)
		}
	}
}

func TestGetAnswersWithOneResource(t *testing.T) {
	t.Parallel()
	s := &searcher{get: func(ref resource.Ref, sc query.Scope) (query.Hit, error) {
		if ref != (resource.Ref{Type: "OS::Nova::Server", ID: "a/b"}) {
			return query.Hit{}, query.ErrNotFound
		}
		if !sc.All && len(sc.Principals) != 3 {
			return query.Hit{}, errors.New("no scope")
		}
		return query.Hit{Ref: ref, Revision: 4, Source: []byte(`{"id":"a/b"}`)}, nil
	}}
	srv := newServer(t, s, nil)
	for _, path := range []string{"/v1/resources/servers/a/b", "/v1/resources/OS::Nova::Server/a%2Fb", "/v1.0/resources/OS%3A%3ANova%3A%3AServer/a/b"} {
		w, out := ask(t, srv, "ann", "GET "+path, "")
		want := map[string]any{"type": "OS::Nova::Server", "id": "a/b", "revision": 4.0, "document": map[string]any{"id": "a/b"}}
		if d := cmp.Diff(want, out); w.Code != 200 || d != "" {
			t.Errorf("GET %s: %d %s", path, w.Code, d)
		}
	}
}

func TestVersionsAreDiscoveredAtEveryOtherPath(t *testing.T) {
	t.Parallel()
	srv := newServer(t, &searcher{}, nil)
	for _, path := range []string{"/", "/v2/search", "/favicon.ico"} {
		w, out := ask(t, srv, "", "GET "+path, "")
		var want map[string]any
		err := json.Unmarshal([]byte(`{"versions":[{"id":"v1.0","status":"CURRENT","links":[{"rel":"self","href":"http://example.com/v1/"}]}]}`), &want)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, out); w.Code != 300 || d != "" {
			t.Errorf("GET %s: %d %s", path, w.Code, d)
		}
	}
}

func TestReadinessNamesWhatIsNotUp(t *testing.T) {
	t.Parallel()
	parts := []searchapi.Part{{Name: "indexer", State: searchapi.Degraded, Reason: "behind"}}
	srv := newServer(t, &searcher{}, func(_ *searchapi.Config, d *searchapi.Deps) { d.Ready = func() []searchapi.Part { return parts } })
	if w, out := ask(t, srv, "", "GET /readyz", ""); w.Code != 200 || out["ready"] != true || !strings.Contains(w.Body.String(), "behind") {
		t.Errorf("degraded: %d %s", w.Code, w.Body)
	}
	parts = append(parts, searchapi.Part{Name: "listener", State: searchapi.Down, Reason: "no broker"})
	if w, out := ask(t, srv, "", "GET /readyz", ""); w.Code != 503 || out["ready"] != false || !strings.Contains(w.Body.String(), "no broker") {
		t.Errorf("down: %d %s", w.Code, w.Body)
	}
}

func TestMetricsCountRequestsByRoute(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	srv := newServer(t, &searcher{}, func(_ *searchapi.Config, d *searchapi.Deps) { d.Registerer, d.Metrics = reg, reg })
	ask(t, srv, "ann", "POST /v1/search", `{}`)
	ask(t, srv, "ann", "POST /v1/search", `{`)
	w, _ := ask(t, srv, "", "GET /metrics", "")
	for _, line := range []string{
		`fresnel_searchapi_requests_total{class="2xx",route="search"} 1`, `fresnel_searchapi_requests_total{class="4xx",route="search"} 1`,
		`fresnel_searchapi_requests_total{class="5xx",route="admin"} 0`,
	} {
		if !strings.Contains(w.Body.String(), line) {
			t.Errorf("metrics lack %s", line)
		}
	}
}

func TestOneProjectsSlowSearchesLeaveRoomForOthers(t *testing.T) {
	t.Parallel()
	started, release := make(chan struct{}, 10), make(chan struct{})
	s := &searcher{search: func(_ context.Context, r query.Request) (query.Result, error) {
		if r.Size == 1 {
			started <- struct{}{}
			<-release
		}
		return query.Result{}, nil
	}}
	srv := newServer(t, s, func(c *searchapi.Config, _ *searchapi.Deps) {
		c.MaxConcurrent, c.MaxConcurrentPerProject, c.QueueTimeout = 3, 2, 20*time.Millisecond
	})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { ask(t, srv, "ann", "POST /v1/search", `{"size":1}`) })
		<-started
	}
	if w, _ := ask(t, srv, "ann", "POST /v1/search", `{}`); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("a third search of the project: %d", w.Code)
	}
	if w, _ := ask(t, srv, "bob", "POST /v1/search", `{}`); w.Code != http.StatusOK {
		t.Errorf("another project's search: %d %s", w.Code, w.Body)
	}
	close(release)
	wg.Wait()
	if w, _ := ask(t, srv, "ann", "POST /v1/search", `{}`); w.Code != http.StatusOK {
		t.Errorf("a search after the slow ones: %d", w.Code)
	}
}

func TestASlowSearchIsAnsweredAsTimedOut(t *testing.T) {
	t.Parallel()
	s := &searcher{search: func(ctx context.Context, _ query.Request) (query.Result, error) {
		<-ctx.Done()
		return query.Result{}, errors.New("interrupted (9)")
	}}
	srv := newServer(t, s, func(c *searchapi.Config, _ *searchapi.Deps) { c.QueryTimeout = 10 * time.Millisecond })
	if w, _ := ask(t, srv, "ann", "POST /v1/search", `{}`); w.Code != http.StatusGatewayTimeout {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	s.search = func(context.Context, query.Request) (query.Result, error) {
		return query.Result{Partial: "out of time"}, nil
	}
	if _, out := ask(t, srv, "ann", "POST /v1/search", `{}`); out["timed_out"] != true || out["partial"] != "out of time" {
		t.Errorf("a partial answer is %v", out)
	}
}

func TestRunAnswersWhatItTookBeforeItStops(t *testing.T) {
	t.Parallel()
	started, release := make(chan struct{}), make(chan struct{})
	s := &searcher{search: func(context.Context, query.Request) (query.Result, error) {
		close(started)
		<-release
		return query.Result{Total: 42}, nil
	}}
	srv := newServer(t, s, nil)
	if err := srv.Bind(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- srv.Run(ctx) }()
	answer := make(chan string, 1)
	go func() { answer <- post(srv.Addr()) }()
	<-started
	cancel()
	close(release)
	if got := <-answer; !strings.Contains(got, `"total":42`) {
		t.Errorf("answer is %s", got)
	}
	if err := <-ran; err != nil {
		t.Errorf("Run = %v", err)
	}
}

func post(addr string) string {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequest("POST", "http://"+addr+"/v1/search", bytes.NewReader([]byte(`{}`)))
	if err != nil {
		return err.Error()
	}
	req.Header.Set("X-Auth-Token", "ann")
	resp, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	b, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return err.Error()
	}
	return string(b)
}

func TestBindTellsThatTheAddressIsTaken(t *testing.T) {
	t.Parallel()
	one := newServer(t, &searcher{}, nil)
	if err := one.Bind(t.Context()); err != nil {
		t.Fatal(err)
	}
	two := newServer(t, &searcher{}, func(c *searchapi.Config, _ *searchapi.Deps) { c.Listen = one.Addr() })
	if err := two.Bind(t.Context()); err == nil || !strings.Contains(err.Error(), one.Addr()) {
		t.Errorf("Bind = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := one.Run(ctx); err != nil {
		t.Error(err)
	}
}

func TestConfigNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	if err := searchapi.DefaultConfig().Validate(); err != nil {
		t.Errorf("the default is refused: %v", err)
	}
	err := searchapi.Config{Listen: "nowhere", PublicEndpoint: "search"}.Validate()
	for _, key := range []string{
		"listen: must be", "public_endpoint: ", "query_timeout: ", "queue_timeout: ", "read_timeout: ", "idle_timeout: ", "drain_timeout: ",
		"max_concurrent: ", "max_concurrent_per_project: ", "max_header_bytes: ", "limits.window: ", "limits.clauses: ",
	} {
		if err == nil || !strings.Contains("\n"+err.Error(), "\n"+key) {
			t.Errorf("Validate = %v, want a line for %s", err, key)
		}
	}
}

// Who asks a server that is not there yet must not take what it cannot know for gone.
func TestServerThatIsStartingKnowsNothingOfResources(t *testing.T) {
	t.Parallel()
	srv := newServer(t, &searcher{}, func(_ *searchapi.Config, d *searchapi.Deps) { d.Starting = true })
	for _, what := range []string{"GET /v1/resources/OS::Nova::Server/a", "GET /v1/search", "GET /v1/admin/books"} {
		if w, _ := ask(t, srv, "root", what, ""); w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d %s, want 503 and Retry-After", what, w.Code, w.Body)
		}
	}
	if w, _ := ask(t, srv, "", "GET /healthz", ""); w.Code != 200 {
		t.Errorf("health: %d", w.Code)
	}
}
