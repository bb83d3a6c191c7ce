package test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/cmd/fresnel/play"
	"github.com/fresnel-search/fresnel/test/harness"
)

// admin is a configuration without log-in and without subscriptions.
const admin = `
searchapi: {listen: SEARCH_ADDR, identity: {mode: none}}
listener: {kafka: {embedded: {listen: KAFKA_ADDR}}}
`

// recordings are all recorded notifications.
var recordings = []string{"notifications", "day"}

// account is what the admin API says of the records, or of the mutations.
type account struct {
	Input    int64            `json:"input"`
	Outcomes map[string]int64 `json:"outcomes"`
	Notes    map[string]int64 `json:"notes"`
	AddsUp   bool             `json:"adds_up"`
}

// books is what the admin API says of everything that came in.
type books struct {
	AddsUp bool               `json:"adds_up"`
	Books  map[string]account `json:"books"`
}

// settled waits until n records are accounted for and every mutation that follows
// from them is folded, and returns the books.
func settled(t *testing.T, s *harness.Server, n int, token string) (b books) {
	t.Helper()
	s.Eventually(fmt.Sprintf("%d records are folded", n), func() error {
		b = books{}
		if err := s.Call("GET", "/v1/admin/books", token, nil, &b); err != nil {
			return err
		}
		appended, err := harness.Ends(s.Kafka, "fresnel.mutations")
		if err != nil {
			return err
		}
		if b.Books["listener"].Input != int64(n) || b.Books["indexer"].Input != appended {
			return fmt.Errorf("%d of %d records, %d of %d mutations", b.Books["listener"].Input, n, b.Books["indexer"].Input, appended)
		}
		return nil
	})
	for role, a := range b.Books {
		var sum int64
		for _, c := range a.Outcomes {
			sum += c
		}
		if sum != a.Input || !a.AddsUp || a.Notes["lost"] != 0 {
			t.Errorf("books of the %s: %d of %d have an outcome (%+v)", role, sum, a.Input, a)
		}
	}
	return b
}

// document is one resource as the search API shows it.
type document struct {
	Type, ID string
	Source   map[string]any
}

// dump reads every document that a token may see, all projects' for admins.
func dump(t *testing.T, s *harness.Server, token string) map[string]document {
	t.Helper()
	all := map[string]document{}
	for from := 0; ; {
		var a struct {
			Hits struct {
				Total int `json:"total"`
				Hits  []struct {
					Type   string         `json:"_type"`
					ID     string         `json:"_id"`
					Source map[string]any `json:"_source"`
				} `json:"hits"`
			} `json:"hits"`
		}
		body := map[string]any{"from": from, "size": 1000, "all_projects": true, "sort": []string{"id"}}
		if err := s.Call("POST", "/v1/search", token, body, &a); err != nil {
			t.Fatal(err)
		}
		for _, h := range a.Hits.Hits {
			all[h.Type+"/"+h.ID] = document{h.Type, h.ID, h.Source}
		}
		if from += len(a.Hits.Hits); from >= a.Hits.Total {
			if len(all) != a.Hits.Total {
				t.Fatalf("paging gave %d distinct documents of %d", len(all), a.Hits.Total)
			}
			return all
		}
		if len(a.Hits.Hits) == 0 {
			t.Fatalf("no hits from %d of %d", from, a.Hits.Total)
		}
	}
}

func count(t *testing.T, paths ...string) int {
	t.Helper()
	rs, err := play.Load(paths...)
	if err != nil {
		t.Fatal(err)
	}
	return len(rs)
}

func TestEveryRecordingEndsInTheSameDocumentsInAnyOrder(t *testing.T) {
	t.Parallel()
	n := count(t, recordings...)
	plain := harness.New(t, admin).Start()
	plain.Play(recordings...)
	settled(t, plain, n, "")
	want := dump(t, plain, "")
	if len(want) < 300 {
		t.Fatalf("only %d documents", len(want))
	}
	shuffled := harness.New(t, admin).Start()
	shuffled.Play(append([]string{"--shuffle", "7", "--duplicate", "3"}, recordings...)...)
	settled(t, shuffled, 3*n, "")
	got := dump(t, shuffled, "")
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("documents differ after shuffling and repeating (-plain +shuffled):\n%.4000s", d)
	}
}

