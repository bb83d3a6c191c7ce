package searchapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/searchapi"
)

// shelf is a record store in memory.
type shelf map[string]record.Record

func (s shelf) Read(_ context.Context, table, key string) (record.Record, error) {
	if r, ok := s[table+" "+key]; ok {
		return r, nil
	}
	return record.Record{Table: table, Key: key}, nil
}

func (s shelf) Save(_ context.Context, rs []record.Record) ([]record.Saved, error) {
	for _, r := range rs {
		k := r.Table + " " + r.Key
		if r.Value == nil {
			delete(s, k)
			continue
		}
		r.Version = 1
		s[k] = r
	}
	return make([]record.Saved, len(rs)), nil
}

func (s shelf) Scan(_ context.Context, table, after string, n int) ([]record.Record, error) {
	var out []record.Record
	for _, r := range s {
		if r.Table == table && r.Key > after {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b record.Record) int { return strings.Compare(a.Key, b.Key) })
	return out[:min(n, len(out))], nil
}

func letters(t *testing.T) (shelf, []string) {
	t.Helper()
	s := shelf{}
	ids := []string{"delivery/nfv/1", "mutation/fresnel.mutations/0/1", "notification/n.info/0/5", "notification/n.info/0/6"}
	for i, id := range ids {
		kind, _, _ := strings.Cut(id, "/")
		r, err := record.DeadLetter{
			ID: id, Kind: kind, Reason: "malformed", Topic: "n.info", Value: []byte(`{"secret` + fmt.Sprint(i)), Oversize: i == 3,
		}.Record()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Save(t.Context(), []record.Record{r}); err != nil {
			t.Fatal(err)
		}
	}
	return s, ids
}

func TestDeadLettersAreListedShownReplayedAndDropped(t *testing.T) {
	t.Parallel()
	store, ids := letters(t)
	var resent []string
	srv := newServer(t, &searcher{}, func(_ *searchapi.Config, d *searchapi.Deps) {
		d.DeadLetters = searchapi.Letters{Store: store, Resend: func(_ context.Context, d record.DeadLetter) error {
			if d.Kind == record.DeadMutation {
				return fmt.Errorf("%w: the log is full", searchapi.ErrConflict)
			}
			resent = append(resent, d.ID)
			return nil
		}}
	})
	list := func(params string) (got []string, next any) {
		w, out := ask(t, srv, "root", "GET /v1/admin/deadletters"+params, "")
		if w.Code != 200 || strings.Contains(w.Body.String(), "secret") || strings.Contains(w.Body.String(), `"value"`) {
			t.Fatalf("list: %d %s", w.Code, w.Body)
		}
		for _, l := range out["dead_letters"].([]any) {
			got = append(got, l.(map[string]any)["id"].(string))
		}
		return got, out["next"]
	}
	if got, next := list(""); cmp.Diff(ids, got) != "" || next != "" {
		t.Errorf("all are %v, next %v", got, next)
	}
	if got, next := list("?kind=notification&limit=1"); cmp.Diff(ids[2:3], got) != "" || next != ids[2] {
		t.Errorf("a page is %v, next %v", got, next)
	}
	if got, _ := list("?kind=notification&after=" + ids[2]); cmp.Diff(ids[3:], got) != "" {
		t.Errorf("the page after is %v", got)
	}
	if got, _ := list("?kind=mutation"); cmp.Diff(ids[1:2], got) != "" {
		t.Errorf("mutations are %v", got)
	}
	w, out := ask(t, srv, "root", "GET /v1/admin/deadletters/"+ids[2], "")
	if w.Code != 200 || out["text"] != `{"secret2` || out["size"] != 9.0 || out["reason"] != "malformed" {
		t.Errorf("show: %d %s", w.Code, w.Body)
	}
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "nothing/there", 404},
		{"POST", "nothing/there/replay", 404},
		{"DELETE", "nothing/there", 404},
		{"POST", ids[2], 404},
		{"POST", ids[1] + "/replay", 409},
		{"POST", ids[3] + "/replay", 409},
		{"POST", ids[2] + "/replay", 200},
		{"POST", ids[2] + "/replay", 404},
		{"DELETE", ids[0], 204},
		{"GET", ids[0], 404},
	} {
		if w, _ := ask(t, srv, "root", c.method+" "+"/v1/admin/deadletters/"+c.path, ""); w.Code != c.status {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, w.Code, w.Body, c.status)
		}
	}
	if d := cmp.Diff([]string{ids[2]}, resent); d != "" {
		t.Error(d)
	}
	if got, _ := list(""); cmp.Diff([]string{ids[1], ids[3]}, got) != "" {
		t.Errorf("left are %v", got)
	}
	for _, bad := range []string{"?kind=x", "?limit=0", "?limt=1"} {
		if w, _ := ask(t, srv, "root", "GET /v1/admin/deadletters"+bad, ""); w.Code != 400 {
			t.Errorf("list %s: %d", bad, w.Code)
		}
	}
}

