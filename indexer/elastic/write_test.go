package elastic_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/elastic"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/storetest"
)

var (
	_ indexer.Store      = (*elastic.Store)(nil)
	_ record.Store       = (*elastic.Store)(nil)
	_ storetest.Searcher = (*elastic.Store)(nil)
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quoted stands in the reasons of the server where it quotes values.
const quoted = "hunter2"

func TestAnOutcomeIsToldByStatusAndType(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, typ string
		status    int
		want      error
		blocks    bool
		says      string
	}{
		{"a stale version", "version_conflict_engine_exception", 409, resource.ErrConflict, false, ""},
		{"a full queue", "rejected_execution_exception", 429, resource.ErrAgain, false, "429 rejected_execution_exception"},
		{"a full queue of OpenSearch", "es_rejected_execution_exception", 429, resource.ErrAgain, false, ""},
		{"a circuit breaker", "circuit_breaking_exception", 429, resource.ErrAgain, false, ""},
		{"a disk at its flood stage", "cluster_block_exception", 429, resource.ErrAgain, true, "takes no writes: cluster_block_exception"},
		{"a write block", "cluster_block_exception", 403, resource.ErrAgain, true, ""},
		{"a closed index", "index_closed_exception", 400, resource.ErrAgain, true, ""},
		{"no primary", "unavailable_shards_exception", 503, resource.ErrAgain, false, ""},
		{"an error of the server", "null_pointer_exception", 500, resource.ErrAgain, false, ""},
		{"a login that may not", "security_exception", 403, resource.ErrAgain, true, "the login may not write"},
		{"a value that does not fit", "document_parsing_exception", 400, resource.ErrRejected, false, "document_parsing_exception at field fields.size"},
		{"a value that does not fit OpenSearch", "mapper_parsing_exception", 400, resource.ErrRejected, false, "at field fields.size"},
		{"a field that is not mapped", "strict_dynamic_mapping_exception", 400, resource.ErrRejected, false, ""},
		{"too much in a document", "illegal_argument_exception", 400, resource.ErrRejected, false, ""},
	} {
		reason := "[1:7] failed to parse field [fields.size] of type [long] in document with id 'b'. Preview of field's value: '" + quoted + "'"
		check := func(t *testing.T, s *elastic.Store, err error) {
			t.Helper()
			if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.says) || strings.Contains(fmt.Sprint(err), quoted) {
				t.Errorf("%d %s = %v, want %v that says %q", c.status, c.typ, err, c.want, c.says)
			}
			if blocked := s.Ping(t.Context()); (blocked != nil) != c.blocks {
				t.Errorf("after %d %s Ping = %v, want an error: %t", c.status, c.typ, blocked, c.blocks)
			}
		}
		t.Run(c.name+", of an item", func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			s := f.open(f.config())
			f.bulk = each(func(i int, _ item) string {
				if i == 1 {
					return failed(c.status, c.typ, reason)
				}
				return created(i)
			})
			other := storetest.Doc(resource.Ref{Type: storetest.Port, ID: "a"}, nil, nil)
			out, err := s.Write(t.Context(), []resource.Document{other, doc("b"), other})
			if err != nil || out[0].Err != nil || out[2].Err != nil || out[0].Version == 0 || out[0].Version == out[2].Version {
				t.Fatalf("Write = %v, %v", out, err)
			}
			check(t, s, out[1].Err)
			f.bulk = each(func(i int, _ item) string { return created(i) })
			if _, err := s.Write(t.Context(), []resource.Document{doc("b")}); err != nil {
				t.Fatal(err)
			}
			if err := s.Ping(t.Context()); err != nil {
				t.Errorf("after a write that succeeded Ping = %v", err)
			}
		})
		t.Run(c.name+", of a whole request", func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			s := f.open(f.config())
			f.bulk = whole(c.status, c.typ, reason)
			out, err := s.Write(t.Context(), []resource.Document{doc("a")})
			if err != nil {
				t.Fatal(err)
			}
			if c.want == resource.ErrConflict { //nolint:errorlint // the table's own value
				if !errors.Is(out[0].Err, resource.ErrAgain) {
					t.Errorf("a conflict of no item = %v", out[0].Err)
				}
				return
			}
			if !errors.Is(out[0].Err, c.want) || strings.Contains(out[0].Err.Error(), quoted) {
				t.Errorf("%d %s = %v, want %v", c.status, c.typ, out[0].Err, c.want)
			}
		})
	}
}

