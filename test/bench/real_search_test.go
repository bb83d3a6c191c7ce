//go:build real

package bench

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/fresnel-search/fresnel/test/harness"
)

const (
	searched  = 20_000 // resources there are
	asked     = 200    // times each search is asked
	tenant    = "bench-tenant"
	overseer  = "bench-admin"
	tokenFile = "tokens.yaml"
)

// shape is one of the searches of facts/index.md, section 2.3, as far as the API has
// them: facets and histograms are none of its.
type shape struct {
	name  string
	token string
	body  string
}

// shapes are for the tenant that has the most ports, or for an operator who asks for
// all projects.
func shapes() []shape {
	date, subnet, address := `"sort": [{"updated_at": "desc"}]`, uuidOf("subnet", 7), newPort(7).address(0)
	return []shape{
		{"q1 tenant and type, by date", tenant, `{"query": {"match_all": {}}, ` + date + `}`},
		{"q1b all documents, by date", overseer, `{"query": {"match_all": {}}, "all_projects": true, ` + date + `}`},
		{"q2a prefix of a text", tenant, `{"query": {"prefix": {"name": "web"}}}`},
		{"q2b wildcard", tenant, `{"query": {"wildcard": {"dns_name": "vm-1*7?"}}}`},
		{"q2c wildcard in front", tenant, `{"query": {"wildcard": {"dns_name": "*-1*7"}}}`},
		{"q3 dates, numbers, must_not", tenant, `{"query": {"bool": {"filter": [{"range": {"created_at": {"gte": "2026-11-20T11:00:00Z"}}},
			{"range": {"revision_number": {"gte": 1, "lt": 5}}}], "must_not": [{"term": {"status": "DOWN"}}]}}}`},
		{"q5 two words in two texts, by score", tenant, `{"query": {"bool": {"should": [{"match": {"description": "gateway"}}, {"match": {"name": "blue"}}]}}}`},
		{"q5b the same, all projects", overseer, `{"query": {"bool": {"should": [{"match": {"description": "gateway"}}, {"match": {"name": "blue"}}]}}, "all_projects": true}`},
		{"q6 from 9 000", overseer, `{"query": {"match_all": {}}, "from": 9000, "all_projects": true, ` + date + `}`},
		{"q7 nested, two conditions", overseer, fmt.Sprintf(`{"query": {"nested": {"path": "fixed_ips", "query": {"bool": {"must": [
			{"term": {"fixed_ips.subnet_id": %q}}, {"term": {"fixed_ips.ip_address": %q}}]}}}}, "all_projects": true}`, subnet, address)},
	}
}

// full is the shape's request: of ports, twenty hits.
func (s shape) full() []byte {
	return []byte(`{"type": "OS::Neutron::Port", "limit": 20, ` + strings.TrimPrefix(s.body, "{"))
}

// sent is a request that Fresnel sent to the cluster.
type sent struct {
	method, path string
	body         []byte
}

// recorder passes requests on to the cluster and remembers searches.
type recorder struct {
	http.Handler
	mu   sync.Mutex
	seen []sent
}

func newRecorder(l *lab) (*recorder, string) {
	to, err := url.Parse(l.on.Search)
	if err != nil {
		l.Fatal(err)
	}
	r := &recorder{Handler: httputil.NewSingleHostReverseProxy(to)}
	srv := httptest.NewServer(r)
	l.Cleanup(srv.Close)
	return r, srv.URL
}

// ServeHTTP implements http.Handler.
func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	// What the server looks for by itself, such as old tombstones, prefers no copy.
	if strings.HasSuffix(req.URL.Path, "/_search") && req.URL.Query().Has("preference") {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		r.seen = append(r.seen, sent{req.Method, req.URL.RequestURI(), body})
		r.mu.Unlock()
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	r.Handler.ServeHTTP(w, req)
}

// take is what was seen since the last call.
func (r *recorder) take() []sent {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}

