package storetest

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// operator sees everything.
func operator() *query.Scope { return &query.Scope{All: true, Hidden: true} }

// tenant sees what a project may see.
func tenant(project string) *query.Scope {
	return &query.Scope{Principals: []resource.Principal{resource.Project(project), resource.Everyone}}
}

func request(n query.Node, scope *query.Scope) query.Request {
	return query.Request{Types: []string{Port, Server}, Query: n, Size: 100, Scope: scope}
}

func (h Harness) search(t testing.TB, req query.Request) query.Result {
	t.Helper()
	res, err := h.Search.Search(t.Context(), req)
	if err != nil {
		t.Fatalf("Search(%+v): %v", req.Query, err)
	}
	if res.Partial != "" {
		t.Fatalf("Search(%+v) is partial: %s", req.Query, res.Partial)
	}
	return res
}

func ids(res query.Result) string {
	var out []string
	for _, h := range res.Hits {
		out = append(out, h.Ref.ID)
	}
	return strings.Join(out, " ")
}

func testSearches(t *testing.T, open Open) {
	t.Run("each clause finds what it says", func(t *testing.T) { testClauses(t, open(t, Types())) })
	t.Run("get shows what was written, searchable or not", func(t *testing.T) { testGetIsRealtime(t, open(t, Types())) })
	t.Run("ghosts and tombstones are not found", func(t *testing.T) { testUnseen(t, open(t, Types())) })
	t.Run("pages, order and sort values", func(t *testing.T) { testOrder(t, open(t, Types())) })
	t.Run("what was written over is not found any more", func(t *testing.T) { testRewrite(t, open(t, Types())) })
	t.Run("a request without a scope is refused", func(t *testing.T) {
		h := open(t, Types())
		if _, err := h.Search.Search(t.Context(), request(query.MatchAll{}, nil)); err == nil {
			t.Error("it was answered")
		}
	})
}

// fixture is the documents of the tables below.
func fixture() []resource.Document {
	all := []resource.Principal{resource.Everyone}
	s := func(id string, fields map[string]string) resource.Document {
		fields["id"] = `"` + id + `"`
		return Doc(resource.Ref{Type: Server, ID: id}, all, fields)
	}
	return []resource.Document{
		s("s1", map[string]string{
			"name": `"web-01.example.net"`, "status": `"ACTIVE"`, "size": `1`, "load": `0.5`, "locked": `true`,
			"created_at": `"2026-05-01T10:00:00Z"`, "address": `"10.0.0.2"`, "flavor.id": `"m1"`,
			"metadata": `{"role":"db","rack":{"row":"a1"}}`, "other.task": `"spawning"`,
			"networks": `[{"name":"blue","version":4},{"name":"red","version":6}]`,
		}),
		s("s2", map[string]string{
			"name": `"Web Server two"`, "description": `"the quick brown fox"`, "status": `"ERROR"`, "size": `2`,
			"locked": `false`, "created_at": `"2026-05-02T00:00:00.000000"`, "address": `"10.0.1.2"`,
			"networks": `[{"name":"blue","version":6},{"name":"red","version":4}]`,
		}),
		s("s3", map[string]string{
			"name": `"db-prod-01"`, "description": `["brown","fox quick"]`, "status": `"active"`, "size": `30`,
			"address": `"fd00::1"`, "created_at": `"2026-06-01T00:00:00+02:00"`, "metadata": `{"role":"web*"}`,
		}),
		Doc(resource.Ref{Type: Port, ID: "p1"}, all, map[string]string{
			"id": `"p1"`, "name": `"web port"`, "size": `2.5`, "status": `"ACTIVE"`,
		}),
	}
}