func TestARefusalOfAProxyIsNoDocumentsFault(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 405, 414, 451} {
		f := newFake(t)
		s := f.open(f.config())
		f.bulk = func(*http.Request, []item) (int, string) { return status, "<html>we do not like this</html>" }
		out, err := s.Write(t.Context(), []resource.Document{doc("a"), doc("b")})
		if err != nil || !errors.Is(out[0].Err, resource.ErrAgain) || !errors.Is(out[1].Err, resource.ErrAgain) || f.bulks != 1 {
			t.Errorf("%d: Write = %v, %v in %d requests, want to try again later", status, out, err, f.bulks)
		}
		if err := s.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), fmt.Sprint(status)+" without a type") {
			t.Errorf("%d: Ping = %v, want it said", status, err)
		}
	}
}

func TestAnAnswerOfAProxyIsAnsweredForAllDocuments(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.open(f.config())
	f.bulk = func(*http.Request, []item) (int, string) { return 503, "<html>no upstream</html>" }
	out, err := s.Write(t.Context(), []resource.Document{doc("a"), doc("b")})
	if err != nil || !errors.Is(out[0].Err, resource.ErrAgain) || !errors.Is(out[1].Err, resource.ErrAgain) {
		t.Errorf("Write = %v, %v", out, err)
	}
}

func TestARequestThatIsRefusedWholeIsSplit(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusRequestEntityTooLarge, http.StatusBadRequest} {
		f := newFake(t)
		s := f.open(f.config())
		f.bulk = func(r *http.Request, list []item) (int, string) {
			for _, it := range list {
				if it.meta["_id"] == "poison" || status == http.StatusRequestEntityTooLarge && len(list) > 2 {
					return status, `{"error":{"type":"too_long_http_content_exception"},"status":413}`
				}
			}
			return each(func(int, item) string { return created(7) })(r, list)
		}
		docs := []resource.Document{doc("a"), doc("b"), doc("poison"), doc("c"), doc("d"), doc("e"), doc("f")}
		out, err := s.Write(t.Context(), docs)
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range out {
			if bad := docs[i].Ref.ID == "poison"; bad != errors.Is(w.Err, resource.ErrRejected) || !bad && w.Err != nil {
				t.Errorf("%d: %s = %v", status, docs[i].Ref.ID, w.Err)
			}
		}
	}
}

func TestABulkIsCutAtItsBytes(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	cfg := f.config()
	cfg.BulkBytes = 1 << 20
	s := f.open(cfg)
	seen := map[any]bool{}
	f.bulk = each(func(_ int, it item) string {
		seen[it.meta["_id"]] = true
		return created(1)
	})
	var docs []resource.Document
	for i := range 40 {
		d := doc(fmt.Sprint("d", i))
		d.Fields["description"] = []byte(`"` + strings.Repeat("x", 100<<10) + `"`)
		docs = append(docs, d)
	}
	out, err := s.Write(t.Context(), docs)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range out {
		if w.Err != nil {
			t.Error(w.Err)
		}
	}
	if len(seen) != len(docs) || f.bulks < 4 {
		t.Errorf("%d documents of 100 KiB went out in %d requests, %d of them", len(docs), f.bulks, len(seen))
	}
}

func TestAnAnswerThatIsNotWholeIsAnErrorOfTheRequest(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{
		``, `{}`, `null`, `{"items":[]}`, `{"items":[{"create":{"status":201,"_seq_no":1,"_primary_term":1}}]}`,
		`{"items":[{"create":{}},{"create":{}}]}`, `{"items":[{},{}]}`, `{"items":[{"create":{"status":201`,
	} {
		f := newFake(t)
		s := f.open(f.config())
		f.bulk = func(*http.Request, []item) (int, string) { return http.StatusOK, answer }
		if out, err := s.Write(t.Context(), []resource.Document{doc("a"), doc("b")}); err == nil {
			t.Errorf("Write answered by %q = %v", answer, out)
		}
	}
}

