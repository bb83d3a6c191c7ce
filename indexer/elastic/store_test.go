package elastic_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/configs/secret"
	"github.com/fresnel-search/fresnel/indexer/elastic"
	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/storetest"
)

func TestOpenComparesTheFlavorWithWhatAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flavor layout.Flavor
		root   string
		says   string
	}{
		{layout.Elasticsearch, `{"version":{"number":"9.4.3"}}`, ""},
		{layout.OpenSearch, `{"version":{"number":"2.19.6","distribution":"opensearch"}}`, ""},
		{layout.Elasticsearch, `{"version":{"number":"3.8.0","distribution":"opensearch"}}`, "what answers is opensearch 3.8.0"},
		{layout.OpenSearch, `{"version":{"number":"8.19.13"}}`, "what answers is elasticsearch 8.19.13"},
		{layout.Elasticsearch, `{"version":{"number":"7.17.0"}}`, "too old"},
		{layout.Elasticsearch, `<html>hello</html>`, "neither"},
	} {
		f := newFake(t)
		f.root = c.root
		cfg := f.config()
		cfg.Flavor = c.flavor
		s, err := elastic.Open(t.Context(), cfg, storetest.Types(), nil, nil)
		if c.says != "" {
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Open for %s at %s = %v, want an error that says %q", c.flavor, c.root, err, c.says)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// The client given for this store is go-elasticsearch: its esapi knows the paths and
// parameters of servers, so nothing here builds any.
func TestEveryRequestIsOneOfTheClients(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "_test.go") && strings.Contains(string(b), "http.NewRequest") {
			t.Errorf("%s builds a request of its own: use a request of esapi", name)
		}
	}
}

func TestOpenCreatesWhatIsMissingAndFindsWhatIsThere(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.open(f.config())
	for _, name := range []string{"t-test-server-000001", "t-test-port-000001", "t-records-000001"} {
		if f.indices[name] == nil {
			t.Errorf("%s was not created", name)
		}
	}
	f.reindexed("t-test-server-000001", "t-test-server-000002")
	s := f.open(f.config())
	if len(f.indices) != 4 {
		t.Errorf("a second start made %d indices of 4", len(f.indices))
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping = %v", err)
	}
	f.mu.Lock()
	f.indices["t-test-port-000001"]["settings"] = map[string]any{"index": map[string]any{"blocks": map[string]any{"read_only_allow_delete": "true"}}}
	f.mu.Unlock()
	if err := s.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "t-test-port-000001 takes no writes") {
		t.Errorf("Ping with a read-only index = %v", err)
	}
}

func TestAServerThatHangsIsLeftInTime(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	cfg := f.config()
	cfg.Timeout = time.Second
	s := f.open(cfg)
	release := make(chan struct{})
	f.bulk = func(r *http.Request, list []item) (int, string) {
		<-release
		return 200, `{}`
	}
	_, err := s.Write(t.Context(), []resource.Document{doc("a")})
	close(release)
	if err == nil || !strings.Contains(err.Error(), "did not answer in time") {
		t.Errorf("Write to a server that hangs = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Write(ctx, []resource.Document{doc("a")}); !errors.Is(err, context.Canceled) {
		t.Errorf("Write when it is over = %v", err)
	}
}

func TestLoginsAndCertificatesAreUsed(t *testing.T) {
	t.Parallel()
	var got string
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		fmt.Fprint(w, `{"version":{"number":"1.0.0"}}`)
	}))
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := elastic.DefaultConfig()
	cfg.Addresses = []string{srv.URL}
	if _, err := elastic.Open(t.Context(), cfg, nil, nil, nil); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("Open without the CA = %v", err)
	}
	cfg.CAFile, cfg.Username, cfg.Password = ca, "u", secret.New("p")
	if _, err := elastic.Open(t.Context(), cfg, nil, nil, nil); err == nil || !strings.Contains(err.Error(), "too old") {
		t.Errorf("Open with the CA = %v", err)
	}
	if want := "Basic " + base64.StdEncoding.EncodeToString([]byte("u:p")); got != want {
		t.Errorf("Authorization is %q, want %q", got, want)
	}
	cfg.Username, cfg.Password, cfg.APIKey = "", secret.String{}, secret.New("key")
	if _, err := elastic.Open(t.Context(), cfg, nil, nil, nil); err == nil || got != "APIKey key" && got != "ApiKey key" {
		t.Errorf("with an API key Authorization is %q", got)
	}
}