const searchConfig = `
searchapi: {listen: SEARCH_ADDR, identity: {mode: static, tokens_file: tokens.yaml}}
listener: {throttle_above: 6000, kafka: {compression: lz4, batch_bytes: 4194304, session_timeout: 30s, heartbeat_interval: 1s}}
indexer: {store: elasticsearch, partitions: 3}
`

// searches asks each shape of the API and, in turns, sends what the API sent to
// Elasticsearch for it there directly.
func searches(l *lab, r *report) {
	searched, asked := max(9_100, scaled(searched)), scaled(asked*10)/10
	s := l.fresh(feed{n: searched})
	l.drain(s, 0, searched)
	l.on.Refresh(l.B)
	s.Stop()
	cluster := l.on.Search
	rec, through := newRecorder(l)
	bodies := map[string][]sent{}
	l.on.Search = through
	tokens := tokenOf(tenant, projectID(0), "member") + tokenOf(overseer, "operators", "admin")
	s.Configure(searchConfig)
	s.File(tokenFile, tokens)
	s.Start()
	for _, sh := range shapes() {
		rec.take()
		if n := l.ask(s, sh); n == 0 {
			l.Fatalf("%s finds nothing", sh.name)
		}
		if bodies[sh.name] = rec.take(); len(bodies[sh.name]) != 1 {
			l.Fatalf("%s makes %d searches, want 1", sh.name, len(bodies[sh.name]))
		}
	}
	s.Stop()
	l.on.Search = cluster
	s.Configure(searchConfig)
	profile := l.profiled(s, "search")
	s.Start()
	before := cpu(s.PID())
	for _, sh := range shapes() {
		var api, direct []time.Duration
		through := func() { api = append(api, timed(func() { l.ask(s, sh) })) }
		straight := func() {
			direct = append(direct, timed(func() {
				for _, b := range bodies[sh.name] {
					l.call(b.method, b.path, b.body)
				}
			}))
		}
		for i := range asked + asked/5 {
			if i == asked/5 { // what came before was to warm up
				api, direct = nil, nil
			}
			if i%2 == 0 { // who comes second finds caches warm
				through()
				straight()
			} else {
				straight()
				through()
			}
		}
		r.latency(fmt.Sprintf("search %s, %d resources, p50 / p99", sh.name, searched), api, direct,
			"the same body straight to Elasticsearch", "p50 1.1")
	}
	each := (cpu(s.PID()) - before) / time.Duration(len(shapes())*(asked+asked/5))
	s.Stop()
	r.note(fmt.Sprintf("CPU of Fresnel for each search, µs: %d; %s", each.Microseconds(),
		stagesPer(l.perStage(profile), len(shapes())*(asked+asked/5))))
}

// timed is how long f takes.
func timed(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

// ask searches and returns how many there are.
func (l *lab) ask(s *harness.Server, sh shape) int {
	l.Helper()
	req, err := http.NewRequestWithContext(l.Context(), http.MethodPost, s.URL+"/v1/search", bytes.NewReader(sh.full()))
	if err != nil {
		l.Fatal(err)
	}
	req.Header = http.Header{"Content-Type": {"application/json"}, "X-Auth-Token": {sh.token}}
	resp, err := l.http.Do(req)
	if err != nil {
		l.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		l.Fatalf("%s: %v: %s", sh.name, err, b)
	}
	var answer struct{ Hits struct{ Total any } }
	if err := json.Unmarshal(b, &answer); err != nil {
		l.Fatal(err)
	}
	if found, err := hits(b); err != nil || len(found) == 0 {
		return 0
	}
	return 1
}

// tokenOf is an entry of the tokens file.
func tokenOf(token, project, role string) string {
	return fmt.Sprintf("- {sha256: %x, user_id: user-of-%s, project_id: %q, roles: [%s]}\n", sha256.Sum256([]byte(token)), token, project, role)
}
