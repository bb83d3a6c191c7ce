package acceptance

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

	"github.com/fresnel-search/fresnel/test/harness"
)

// Tenants plays the recorded day and checks that each project sees its own resources
// and those that the services' rules share with it, and no trace of others.
func Tenants(t testing.TB, e *harness.Engines) {
	t.Helper()
	s := e.New(t, `
searchapi: {listen: SEARCH_ADDR, identity: {mode: static, tokens_file: tokens.yaml}}
listener: {kafka: {embedded: {listen: KAFKA_ADDR}}}
`)
	recorded := harness.Testdata(t, "day")
	s.File("tokens.yaml", TokenEntry("admin-token", "admin", "adminproject", "admin"))
	s.Start()
	s.Play(recorded)
	Settled(t, s, appended(t, s, 1, recorded), "admin-token")
	all := Dump(t, s, "admin-token")
	tenants := map[string]string{} // token by project
	var tokens strings.Builder
	tokens.WriteString(TokenEntry("admin-token", "admin", "adminproject", "admin"))
	for _, p := range projects(all) {
		tenants[p] = "token-of-" + p
		tokens.WriteString(TokenEntry(tenants[p], "user-"+p, p, "member"))
	}
	s.File("tokens.yaml", tokens.String()) // is read again when it changes
	for _, token := range tenants {
		s.Eventually("the new tokens are known", func() error { return s.Call("GET", "/v1/search", token, map[string]any{}, nil) })
	}
	owners, unseen := 0, 0
	sample := 1
	if e.IsReal() { // where each look takes a while, some, chosen anew in every run
		sample = 8
	}
	for project, token := range tenants {
		mine := Dump(t, s, token)
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
				if unseen++; unseen%sample == 0 {
					noTrace(t, s, token, d)
				}
			}
		}
	}
	if owners == 0 {
		t.Error("no document belongs to any tenant: nothing was tested")
	}
}

// TokenEntry is one entry of a tokens file.
func TokenEntry(token, user, project, role string) string {
	return fmt.Sprintf("- {sha256: %x, user_id: %s, project_id: %q, roles: [%s]}\n", sha256.Sum256([]byte(token)), user, project, role)
}

// noTrace checks that a document out of sight is not to be told from none.
func noTrace(t testing.TB, s *harness.Server, token string, d Document) {
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
func projects(all map[string]Document) []string {
	set := map[string]bool{}
	for _, d := range all {
		if p := ownerOf(d); p != "" {
			set[p] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

func ownerOf(d Document) string {
	for _, k := range []string{"project_id", "tenant_id", "owner"} {
		if p, ok := d.Source[k].(string); ok && p != "" {
			return p
		}
	}
	return ""
}

// shared reports, from the admin's view of the documents, whether a resource of
// somebody else is visible to the project by a rule of its service.
func shared(d Document, project string, all map[string]Document) bool {
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