func TestLoadLooksAgainForAnIndexThatMoved(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.open(f.config())
	asked := 0
	f.other = func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Docs []struct {
				Index string `json:"_index"`
				ID    string `json:"_id"`
			} `json:"docs"`
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Error(err)
		}
		asked += len(q.Docs)
		var parts []string
		for _, d := range q.Docs {
			if d.Index == "t-test-server-000001-read" && asked > 2 {
				parts = append(parts, fmt.Sprintf(`{"_index":%q,"_id":%q,"error":{"root_cause":[],"type":"index_not_found_exception"}}`, d.Index, d.ID))
			} else {
				parts = append(parts, fmt.Sprintf(`{"_index":%q,"_id":%q,"found":false}`, d.Index, d.ID))
			}
		}
		fmt.Fprintf(w, `{"docs":[%s]}`, strings.Join(parts, ","))
	}
	refs := []resource.Ref{{Type: storetest.Port, ID: "p"}, {Type: storetest.Server, ID: "a"}, {Type: "No::Type", ID: "x"}}
	if _, err := s.Load(t.Context(), refs); err != nil {
		t.Fatal(err)
	}
	f.reindexed("t-test-server-000001", "t-test-server-000002")
	docs, err := s.Load(t.Context(), refs)
	if err != nil || len(docs) != 3 || docs[1].Ref != refs[1] || docs[1].Version != 0 {
		t.Errorf("Load = %v, %v", docs, err)
	}
	if asked != 5 {
		t.Errorf("%d documents were asked for, want two, and then two with the one that moved once more", asked)
	}
}

func TestASearchThatNotAllShardsAnsweredIsAnError(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{
		`{"timed_out":true,"_shards":{"failed":0},"hits":{"hits":[]}}`, `{"timed_out":false,"_shards":{"failed":1},"hits":{"hits":[]}}`, `{`,
	} {
		f := newFake(t)
		s := f.open(f.config())
		f.other = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) }
		q := resource.ChildQuery{Parent: resource.Ref{Type: storetest.Server, ID: "p"}, Child: storetest.Port, N: 5}
		if refs, err := s.Children(t.Context(), q); err == nil {
			t.Errorf("Children answered by %s = %v", answer, refs)
		}
	}
}

func TestErrorsQuoteNothingOfDocumentsOrCallers(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.open(f.config())
	f.other = func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/_refresh") {
			fmt.Fprint(w, "{}")
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"error":{"type":"parsing_exception","reason":"no [%s]"}}`, quoted)
	}
	_, load := s.Load(t.Context(), []resource.Ref{{Type: storetest.Port, ID: quoted}})
	_, children := s.Children(t.Context(), resource.ChildQuery{Parent: resource.Ref{Type: storetest.Server, ID: quoted}, Child: storetest.Port, N: 5})
	_, scan := s.Scan(t.Context(), "t", quoted, 5)
	for name, err := range map[string]error{"Load": load, "Scan": scan} {
		if err == nil || strings.Contains(err.Error(), quoted) || !strings.Contains(err.Error(), "parsing_exception") {
			t.Errorf("%s = %v, want an error by type", name, err)
		}
	}
	if children == nil || strings.Contains(children.Error(), "no ["+quoted) {
		t.Errorf("Children = %v, want an error without the server's text", children)
	}
}

func TestARecordIsDeletedWhateverIsThere(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.open(f.config())
	f.bulk = each(func(_ int, it item) string {
		if it.action == "delete" {
			return `{"status":404,"_seq_no":9,"_primary_term":1}`
		}
		return failed(409, "version_conflict_engine_exception", "")
	})
	out, err := s.Save(t.Context(), []record.Record{
		{Table: "t", Key: "a", Version: record.Any},
		{Table: "t", Key: "b", Value: []byte("x")},
		{Table: "t", Key: "c", Value: make([]byte, 1<<20+1), Version: record.Any},
	})
	if err != nil {
		t.Fatal(err)
	}
	if out[0].Err != nil || !errors.Is(out[1].Err, record.ErrConflict) || out[2].Err == nil {
		t.Errorf("Save = %v", out)
	}
}
