package searchapi_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/sqlite"
	"github.com/fresnel-search/fresnel/searchapi"
)

const hiddenField = "OS-EXT-SRV-ATTR:host"

// cloudOfTwo is a server over a real store with resources of projects a and b. What
// only one of them may see holds the word marker and the project: markera, markerb.
func cloudOfTwo(t *testing.T) *searchapi.Server {
	t.Helper()
	types, err := catalog.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	if ty := types.Type("OS::Nova::Server"); !ty.Hidden(hiddenField) {
		t.Fatalf("%s is not for operators only", hiddenField)
	}
	c := sqlite.DefaultConfig()
	c.Path = filepath.Join(t.TempDir(), "index.db")
	store, err := sqlite.Open(c, types, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	var docs []resource.Document
	for _, p := range []string{"a", "b"} {
		for i, name := range []string{"web", "db"} {
			docs = append(docs, document("OS::Nova::Server", fmt.Sprintf("server-%s-%d", p, i), []resource.Principal{resource.Project(p)}, map[string]any{
				"id": fmt.Sprintf("server-%s-%d", p, i), "name": name + " marker" + p, "status": "active", "project_id": p, "tenant_id": p,
				"created_at": "2026-05-01T10:00:0" + fmt.Sprint(i) + "Z", hiddenField: "secrethost-" + p, "other.note": "secretnote-" + p,
			}))
		}
	}
	docs = append(docs,
		document("OS::Glance::Image", "image-public", []resource.Principal{resource.Everyone}, map[string]any{"id": "image-public", "name": "cirros", "size": 1}),
		document("OS::Glance::Image", "image-shared", []resource.Principal{"project:a", "project:b"}, map[string]any{
			"id": "image-shared", "name": "web", "size": 2, "members": []any{map[string]any{"member_id": "a", "status": "secretstatus"}},
		}),
		document("OS::Glance::Image", "image-b", []resource.Principal{"project:b"}, map[string]any{"id": "image-b", "name": "markerb", "size": 3}))
	written, err := store.Write(t.Context(), docs)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range written {
		if w.Err != nil {
			t.Fatalf("write %s: %v", docs[i].Ref, w.Err)
		}
	}
	return newServer(t, nil, func(_ *searchapi.Config, d *searchapi.Deps) { d.Catalog, d.Searcher = types, store })
}

func document(typ, id string, readers []resource.Principal, fields map[string]any) resource.Document {
	d := resource.Document{
		Ref: resource.Ref{Type: typ, ID: id}, Lineage: "l-" + id, Revision: 9, TenantRevision: 2, Readers: readers,
		Fields: map[string]json.RawMessage{}, Changed: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC),
	}
	for k, v := range fields {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		d.Fields[k] = b
	}
	return d
}

// queries are bodies by which one might fish for what is another's.
func queries() []string {
	return []string{
		`{}`,
		`{"all_projects":true}`,
		`{"size":0}`,
		`{"query":{"query_string":{"query":"marker* OR web OR secret*"}}}`,
		`{"query":{"query_string":{"query":"*:*"}}}`,
		`{"query":{"query_string":{"query":"NOT nothing"}}}`,
		`{"query":{"simple_query_string":{"query":"markera | markerb | web"}}}`,
		`{"query":{"ids":{"values":["server-a-0","server-b-0","image-b"]}}}`,
		`{"query":{"ids":{"type":"OS::Nova::Server","values":["server-a-0","server-b-0"]}},"sort":["name"]}`,
		`{"query":{"terms":{"project_id":["a","b"]}},"sort":[{"created_at":"desc"},"_id"]}`,
		`{"query":{"bool":{"must_not":[{"term":{"project_id":"a"}}]}},"sort":["name",{"size":"asc"}]}`,
		`{"query":{"bool":{"must_not":[{"term":{"project_id":"b"}}]}},"version":true}`,
		`{"query":{"wildcard":{"name.raw":"*marker*"}},"sort":["name"]}`,
		`{"query":{"match":{"name":"markera markerb"}}}`,
		`{"query":{"match":{"_all":"markera markerb"}}}`,
		`{"query":{"range":{"created_at":{"gte":"2026-05-01","lte":"2026-05-01"}}},"sort":["created_at"]}`,
		`{"query":{"exists":{"field":"project_id"}},"from":1,"size":3}`,
		`{"query":{"term":{"_type":"OS::Nova::Server"}}}`,
		`{"query":{"nested":{"path":"members","query":{"term":{"members.member_id":"a"}}}}}`,
		`{"query":{"query_string":{"query":"server-b-0 server-a-0"}}}`,
		`{"_source":["*","` + hiddenField + `","other*","members*"]}`,
	}
}