func testClauses(t *testing.T, h Harness) {
	h.write(t, fixture()...)
	h.refresh(t)
	num := func(s string) json.Number { return json.Number(s) }
	for _, c := range []struct {
		name string
		n    query.Node
		want string // ids, sorted
	}{
		{"match_all", query.MatchAll{}, "p1 s1 s2 s3"},
		{"match_none", query.MatchNone{}, ""},
		{"term on a keyword", query.Term{Field: "flavor.id", Value: "m1"}, "s1"},
		{"term is exact", query.Term{Field: "status", Value: "active"}, "s3"},
		{"term without case", query.Term{Field: "status", Value: "active", CaseInsensitive: true}, "p1 s1 s3"},
		{"term on a text is a word", query.Term{Field: "name", Value: "web"}, "p1 s1 s2"},
		{"term on a text is not analysed", query.Term{Field: "name", Value: "Web"}, ""},
		{"term on a raw twin", query.Term{Field: "name.raw", Value: "Web Server two"}, "s2"},
		{"term on an unknown field", query.Term{Field: "nope", Value: "x"}, ""},
		{"term on numbers of two types", query.Term{Field: "size", Value: num("2")}, "s2"},
		{"term on a boolean", query.Term{Field: "locked", Value: true}, "s1"},
		{"term on a network", query.Term{Field: "address", Value: "10.0.0.0/16"}, "s1 s2"},
		{"term in flattened", query.Term{Field: "metadata.role", Value: "db"}, "s1"},
		{"term deep in flattened", query.Term{Field: "metadata.rack.row", Value: "a1"}, "s1"},
		{"term on all of flattened", query.Term{Field: "metadata", Value: "a1"}, "s1"},
		{"term on what the catalogue does not know", query.Term{Field: "other.task", Value: "spawning"}, "s1"},
		{"term on a nested field outside of nested", query.Term{Field: "networks.name", Value: "blue"}, ""},
		{"terms", query.Terms{Field: "status", Values: []query.Value{"ERROR", "active"}}, "s2 s3"},
		{"ids", query.IDs{Values: []string{"s2", "p1", "x"}}, "p1 s2"},
		{"ids of a type", query.IDs{Types: []string{Server}, Values: []string{"s2", "p1"}}, "s2"},
		{"exists", query.Exists{Field: "description"}, "s2 s3"},
		{"exists on an object", query.Exists{Field: "flavor"}, "s1"},
		{"exists in flattened", query.Exists{Field: "metadata.rack"}, "s1"},
		{"range of numbers", query.Range{Field: "size", GTE: num("2"), LT: num("30")}, "p1 s2"},
		{"range of dates", query.Range{Field: "created_at", GT: "2026-05-01T10:00:00Z", LTE: "2026-05-31T22:00:00Z"}, "s2 s3"},
		{"range of addresses", query.Range{Field: "address", GTE: "10.0.0.3", LT: "10.0.2.0"}, "s2"},
		{"range of texts", query.Range{Field: "status", GTE: "B", LT: "F"}, "s2"},
		{"prefix", query.Prefix{Field: "name.raw", Value: "db-"}, "s3"},
		{"prefix of words", query.Prefix{Field: "name", Value: "serv"}, "s2"},
		{"wildcard", query.Wildcard{Field: "name.raw", Value: "*-0?*"}, "s1 s3"},
		{"escaped wildcard", query.Wildcard{Field: "metadata.role", Value: `web\*`}, "s3"},
		{"match", query.Match{Fields: []string{"name"}, Text: "WEB two"}, "p1 s1 s2"},
		{"match all words", query.Match{Fields: []string{"name"}, Text: "two web", And: true}, "s2"},
		{"match some words", query.Match{Fields: []string{"description"}, Text: "quick fox lazy", MinimumShouldMatch: "2"}, "s2 s3"},
		{"match in all fields", query.Match{Fields: []string{"*"}, Text: "db", Lenient: true}, "s1 s3"},
		{"phrase", query.MatchPhrase{Fields: []string{"description"}, Text: "quick brown"}, "s2"},
		{"phrase does not span values", query.MatchPhrase{Fields: []string{"description"}, Text: "brown fox"}, "s2"},
		{"phrase with slop", query.MatchPhrase{Fields: []string{"description"}, Text: "quick fox", Slop: 2}, "s2 s3"},
		{"phrase prefix", query.MatchPhrase{Fields: []string{"description"}, Text: "brown f", Prefix: true}, "s2"},
		{"pattern in all fields", query.Pattern{Fields: []string{"*"}, Value: "SPAWN*", Lenient: true}, ""},
		{"pattern in words", query.Pattern{Fields: []string{"*"}, Value: "SERV*", Lenient: true}, "s2"},
		{"bool", query.Bool{
			Must:    []query.Node{query.Match{Fields: []string{"name"}, Text: "web"}},
			MustNot: []query.Node{query.Term{Field: "status", Value: "ERROR"}},
		}, "p1 s1"},
		{"bool with should only", query.Bool{Should: []query.Node{query.IDs{Values: []string{"s1"}}, query.IDs{Values: []string{"s3"}}}}, "s1 s3"},
		{"nested conditions meet in one element", nestedBlue("4"), "s1"},
		{"nested", query.Nested{Path: "networks", Query: query.Term{Field: "networks.version", Value: num("6")}}, "s1 s2"},
		{"not nested", query.Bool{MustNot: []query.Node{nestedBlue("4")}}, "p1 s2 s3"},
		{"nested with a condition that all but one element lacks", query.Nested{Path: "networks", Query: query.Bool{
			MustNot: []query.Node{query.Term{Field: "networks.name", Value: "blue"}},
		}}, "s1 s2"},
	} {
		req := request(c.n, operator())
		req.Sort = []query.Sort{{Field: "_id"}}
		if res := h.search(t, req); ids(res) != c.want || res.Total != len(strings.Fields(c.want)) {
			t.Errorf("%s: found %q (total %d), want %q", c.name, ids(res), res.Total, c.want)
		}
	}
}