func TestAWriteIsConditionalOnItsGenerationToo(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.open(f.config())
	f.bulk = func(r *http.Request, list []item) (int, string) {
		if r.URL.Query().Get("require_alias") != "true" {
			t.Error("a bulk does not require aliases")
		}
		return each(func(i int, it item) string {
			index := it.meta["_index"].(string)
			if f.indices[strings.TrimSuffix(index, "-write")]["aliases"].(map[string]any)[index] == nil {
				return failed(404, "index_not_found_exception", "no such index")
			}
			return created(i)
		})(r, list)
	}
	first, err := s.Write(t.Context(), []resource.Document{doc("a")})
	if err != nil || first[0].Err != nil {
		t.Fatal(first, err)
	}
	f.reindexed("t-test-server-000001", "t-test-server-000002")
	late := doc("a")
	late.Version = first[0].Version
	for attempt := range 2 {
		out, err := s.Write(t.Context(), []resource.Document{late})
		if err != nil || !errors.Is(out[0].Err, resource.ErrConflict) {
			t.Errorf("attempt %d to write at a version of the generation before = %v, %v", attempt, out, err)
		}
	}
	again, err := s.Write(t.Context(), []resource.Document{doc("a")})
	if err != nil || again[0].Err != nil || again[0].Version == first[0].Version {
		t.Errorf("a write in the next generation = %v, %v", again, err)
	}
	f.mu.Lock()
	delete(f.indices, "t-test-server-000002")
	delete(f.indices, "t-test-server-000001")
	f.bulk = each(func(int, item) string { return failed(404, "index_not_found_exception", "") })
	f.mu.Unlock()
	out, err := s.Write(t.Context(), []resource.Document{doc("a")})
	if err != nil || !errors.Is(out[0].Err, resource.ErrAgain) || !strings.Contains(out[0].Err.Error(), "there is no index") {
		t.Errorf("a write without an index = %v, %v", out, err)
	}
	if err := s.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "test-server") {
		t.Errorf("Ping without an index = %v", err)
	}
}

func TestAnAliasThatStandsWrongCostsNoDocument(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.open(f.config())
	f.bulk = each(func(int, item) string { return failed(400, "illegal_argument_exception", "no write index is defined") })
	f.mu.Lock()
	f.indices["t-test-server-000001"]["aliases"] = map[string]any{}
	f.mu.Unlock()
	out, err := s.Write(t.Context(), []resource.Document{doc("a")})
	if err != nil || !errors.Is(out[0].Err, resource.ErrAgain) {
		t.Errorf("Write = %v, %v, want to write again", out, err)
	}
	f.mu.Lock()
	f.indices["t-test-server-000001"]["aliases"] = map[string]any{"t-test-server-000001-read": struct{}{}, "t-test-server-000001-write": struct{}{}}
	f.indices["t-test-server-mine"] = map[string]any{"aliases": map[string]any{"t-test-server-000001-write": struct{}{}}}
	f.mu.Unlock()
	out, err = s.Write(t.Context(), []resource.Document{doc("a")})
	if err != nil || !errors.Is(out[0].Err, resource.ErrAgain) || !strings.Contains(out[0].Err.Error(), "t-test-server-mine has an alias") {
		t.Errorf("Write = %v, %v, want to write again once t-test-server-mine has the alias no more", out, err)
	}
}

func TestAnIDThatIsTooLongIsRejectedInWords(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	s := f.open(f.config())
	out, err := s.Write(t.Context(), []resource.Document{doc(strings.Repeat("x", elastic.MaxID+1)), doc("")})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range out {
		if !errors.Is(w.Err, resource.ErrRejected) || !strings.Contains(w.Err.Error(), "bytes") {
			t.Errorf("Write = %v", w.Err)
		}
	}
}