func TestTenantsSeeNothingOfEachOther(t *testing.T) {
	t.Parallel()
	srv := cloudOfTwo(t)
	visible := map[string][]string{
		"ann": {"image-public", "image-shared", "server-a-0", "server-a-1"},
		"bob": {"image-b", "image-public", "image-shared", "server-b-0", "server-b-1"},
	}
	for who, ids := range visible {
		foreign := map[string]string{"ann": "markerb", "bob": "markera"}[who]
		for _, body := range queries() {
			w, out := ask(t, srv, who, "POST /v1/search", body)
			if w.Code != 200 {
				t.Errorf("%s: %s: %d %s", who, body, w.Code, w.Body)
				continue
			}
			total, got := found(t, out)
			for _, id := range got {
				if !slices.Contains(ids, id) {
					t.Errorf("%s: %s finds %s", who, body, id)
				}
			}
			if total > len(ids) || strings.Contains(w.Body.String(), foreign) || strings.Contains(w.Body.String(), "secret") {
				t.Errorf("%s: %s answers %s", who, body, w.Body)
			}
		}
		w, out := ask(t, srv, who, "POST /v1/search", `{"sort":["_id"],"version":true}`)
		total, got := found(t, out)
		if d := cmp.Diff(ids, got); d != "" || total != len(ids) {
			t.Errorf("%s sees %v of %d: %s", who, got, total, d)
		}
		if strings.Contains(w.Body.String(), `"_version":9`) || !strings.Contains(w.Body.String(), `"_version":2`) {
			t.Errorf("%s sees the operators' revisions: %s", who, w.Body)
		}
	}
	_, out := ask(t, srv, "root", "POST /v1/search", `{"all_projects":true}`)
	if total, _ := found(t, out); total != 7 {
		t.Errorf("an admin of all projects sees %d", total)
	}
	w, out := ask(t, srv, "root", "POST /v1/search", `{}`)
	if total, _ := found(t, out); total != 4 || !strings.Contains(w.Body.String(), "secrethost-a") || strings.Contains(w.Body.String(), "secrethost-b") {
		t.Errorf("an admin of project a sees %d: %s", total, w.Body)
	}
}

// found returns the total and the ids of an answer.
func found(t *testing.T, out map[string]any) (total int, ids []string) {
	t.Helper()
	h, ok := out["hits"].(map[string]any)
	if !ok {
		t.Fatalf("the answer has no hits: %v", out)
	}
	for _, e := range h["hits"].([]any) {
		ids = append(ids, e.(map[string]any)["_id"].(string))
	}
	return int(h["total"].(float64)), ids
}