func nestedBlue(version string) query.Node {
	return query.Nested{Path: "networks", Query: query.Bool{Must: []query.Node{
		query.Term{Field: "networks.name", Value: "blue"},
		query.Term{Field: "networks.version", Value: json.Number(version)},
	}}}
}

func testUnseen(t *testing.T, h Harness) {
	ghost := Doc(resource.Ref{Type: Server, ID: "ghost"}, []resource.Principal{"*"}, map[string]string{"name": `"x"`})
	ghost.Revision, ghost.TenantRevision = 0, 0
	dead := Doc(resource.Ref{Type: Server, ID: "dead"}, []resource.Principal{"*"}, map[string]string{"name": `"x"`})
	dead.Deleted = true
	live := Doc(resource.Ref{Type: Server, ID: "live"}, []resource.Principal{"*"}, map[string]string{"name": `"x"`})
	docs := h.write(t, ghost, dead, live)
	h.refresh(t)
	for _, n := range []query.Node{
		query.MatchAll{},
		query.Term{Field: "name", Value: "x"},
		query.IDs{Values: []string{"ghost", "dead", "live"}},
		query.Bool{MustNot: []query.Node{query.MatchNone{}}},
	} {
		if got := ids(h.search(t, request(n, operator()))); got != "live" {
			t.Errorf("%#v found %q, want only what is live", n, got)
		}
	}
	for _, d := range docs[:2] {
		if _, err := h.Search.Get(t.Context(), d.Ref, *operator()); !errors.Is(err, query.ErrNotFound) {
			t.Errorf("Get(%s) = %v, want ErrNotFound", d.Ref, err)
		}
	}
	docs[0].Revision, docs[1].Deleted, docs[2].Deleted = 1, false, true
	h.write(t, docs...)
	h.refresh(t)
	req := request(query.Term{Field: "name", Value: "x"}, operator())
	req.Sort = []query.Sort{{Field: "_id"}}
	if got := ids(h.search(t, req)); got != "dead ghost" {
		t.Errorf("after a ghost was shown, a tombstone revived and a live one died, found %q", got)
	}
}