func TestTenantsSeeTheirOwnAndNothingElse(t *testing.T) {
	t.Parallel()
	s := harness.New(t, `
searchapi: {listen: SEARCH_ADDR, identity: {mode: static, tokens_file: tokens.yaml}}
listener: {kafka: {embedded: {listen: KAFKA_ADDR}}}
`)
	s.File("tokens.yaml", tokenEntry("admin-token", "admin", "adminproject", "admin"))
	s.Start()
	s.Play("day")
	settled(t, s, count(t, "day"), "admin-token")
	all := dump(t, s, "admin-token")
	tenants := map[string]string{} // token by project
	tokens := tokenEntry("admin-token", "admin", "adminproject", "admin")
	for _, p := range projects(all) {
		tenants[p] = "token-of-" + p
		tokens += tokenEntry(tenants[p], "user-"+p, p, "member")
	}
	s.File("tokens.yaml", tokens) // is read again when it changes
	for _, token := range tenants {
		s.Eventually("the new tokens are known", func() error { return s.Call("GET", "/v1/search", token, map[string]any{}, nil) })
	}
	owners := 0
	for project, token := range tenants {
		mine := dump(t, s, token)
		for key, d := range mine {
			if owner := ownerOf(all[key]); owner != "" && owner != project && !shared(all[key], project, all) {
				t.Errorf("project %s sees %s of project %s", project, key, owner)
			}
			for field := range d.Source {
				if strings.HasPrefix(field, "provider:") || strings.HasPrefix(field, "binding:") || strings.HasPrefix(field, "OS-EXT-SRV-ATTR:") {
					t.Errorf("project %s sees %s of %s", project, field, key)
				}
			}
		}
		for key, d := range all {
			if ownerOf(d) == project {
				owners++
				if _, ok := mine[key]; !ok {
					t.Errorf("project %s does not see its own %s", project, key)
				}
			} else if _, ok := mine[key]; !ok {
				noTrace(t, s, token, d)
			}
		}
	}
	if owners == 0 {
		t.Error("no document belongs to any tenant: nothing was tested")
	}
}

// tokenEntry is one entry of a tokens file.
func tokenEntry(token, user, project, role string) string {
	return fmt.Sprintf("- {sha256: %x, user_id: %s, project_id: %q, roles: [%s]}\n", sha256.Sum256([]byte(token)), user, project, role)
}

// noTrace checks that a document out of sight is not to be told from none.
func noTrace(t *testing.T, s *harness.Server, token string, d document) {
	t.Helper()
	var a struct {
		Hits struct {
			Total int   `json:"total"`
			Hits  []any `json:"hits"`
		} `json:"hits"`
	}
	body := map[string]any{"query": map[string]any{"ids": map[string]any{"values": []string{d.ID}}}, "type": d.Type, "all_projects": true}
	if err := s.Call("POST", "/v1/search", token, body, &a); err != nil {
		t.Fatal(err)
	}
	if a.Hits.Total != 0 || len(a.Hits.Hits) != 0 {
		t.Errorf("%s/%s out of sight is found by its id", d.Type, d.ID)
	}
	requestID := regexp.MustCompile(`req-[0-9a-f-]{36}`)
	there := s.Call("GET", "/v1/resources/"+url.PathEscape(d.Type)+"/"+url.PathEscape(d.ID), token, nil, nil)
	nowhere := s.Call("GET", "/v1/resources/"+url.PathEscape(d.Type)+"/no-such-id", token, nil, nil)
	if there == nil || nowhere == nil {
		t.Fatalf("%s/%s out of sight: %v; absent: %v", d.Type, d.ID, there, nowhere)
	}
	hidden := requestID.ReplaceAllString(strings.ReplaceAll(there.Error(), d.ID, "no-such-id"), "")
	if hidden != requestID.ReplaceAllString(nowhere.Error(), "") {
		t.Errorf("out of sight: %v; absent: %v", there, nowhere)
	}
}

// projects are the owners of all documents.
func projects(all map[string]document) []string {
	set := map[string]bool{}
	for _, d := range all {
		if p := ownerOf(d); p != "" {
			set[p] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

func ownerOf(d document) string {
	for _, k := range []string{"project_id", "tenant_id", "owner"} {
		if p, ok := d.Source[k].(string); ok && p != "" {
			return p
		}
	}
	return ""
}

// shared reports, from the admin's view of the documents, whether a resource of
// somebody else is visible to the project by a rule of its service.
func shared(d document, project string, all map[string]document) bool {
	text, err := json.Marshal(d.Source)
	if err != nil {
		return false
	}
	if d.Source["visibility"] == "public" || d.Source["shared"] == true || d.Source["router:external"] == true ||
		strings.Contains(string(text), project) || strings.Contains(string(text), `"target_tenant":"*"`) {
		return true
	}
	if id, ok := d.Source["network_id"].(string); ok {
		net := all["OS::Neutron::Net/"+id]
		return ownerOf(net) == project || shared(net, project, nil)
	}
	return false
}