// TestHiddenFieldsAreLikeFieldsThatDoNotExist asks the same of a hidden field and of
// one that nobody has: a tenant must not be able to tell the answers apart.
func TestHiddenFieldsAreLikeFieldsThatDoNotExist(t *testing.T) {
	t.Parallel()
	srv := cloudOfTwo(t)
	for _, hidden := range []string{hiddenField, "other.note", "members.status"} {
		typ := `"type":"OS::Nova::Server",`
		if hidden == "members.status" {
			typ = `"type":"OS::Glance::Image",`
		}
		escaped := strings.ReplaceAll(hidden, ":", `\\:`)
		for _, body := range []string{
			`{"query":{"term":{"F":"secrethost-a"}}}`,
			`{"query":{"terms":{"F":["secrethost-a","secretnote-a","secretstatus"]}}}`,
			`{"query":{"exists":{"field":"F"}}}`,
			`{"query":{"prefix":{"F":"secret"}}}`,
			`{"query":{"wildcard":{"F":"*"}}}`,
			`{"query":{"range":{"F":{"gte":"a"}}}}`,
			`{"query":{"range":{"F":{"gte":5}}}}`,
			`{"query":{"match":{"F":"secrethost-a"}}}`,
			`{"query":{"match_phrase":{"F":"secretnote-a"}}}`,
			`{"query":{"bool":{"must_not":[{"exists":{"field":"F"}}]}},"sort":["_id"]}`,
			`{"query":{"query_string":{"query":"E:secret*"}}}`,
			`{"query":{"query_string":{"query":"secret*","fields":["F"]}}}`,
			`{"query":{"query_string":{"query":"_exists_:E"}}}`,
			`{"query":{"nested":{"path":"members","query":{"exists":{"field":"F"}}}}}`,
			`{"sort":["F","_id"]}`,
			`{"sort":[{"F":{"order":"desc","missing":"_first","unmapped_type":"keyword"}},"_id"]}`,
			`{"_source":["F"],"sort":["_id"]}`,
		} {
			body = "{" + typ + body[1:]
			nowhere := strings.NewReplacer("F", "no.where", "E", "no.where").Replace(body)
			body = strings.NewReplacer("F", hidden, "E", escaped).Replace(body)
			got, want := anonymous(t, srv, body, hidden), anonymous(t, srv, nowhere, "no.where")
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s tells that the field exists: %s", body, d)
			}
		}
	}
	_, out := ask(t, srv, "root", "POST /v1/search", `{"query":{"term":{"`+hiddenField+`":"secrethost-a"}},"sort":["`+hiddenField+`"]}`)
	if total, _ := found(t, out); total != 2 {
		t.Errorf("an admin finds %d by a hidden field, want 2", total)
	}
}

// anonymous is what ann is answered, without what differs from request to request
// and without the field's name.
func anonymous(t *testing.T, srv *searchapi.Server, body, field string) string {
	t.Helper()
	w, out := ask(t, srv, "ann", "POST /v1/search", body)
	delete(out, "took")
	delete(out, "request_id")
	b, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "secret") {
		t.Errorf("%s answers %s", body, b)
	}
	return fmt.Sprint(w.Code, " ", strings.ReplaceAll(string(b), field, "F"))
}

func TestAnothersResourceIsAnsweredLikeNone(t *testing.T) {
	t.Parallel()
	srv := cloudOfTwo(t)
	answer := func(who, path string) string {
		w, out := ask(t, srv, who, "GET "+path, "")
		delete(out, "request_id")
		return fmt.Sprint(w.Code, out, headers(w))
	}
	if got, want := answer("ann", "/v1/resources/servers/server-b-0"), answer("ann", "/v1/resources/servers/nothing"); got != want {
		t.Errorf("another's is answered %s, none %s", got, want)
	}
	w, out := ask(t, srv, "ann", "GET /v1/resources/servers/server-a-0", "")
	if w.Code != 200 || out["revision"] != 2.0 || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("one's own: %d %s", w.Code, w.Body)
	}
	w, out = ask(t, srv, "root", "GET /v1/resources/OS::Nova::Server/server-b-0?all_projects=true", "")
	if w.Code != 200 || out["revision"] != 9.0 || !strings.Contains(w.Body.String(), "secrethost-b") {
		t.Errorf("an admin's: %d %s", w.Code, w.Body)
	}
	if w, _ := ask(t, srv, "root", "GET /v1/resources/servers/server-b-0", ""); w.Code != 404 {
		t.Errorf("an admin who does not ask for all projects: %d", w.Code)
	}
	if w, _ := ask(t, srv, "ann", "GET /v1/resources/servers/server-b-0?all_projects=true", ""); w.Code != 404 {
		t.Errorf("a tenant who asks for all projects: %d", w.Code)
	}
}

func headers(w *httptest.ResponseRecorder) string {
	h := w.Header().Clone()
	h.Del("X-Openstack-Request-Id")
	return fmt.Sprint(h)
}