func testGetIsRealtime(t *testing.T, h Harness) {
	d := Doc(resource.Ref{Type: Server, ID: "s"}, []resource.Principal{"project:a"}, map[string]string{"name": `"x"`})
	for revision := int64(3); revision < 6; revision++ {
		d.Revision, d.TenantRevision = revision, revision
		d = h.write(t, d)[0]
		hit, err := h.Search.Get(t.Context(), d.Ref, *tenant("a"))
		if err != nil || hit.Revision != revision || hit.Ref != d.Ref || hit.Score != nil || hit.Sort != nil {
			t.Fatalf("revision %d was written, Get says %+v, %v", revision, hit, err)
		}
		if _, err := h.Search.Get(t.Context(), d.Ref, *tenant("b")); !errors.Is(err, query.ErrNotFound) {
			t.Errorf("Get of another tenant = %v, want ErrNotFound", err)
		}
	}
	d.Readers = []resource.Principal{"project:b"}
	d = h.write(t, d)[0]
	if _, err := h.Search.Get(t.Context(), d.Ref, *tenant("a")); !errors.Is(err, query.ErrNotFound) {
		t.Errorf("Get of what is no longer shown = %v, want ErrNotFound", err)
	}
	d.Deleted = true
	h.write(t, d)
	if _, err := h.Search.Get(t.Context(), d.Ref, *tenant("b")); !errors.Is(err, query.ErrNotFound) {
		t.Errorf("Get of what is deleted = %v, want ErrNotFound", err)
	}
}

func testOrder(t *testing.T, h Harness) {
	h.write(t, fixture()...)
	h.refresh(t)
	for _, c := range []struct {
		name string
		sort []query.Sort
		want string
		keys string // of all hits, by blank
	}{
		{"by score", nil, "p1 s1 s2 s3", ""},
		{"numbers", []query.Sort{{Field: "size"}}, "s1 s2 p1 s3", "[1] [2] [2.5] [30]"},
		{"down", []query.Sort{{Field: "size", Desc: true}}, "s3 p1 s2 s1", ""},
		{"missing last", []query.Sort{{Field: "load"}}, "s1 p1 s2 s3", "[0.5] [null] [null] [null]"},
		{"missing last, down", []query.Sort{{Field: "load", Desc: true}}, "s1 p1 s2 s3", ""},
		{"missing first", []query.Sort{{Field: "load", Missing: "_first"}, {Field: "_id", Desc: true}}, "s3 s2 p1 s1", ""},
		{
			"dates as milliseconds",
			[]query.Sort{{Field: "created_at"}},
			"s1 s2 s3 p1",
			"[1777629600000] [1777680000000] [1780264800000] [null]",
		},
		{"texts by their raw twin", []query.Sort{{Field: "name"}}, "s2 s3 p1 s1", ""},
		{"addresses", []query.Sort{{Field: "address"}}, "s1 s2 s3 p1", `["10.0.0.2"] ["10.0.1.2"] ["fd00::1"] [null]`},
	} {
		req := request(query.MatchAll{}, operator())
		req.Sort = c.sort
		res := h.search(t, req)
		if ids(res) != c.want {
			t.Errorf("sorted %s: %q, want %q", c.name, ids(res), c.want)
		}
		var keys []string
		for _, hit := range res.Hits {
			b, err := json.Marshal(hit.Sort)
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, string(b))
			if (hit.Score != nil) != (c.sort == nil) {
				t.Errorf("sorted %s: score %v", c.name, hit.Score)
			}
		}
		if got := strings.Join(keys, " "); c.keys != "" && got != c.keys {
			t.Errorf("sort values %s: %s, want %s", c.name, got, c.keys)
		}
		for from := range 5 {
			req.From, req.Size = from, 2
			want := strings.Fields(c.want)[min(from, 4):min(from+2, 4)]
			if res := h.search(t, req); res.Total != 4 || ids(res) != strings.Join(want, " ") {
				t.Errorf("sorted %s, from %d: %q of %d, want %q", c.name, from, ids(res), res.Total, want)
			}
		}
		req.From, req.Size = 0, 0
		if res := h.search(t, req); res.Total != 4 || len(res.Hits) != 0 {
			t.Errorf("size 0: %d hits of %d, want 0 of 4", len(res.Hits), res.Total)
		}
	}
}

