package searchapi_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/fresnel-search/fresnel/searchapi"
)

// workshop has one plugin.
type workshop struct{ ordered []string }

func (*workshop) List(context.Context) ([]searchapi.Plugin, error) {
	return []searchapi.Plugin{{Name: "sms", State: "quarantined", Reason: "wrong checksum", Schemes: []string{"sms"}}}, nil
}

func (*workshop) Manifest(_ context.Context, name string) (any, error) {
	if name != "sms" {
		return nil, fmt.Errorf("%w: no plugin %s", searchapi.ErrNotFound, name)
	}
	return map[string]string{"version": "1.0.0"}, nil
}

func (w *workshop) Resume(_ context.Context, name string) error {
	w.ordered = append(w.ordered, "resume "+name)
	return nil
}

func (*workshop) Reload(context.Context, string) error {
	return fmt.Errorf("%w: wrong checksum", searchapi.ErrConflict)
}

func TestOperatorsSeeAndStartPlugins(t *testing.T) {
	t.Parallel()
	w := &workshop{}
	srv := newServer(t, &searcher{}, func(_ *searchapi.Config, d *searchapi.Deps) { d.Plugins = w })
	for _, x := range []struct {
		request string
		status  int
		want    string
	}{
		{"GET /v1/admin/plugins", 200, `"reason":"wrong checksum"`},
		{"GET /v1/admin/plugins/sms", 200, `"manifest":{"version":"1.0.0"}`},
		{"GET /v1/admin/plugins/fax", 404, "no plugin fax"},
		{"POST /v1/admin/plugins/sms/resume", 200, `"state":"ready"`},
		{"POST /v1/admin/plugins/sms/reload", 409, "wrong checksum"},
	} {
		got, _ := ask(t, srv, "root", x.request, "")
		if got.Code != x.status || !strings.Contains(got.Body.String(), x.want) {
			t.Errorf("%s = %d %s, want %d %s", x.request, got.Code, got.Body, x.status, x.want)
		}
		if got, _ := ask(t, srv, "", x.request, ""); got.Code != 401 {
			t.Errorf("%s by somebody else = %d", x.request, got.Code)
		}
	}
	if len(w.ordered) != 1 || w.ordered[0] != "resume sms" {
		t.Errorf("ordered %v", w.ordered)
	}
}
