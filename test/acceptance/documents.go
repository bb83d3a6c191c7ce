package acceptance

import (
	"net/url"
	"testing"

	"github.com/fresnel-search/fresnel/test/harness"
)

// Document is one resource as the search API shows it.
type Document struct {
	Type, ID string
	Source   map[string]any
}

// Dump reads every document that a token may see, all projects' for admins.
func Dump(t testing.TB, s *harness.Server, token string) map[string]Document {
	t.Helper()
	s.Refresh()
	all := map[string]Document{}
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
			all[h.Type+"/"+h.ID] = Document{h.Type, h.ID, h.Source}
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

// One is a document by its id, as an admin sees it.
func One(s *harness.Server, typ, id string) (map[string]any, error) {
	var d struct{ Document map[string]any }
	err := s.Get("/v1/resources/"+url.PathEscape(typ)+"/"+url.PathEscape(id), &d)
	return d.Document, err
}