func testRewrite(t *testing.T, h Harness) {
	docs := h.write(t, fixture()...)
	docs[0].Fields = map[string]json.RawMessage{
		"name": json.RawMessage(`"other name"`), "networks": json.RawMessage(`[{"name":"red","version":6}]`), "size": json.RawMessage(`7`),
	}
	docs[0].Readers = []resource.Principal{"project:b"}
	h.write(t, docs[0])
	h.refresh(t)
	for _, n := range []query.Node{
		query.Term{Field: "name", Value: "example.net"},
		query.Term{Field: "flavor.id", Value: "m1"},
		nestedBlue("4"),
		query.Term{Field: "metadata.role", Value: "db"},
		query.Range{Field: "load", GT: json.Number("0")},
	} {
		if got := ids(h.search(t, request(n, operator()))); got != "" {
			t.Errorf("%#v still found %q", n, got)
		}
	}
	if got := ids(h.search(t, request(query.Term{Field: "size", Value: json.Number("7")}, tenant("b")))); got != "s1" {
		t.Errorf("the new state was found as %q", got)
	}
	if got := ids(h.search(t, request(query.Term{Field: "size", Value: json.Number("7")}, tenant("c")))); got != "" {
		t.Errorf("a tenant who lost sight found %q", got)
	}
}

func testIsolation(t *testing.T, open Open) {
	h := open(t, Types())
	mine := Doc(resource.Ref{Type: Server, ID: "mine"}, []resource.Principal{"project:a"}, map[string]string{
		"name": `"alpha"`, "size": `5`, "hypervisor": `"hv-mine"`, "other.host_ip": `"hidden"`, "other.zone": `"z"`,
		"metadata": `{"secret_key":"hush","open":"yes"}`, "networks": `[{"name":"n","vlan":77}]`,
	})
	theirs := Doc(resource.Ref{Type: Server, ID: "theirs"}, []resource.Principal{"project:b", "user:u"}, map[string]string{
		"name": `"alpha beta"`, "size": `9`, "hypervisor": `"hv-theirs"`, "other.zone": `"y"`,
	})
	nobodys := Doc(resource.Ref{Type: Server, ID: "nobodys"}, nil, map[string]string{"name": `"alpha"`, "size": `1`})
	open1 := Doc(resource.Ref{Type: Port, ID: "shared"}, []resource.Principal{"*"}, map[string]string{"name": `"alpha"`, "status": `"s"`})
	h.write(t, mine, theirs, nobodys, open1)
	h.refresh(t)
	t.Run("a tenant finds its own and what is everybody's, in hits and totals", func(t *testing.T) {
		for _, n := range []query.Node{
			query.MatchAll{},
			nil,
			query.Match{Fields: []string{"name"}, Text: "alpha"},
			query.Match{Fields: []string{"*"}, Text: "alpha", Lenient: true},
			query.IDs{Values: []string{"mine", "theirs", "nobodys", "shared"}},
			query.Bool{MustNot: []query.Node{query.Term{Field: "name", Value: "gamma"}}},
			query.Bool{Should: []query.Node{query.MatchAll{}, query.IDs{Values: []string{"theirs"}}}},
		} {
			res := h.search(t, request(n, tenant("a")))
			if got := strings.Fields(ids(res)); res.Total != 2 || len(got) != 2 {
				t.Errorf("%#v found %q of %d, want mine and shared", n, got, res.Total)
			}
			none := h.search(t, request(n, &query.Scope{}))
			if none.Total != 0 || len(none.Hits) != 0 {
				t.Errorf("%#v found %q without any principal", n, ids(none))
			}
		}
	})
	t.Run("get tells another's resource from none by nothing", func(t *testing.T) {
		_, err := h.Search.Get(t.Context(), theirs.Ref, *tenant("a"))
		_, none := h.Search.Get(t.Context(), resource.Ref{Type: Server, ID: "no such"}, *tenant("a"))
		if !errors.Is(err, query.ErrNotFound) || err.Error() != none.Error() {
			t.Errorf("Get of another's = %v, of nothing = %v", err, none)
		}
		if _, err := h.Search.Get(t.Context(), theirs.Ref, query.Scope{Principals: []resource.Principal{"user:u"}}); err != nil {
			t.Errorf("Get by a user who may = %v", err)
		}
	})
	t.Run("fields for operators do not exist for tenants", func(t *testing.T) { testHidden(t, h) })
	t.Run("each counts the revisions it may see", func(t *testing.T) {
		for _, c := range []struct {
			scope *query.Scope
			want  int64
		}{{operator(), 3}, {tenant("a"), 2}} {
			if hit, err := h.Search.Get(t.Context(), mine.Ref, *c.scope); err != nil || hit.Revision != c.want {
				t.Errorf("revision %d, %v, want %d", hit.Revision, err, c.want)
			}
		}
	})
}

