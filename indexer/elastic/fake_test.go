package elastic_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fresnel-search/fresnel/indexer/elastic"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/storetest"
)

// fake answers as a server would, from a script: it keeps indices and aliases, and
// what a test says of everything else.
type fake struct {
	t    testing.TB
	url  string
	root string // the answer to GET /

	mu      sync.Mutex
	indices map[string]map[string]any // by name, as GET /index shows them
	bulk    func(r *http.Request, items []item) (status int, body string)
	other   http.HandlerFunc // everything else
	bulks   int
}

// item is one item of a bulk request.
type item struct {
	action string
	meta   map[string]any
	source string
}

func newFake(t testing.TB) *fake {
	t.Helper()
	f := &fake{t: t, root: `{"version":{"number":"8.19.13"}}`, indices: map[string]map[string]any{}}
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	f.url = srv.URL
	return f
}

func (f *fake) config() elastic.Config {
	cfg := elastic.DefaultConfig()
	cfg.Addresses, cfg.Prefix = []string{f.url}, "t"
	return cfg
}

// open opens a store on the fake for the types of the kit.
func (f *fake) open(cfg elastic.Config) *elastic.Store {
	f.t.Helper()
	s, err := elastic.Open(f.t.Context(), cfg, storetest.Types(), nil, prometheus.NewRegistry())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			f.t.Errorf("Close: %v", err)
		}
	})
	return s
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	f.mediaType(r, len(body) > 0)
	f.mu.Lock()
	defer f.mu.Unlock()
	name := strings.TrimPrefix(r.URL.Path, "/")
	switch {
	case r.URL.Path == "/":
		fmt.Fprint(w, f.root)
	case r.URL.Path == "/_bulk":
		f.bulks++
		status, answer := f.bulk(r, items(f.t, body))
		w.WriteHeader(status)
		fmt.Fprint(w, answer)
	case r.Method == http.MethodPut && !strings.Contains(name, "/"):
		if f.indices[name] != nil {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":{"type":"resource_already_exists_exception"},"status":400}`)
			return
		}
		ix := map[string]any{}
		if err := json.Unmarshal(body, &ix); err != nil {
			f.t.Errorf("PUT %s: %v", name, err)
		}
		ix["settings"] = map[string]any{"index": map[string]any{}}
		f.indices[name] = ix
		fmt.Fprint(w, `{"acknowledged":true}`)
	case r.Method == http.MethodGet && strings.HasSuffix(name, "*"):
		out := map[string]any{}
		for n, ix := range f.indices {
			if strings.HasPrefix(n, strings.TrimSuffix(name, "*")) {
				out[n] = ix
			}
		}
		if err := json.NewEncoder(w).Encode(out); err != nil {
			f.t.Error(err)
		}
	case f.other != nil:
		r.Body = io.NopCloser(bytes.NewReader(body))
		f.other(w, r)
	default:
		f.t.Errorf("the fake has no answer to %s %s", r.Method, r.URL)
		w.WriteHeader(http.StatusNotImplemented)
	}
}

// mediaType checks what a request says of its body: what OpenSearch takes, too.
func (f *fake) mediaType(r *http.Request, body bool) {
	want := ""
	switch {
	case strings.HasSuffix(r.URL.Path, "/_bulk"):
		want = "application/x-ndjson"
	case body:
		want = "application/json"
	}
	if got := r.Header.Get("Content-Type"); got != want {
		f.t.Errorf("%s %s says that its body is %q, want %q", r.Method, r.URL.Path, got, want)
	}
}

// reindexed moves a type's aliases to a next generation.
func (f *fake) reindexed(from, to string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.indices[to] = map[string]any{
		"mappings": f.indices[from]["mappings"], "aliases": map[string]any{to + "-read": struct{}{}, to + "-write": struct{}{}},
	}
	f.indices[from]["aliases"] = map[string]any{}
}

func items(t testing.TB, body []byte) (out []item) {
	t.Helper()
	lines := bufio.NewScanner(bytes.NewReader(body))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var action map[string]map[string]any
		if err := json.Unmarshal(lines.Bytes(), &action); err != nil || len(action) != 1 {
			t.Fatalf("no action: %s", lines.Bytes())
		}
		for name, meta := range action {
			it := item{action: name, meta: meta}
			if name != "delete" {
				lines.Scan()
				it.source = lines.Text()
			}
			out = append(out, it)
		}
	}
	return out
}

// each answers a bulk item by item.
func each(answer func(i int, it item) string) func(*http.Request, []item) (int, string) {
	return func(_ *http.Request, list []item) (int, string) {
		parts := make([]string, len(list))
		for i, it := range list {
			parts[i] = fmt.Sprintf(`{%q:%s}`, it.action, answer(i, it))
		}
		return http.StatusOK, `{"items":[` + strings.Join(parts, ",") + `]}`
	}
}

func created(seq int) string {
	return fmt.Sprintf(`{"status":201,"_seq_no":%d,"_primary_term":1}`, seq)
}

func failed(status int, typ, reason string) string {
	b, err := json.Marshal(map[string]any{"status": status, "error": map[string]any{"type": typ, "reason": reason, "caused_by": map[string]any{"type": "x"}}})
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// whole answers a bulk by an error of the request.
func whole(status int, typ, reason string) func(*http.Request, []item) (int, string) {
	return func(*http.Request, []item) (int, string) {
		return status, fmt.Sprintf(`{"error":{"root_cause":[{"type":%q,"reason":%q}],"type":%q,"reason":%q},"status":%d}`, typ, reason, typ, reason, status)
	}
}

func doc(id string) resource.Document {
	return storetest.Doc(resource.Ref{Type: storetest.Server, ID: id}, nil, map[string]string{"name": `"n"`})
}