type desk struct{ list []searchapi.Subscription }

func (d desk) List(context.Context) ([]searchapi.Subscription, error) { return d.list, nil }

func (d desk) Resume(_ context.Context, name string) error {
	for _, s := range d.list {
		if s.Name == name && s.State == "suspended" {
			return nil
		} else if s.Name == name {
			return fmt.Errorf("%w: it is %s", searchapi.ErrConflict, s.State)
		}
	}
	return searchapi.ErrNotFound
}

func (d desk) Pause(_ context.Context, name string) error {
	if name == "nfv" {
		return nil
	}
	return searchapi.ErrNotFound
}

// rack is one delivery, nfv/x@1.
type rack struct{ asked []searchapi.DeliveryQuery }

func (r *rack) List(_ context.Context, q searchapi.DeliveryQuery) ([]searchapi.Delivery, error) {
	r.asked = append(r.asked, q)
	return []searchapi.Delivery{{Subscription: "nfv", ID: "x@1", State: "waiting", Resource: "T/x"}}, nil
}

func (r *rack) Get(_ context.Context, subscription, id string) (searchapi.Delivery, *searchapi.Event, error) {
	if subscription+"/"+id != "nfv/x@1" {
		return searchapi.Delivery{}, nil, searchapi.ErrNotFound
	}
	return searchapi.Delivery{Subscription: "nfv", ID: "x@1"}, &searchapi.Event{ID: "x@1", Data: []byte(`{"n":1}`)}, nil
}

func (r *rack) Redeliver(_ context.Context, subscription, id string) error {
	if _, _, err := r.Get(context.Background(), subscription, id); err != nil {
		return fmt.Errorf("%w: it waits", searchapi.ErrConflict)
	}
	return nil
}

func TestDeliveriesAreListedShownAndRedelivered(t *testing.T) {
	t.Parallel()
	r := &rack{}
	srv := newServer(t, &searcher{}, func(_ *searchapi.Config, d *searchapi.Deps) { d.Deliveries = r })
	w, out := ask(t, srv, "root", "GET /v1/admin/deliveries?subscription=nfv&state=waiting&after=nfv/a&limit=1", "")
	if w.Code != 200 || out["next"] != "nfv/x@1" {
		t.Errorf("list: %d %s", w.Code, w.Body)
	}
	want := []searchapi.DeliveryQuery{{Subscription: "nfv", State: "waiting", AfterSubscription: "nfv", AfterID: "a", Limit: 1}}
	if d := cmp.Diff(want, r.asked); d != "" {
		t.Error(d)
	}
	w, out = ask(t, srv, "root", "GET /v1/admin/deliveries/nfv/x@1", "")
	if e, ok := out["event"].(map[string]any); !ok || e["data"].(map[string]any)["n"] != 1.0 {
		t.Errorf("show: %d %s", w.Code, w.Body)
	}
	for request, status := range map[string]int{
		"GET /v1/admin/deliveries/nfv/none":             404,
		"GET /v1/admin/deliveries?state=x":              400,
		"GET /v1/admin/deliveries?stat=dead":            400,
		"GET /v1/admin/deliveries?limit=0":              400,
		"POST /v1/admin/deliveries/nfv/x@1":             404,
		"POST /v1/admin/deliveries/nfv/x@1/redeliver":   200,
		"POST /v1/admin/deliveries/nfv/none/redeliver":  409,
		"POST /v1/admin/deliveries/other/x@1/redeliver": 409,
		"GET /v1/admin/subscriptions":                   404, // this process has none
		"POST /v1/admin/subscriptions/nfv/pause":        404,
	} {
		if w, _ := ask(t, srv, "root", request, ""); w.Code != status {
			t.Errorf("%s: %d %s, want %d", request, w.Code, w.Body, status)
		}
	}
	if w, _ := ask(t, srv, "ann", "GET /v1/admin/deliveries", ""); w.Code != http.StatusForbidden {
		t.Errorf("list for a tenant: %d", w.Code)
	}
}