func testHidden(t *testing.T, h Harness) {
	for _, n := range []query.Node{
		query.Term{Field: "hypervisor", Value: "hv-mine"},
		query.Exists{Field: "hypervisor"},
		query.Match{Fields: []string{"*"}, Text: "hv-mine", Lenient: true},
		query.Pattern{Fields: []string{"*"}, Value: "hv*", Lenient: true},
		query.Term{Field: "other.host_ip", Value: "hidden"},
		query.Match{Fields: []string{"*"}, Text: "hidden", Lenient: true},
		query.Term{Field: "other", Value: "hidden"},
		query.Term{Field: "metadata.secret_key", Value: "hush"},
		query.Term{Field: "metadata", Value: "hush"},
		query.Exists{Field: "metadata.secret_key"},
		query.Nested{Path: "networks", Query: query.Term{Field: "networks.vlan", Value: json.Number("77")}},
		query.Term{Field: "hypervisor", Value: "HV-MINE", CaseInsensitive: true},
		query.Wildcard{Field: "hypervisor", Value: "*"},
	} {
		if res := h.search(t, request(n, tenant("a"))); res.Total != 0 {
			t.Errorf("a tenant found %q by %#v", ids(res), n)
		}
		if res := h.search(t, request(n, operator())); res.Total == 0 {
			t.Errorf("an operator found nothing by %#v", n)
		}
	}
	hit, err := h.Search.Get(t.Context(), resource.Ref{Type: Server, ID: "mine"}, *tenant("a"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"mine","metadata":{"open":"yes"},"name":"alpha","networks":[{"name":"n"}],"other":{"zone":"z"},"size":5}`
	if string(hit.Source) != want {
		t.Errorf("a tenant was shown %s, want %s", hit.Source, want)
	}
	sorted := func(field string) error {
		req := request(query.MatchAll{}, tenant("a"))
		req.Sort = []query.Sort{{Field: field}}
		_, err := h.Search.Search(t.Context(), req)
		return err
	}
	hidden, none := sorted("hypervisor"), sorted("no_such_one")
	if hidden == nil || none == nil || strings.ReplaceAll(hidden.Error(), "hypervisor", "no_such_one") != none.Error() {
		t.Errorf("sorting by a hidden field says %v, by none %v", hidden, none)
	}
	if _, ok := errors.AsType[*query.Error](none); !ok {
		t.Errorf("sorting by no field = %v, want a query.Error", none)
	}
	req := request(query.Term{Field: "name", Value: "alpha"}, operator())
	req.Sort = []query.Sort{{Field: "hypervisor"}}
	if got, want := ids(h.search(t, req)), "mine theirs shared nobodys"; got != want {
		t.Errorf("an operator's order by a hidden field is %q, want %q", got, want)
	}
	req = request(query.MatchAll{}, tenant("a"))
	req.Sort = []query.Sort{{Field: "other.host_ip"}}
	for _, hit := range h.search(t, req).Hits {
		if string(hit.Sort[0]) != "null" {
			t.Errorf("a tenant was shown the sort value %s", hit.Sort[0])
		}
	}
}
