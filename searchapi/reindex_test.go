package searchapi_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/searchapi"
)

// cellar is where indices are kept.
type cellar struct {
	asked   searchapi.ReindexRequest
	dropped []string
}

func (*cellar) Indices(context.Context) ([]resource.Index, error) {
	return []resource.Index{{Name: "x-1", Type: "X", State: resource.IndexServes, Documents: 3, Differences: []string{"field a: new"}}}, nil
}

func (*cellar) Create(context.Context) ([]string, error) { return nil, nil }

func (c *cellar) Drop(_ context.Context, name string) error {
	if name != "x-0" {
		return fmt.Errorf("%w: it is in use", searchapi.ErrConflict)
	}
	c.dropped = append(c.dropped, name)
	return nil
}

func (c *cellar) Reindex(_ context.Context, q searchapi.ReindexRequest) ([]record.Reindex, error) {
	c.asked = q
	return []record.Reindex{{Type: "X", State: record.ReindexWaits, Why: []string{"field a: new"}, Checkpoint: []byte(`{"from":1}`)}}, nil
}

func (*cellar) Jobs(context.Context) ([]record.Reindex, error) { return nil, nil }

func (*cellar) Abort(_ context.Context, typ string) (record.Reindex, error) {
	if typ == "Z" {
		return record.Reindex{}, fmt.Errorf("%w: the store does not answer", searchapi.ErrUnavailable)
	}
	if typ != "X" {
		return record.Reindex{}, fmt.Errorf("%w: no reindex of %s", searchapi.ErrNotFound, typ)
	}
	return record.Reindex{Type: typ, Abort: true}, nil
}

func TestOperatorsSeeAndMendIndices(t *testing.T) {
	t.Parallel()
	c := &cellar{}
	srv := newServer(t, &searcher{}, func(_ *searchapi.Config, d *searchapi.Deps) { d.Indices = c })
	for _, x := range []struct {
		request, body string
		status        int
		want          string
	}{
		{"GET /v1/admin/indices", "", 200, `"as_wanted":false`},
		{"POST /v1/admin/indices", "", 200, `"created":[]`},
		{"DELETE /v1/admin/indices/x-0", "", 400, `"path":"confirm"`},
		{"DELETE /v1/admin/indices/x-0?confirm=x-1", "", 400, "repeat the name"},
		{"DELETE /v1/admin/indices/x-1?confirm=x-1", "", 409, "in use"},
		{"DELETE /v1/admin/indices/x-0?confirm=x-0", "", 204, ""},
		{"GET /v1/admin/reindex", "", 200, `"reindexes":[]`},
		{"POST /v1/admin/reindex", `{"types":["X"],"rate":5,"grace":1.5,"keep":true}`, 202, `"why":["field a: new"]`},
		{"POST /v1/admin/reindex", `{"dry_run":true}`, 200, `"dry_run":true`},
		{"POST /v1/admin/reindex", "", 202, `"reindexes"`},
		{"POST /v1/admin/reindex", `{"typs":[]}`, 400, "allowed here"},
		{"POST /v1/admin/reindex", `{"rate":-1}`, 400, `"path":"rate"`},
		{"POST /v1/admin/reindex", `{"grace":1e12}`, 400, `"path":"grace"`},
		{"DELETE /v1/admin/reindex/X", "", 202, `"abort":true`},
		{"DELETE /v1/admin/reindex/Y", "", 404, "no reindex of Y"},
		{"DELETE /v1/admin/reindex/Z", "", 503, "the store does not answer"},
	} {
		w, _ := ask(t, srv, "root", x.request, x.body)
		if w.Code != x.status || !strings.Contains(w.Body.String(), x.want) || strings.Contains(w.Body.String(), "checkpoint") {
			t.Errorf("%s %s = %d %s", x.request, x.body, w.Code, w.Body)
		}
		if strings.Contains(x.body, "1.5") && (c.asked.Rate != 5 || c.asked.Grace != 1.5 || !c.asked.Keep || c.asked.Types[0] != "X") {
			t.Errorf("asked for %+v", c.asked)
		}
		if w, _ := ask(t, srv, "", x.request, x.body); w.Code != 401 {
			t.Errorf("%s by somebody else = %d", x.request, w.Code)
		}
	}
	if len(c.dropped) != 1 {
		t.Errorf("dropped %v", c.dropped)
	}
}