type ledger []searchapi.Book

func (l ledger) Books(context.Context) ([]searchapi.Book, error) {
	if l == nil {
		return nil, errors.New("no broker")
	}
	return l, nil
}

func TestSubscriptionsAreListedAndResumed(t *testing.T) {
	t.Parallel()
	srv := newServer(t, &searcher{}, func(_ *searchapi.Config, d *searchapi.Deps) {
		d.Subscriptions = desk{[]searchapi.Subscription{{Name: "nfv", Publisher: "webhook", State: "suspended", Lag: 3}, {Name: "log", State: "active"}}}
	})
	if w, _ := ask(t, srv, "root", "GET /v1/admin/subscriptions", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"lag":3`) {
		t.Errorf("list: %d %s", w.Code, w.Body)
	}
	for name, status := range map[string]int{"nfv": 200, "log": 409, "x": 404} {
		if w, _ := ask(t, srv, "root", "POST /v1/admin/subscriptions/"+name+"/resume", ""); w.Code != status {
			t.Errorf("resume %s: %d %s, want %d", name, w.Code, w.Body, status)
		}
	}
	for request, status := range map[string]int{
		"GET /v1/admin/subscriptions/nfv": 200, "GET /v1/admin/subscriptions/x": 404, "POST /v1/admin/subscriptions/nfv/pause": 200,
		"POST /v1/admin/subscriptions/x/pause": 404, "POST /v1/admin/subscriptions/nfv/stop": 404,
	} {
		if w, _ := ask(t, srv, "root", request, ""); w.Code != status {
			t.Errorf("%s: %d %s, want %d", request, w.Code, w.Body, status)
		}
	}
	if w, _ := ask(t, srv, "ann", "POST /v1/admin/subscriptions/nfv/resume", ""); w.Code != http.StatusForbidden {
		t.Errorf("resume by a tenant: %d", w.Code)
	}
}

func TestBooksSayWhetherTheyAddUp(t *testing.T) {
	t.Parallel()
	books := ledger{
		{Role: "listener", Topic: "b", Partition: 1, Input: 5, Outcomes: map[string]int64{"ignored": 2, "dead": 1, "dispatched": 2}, Notes: map[string]int64{"lost": 1}},
		{Role: "listener", Topic: "a", Partition: 0, Input: 1, Outcomes: map[string]int64{"dispatched": 1}},
		{Role: "indexer", Topic: "m", Input: 3, Outcomes: map[string]int64{"applied": 2}},
	}
	srv := newServer(t, &searcher{}, func(_ *searchapi.Config, d *searchapi.Deps) { d.Books = books })
	w, out := ask(t, srv, "root", "GET /v1/admin/books", "")
	if w.Code != 200 || out["adds_up"] != false {
		t.Fatalf("books: %d %s", w.Code, w.Body)
	}
	roles := out["books"].(map[string]any)
	in, ix := roles["listener"].(map[string]any), roles["indexer"].(map[string]any)
	if in["adds_up"] != true || in["input"] != 6.0 || in["outcomes"].(map[string]any)["dispatched"] != 3.0 || ix["adds_up"] != false {
		t.Errorf("books are %s", w.Body)
	}
	if first := in["partitions"].([]any)[0].(map[string]any); first["topic"] != "a" {
		t.Errorf("partitions are not in order: %v", in["partitions"])
	}
	broken := newServer(t, &searcher{}, func(_ *searchapi.Config, d *searchapi.Deps) { d.Books = ledger(nil) })
	if w, _ := ask(t, broken, "root", "GET /v1/admin/books", ""); w.Code != 500 || strings.Contains(w.Body.String(), "broker") {
		t.Errorf("unreadable books: %d %s", w.Code, w.Body)
	}
}

func TestStatusIsForAdmins(t *testing.T) {
	t.Parallel()
	srv := newServer(t, &searcher{}, func(_ *searchapi.Config, d *searchapi.Deps) {
		d.Status = func() searchapi.Status {
			return searchapi.Status{Version: "1", Topics: []string{"n.info"}, Listen: map[string]string{"searchapi": "x"}}
		}
	})
	if w, out := ask(t, srv, "root", "GET /v1/admin/status", ""); w.Code != 200 || out["version"] != "1" {
		t.Errorf("status: %d %s", w.Code, w.Body)
	}
	if w, _ := ask(t, srv, "ann", "GET /v1/admin/status", ""); w.Code != 403 {
		t.Errorf("status for a tenant: %d", w.Code)
	}
}
