package layout_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
)

func server() *catalog.Type {
	return &catalog.Type{
		Name:      "Test::Server",
		AdminOnly: []string{"other.host*", "metadata.secret*"},
		Fields: []catalog.Field{
			{Name: "id", Type: catalog.Keyword},
			{Name: "name", Type: catalog.Text},
			{Name: "flavor.id", Type: catalog.Keyword},
			{Name: "flavor.extra_specs", Type: catalog.Flattened},
			{Name: "size", Type: catalog.Long},
			{Name: "load", Type: catalog.Double},
			{Name: "locked", Type: catalog.Boolean},
			{Name: "created_at", Type: catalog.Date},
			{Name: "address", Type: catalog.IP},
			{Name: "metadata", Type: catalog.Flattened},
			{Name: "networks", Type: catalog.Nested, Fields: []catalog.Field{
				{Name: "name", Type: catalog.Keyword}, {Name: "version", Type: catalog.Long}, {Name: "ip", Type: catalog.IP},
			}},
		},
	}
}

// value makes compact JSON of any shape, of names and scalars that are hard.
func value(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(r *rapid.T) string {
		scalars := []string{
			"null", "true", "false", "0", "-1", "1.50", "1e400", "12345678901234567890", `""`, `"a"`, `"A b"`, `"\u0000"`, `"\""`, `"é]}"`,
			`"2026-05-01T12:00:00Z"`, `"2026-05-01T12:00:00.123456Z"`, `"2026"`, `"10.0.0.1"`, `"fd00::1"`, `"10.0.0.0/8"`, `"5"`, `"` + strings.Repeat("x", 9000) + `"`,
		}
		kind := 0
		if depth > 0 {
			kind = rapid.IntRange(0, 3).Draw(r, "kind")
		}
		switch kind {
		case 2:
			return "[" + strings.Join(rapid.SliceOfN(value(depth-1), 0, 3).Draw(r, "items"), ",") + "]"
		case 3:
			var members []string
			for _, k := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "name", "version", "ip", "secret_x", "a.b", "", "host_y", "é\""}), 0, 3, rapid.ID).Draw(r, "names") {
				b, err := resource.Canonical(k)
				if err != nil {
					r.Fatal(err)
				}
				members = append(members, string(b)+":"+value(depth-1).Draw(r, "member"))
			}
			return "{" + strings.Join(members, ",") + "}"
		default:
			return rapid.SampledFrom(scalars).Draw(r, "scalar")
		}
	})
}

var names = []string{
	"id", "name", "flavor.id", "flavor.extra_specs", "size", "load", "locked", "created_at", "address", "metadata", "networks",
	"other.zone", "other.host_x", "other.a.b", "other.é\"", "other", "other.", "unknown", "unknown.deep", "-", "otherwise",
}

func document() *rapid.Generator[resource.Document] {
	return rapid.Custom(func(r *rapid.T) resource.Document {
		text := rapid.SampledFrom([]string{"", "a", "é/\"<&>\n", "project:p", "*"})
		d := resource.Document{
			Ref: resource.Ref{Type: "Test::Server", ID: "x" + text.Draw(r, "id")}, Lineage: text.Draw(r, "lineage"), Owner: text.Draw(r, "owner"),
			Revision: rapid.Int64Range(0, 9).Draw(r, "revision"), TenantRevision: rapid.Int64Range(0, 9).Draw(r, "tenant revision"),
			Deleted: rapid.Bool().Draw(r, "deleted"), Changed: time.UnixMicro(rapid.Int64Range(-1e15, 2e15).Draw(r, "changed")).UTC(),
			Fields: map[string]json.RawMessage{},
		}
		for _, p := range rapid.SliceOfN(text, 0, 3).Draw(r, "readers") {
			d.Readers = append(d.Readers, resource.Principal(p))
		}
		for _, p := range rapid.SliceOfN(text, 0, 2).Draw(r, "parents") {
			d.Parents = append(d.Parents, resource.Ref{Type: "Test::Parent", ID: "p" + p})
		}
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 8, rapid.ID).Draw(r, "fields") {
			d.Fields[name] = json.RawMessage(value(3).Draw(r, name))
		}
		stamp := resource.Stamp{Time: 5, Version: 1, Message: "m"}
		d.State = resource.State{Named: true, Latest: stamp, Edition: 3, Fields: map[string]resource.Stamp{"name": stamp}}
		if rapid.Bool().Draw(r, "outbox") {
			d.Outbox = []resource.Entry{{
				At: resource.Position{Log: "l", Partition: 3, Offset: 9}, Action: change.Updated, Revision: 3, Time: d.Changed, Changed: []string{"name"},
				Before: map[string]json.RawMessage{"name": json.RawMessage(`"é"`)}, Cause: change.Cause{Kind: change.ByNotification, Timestamp: d.Changed},
			}}
		}
		return d
	})
}

func TestDecodeReturnsWhatEncodeWroteByteForByte(t *testing.T) {
	t.Parallel()
	l := layout.Of(server())
	rapid.Check(t, func(r *rapid.T) {
		d := document().Draw(r, "document")
		written := time.UnixMilli(rapid.Int64Range(0, 2e12).Draw(r, "written")).UTC()
		b, err := l.Encode([]byte("before"), &d, written)
		if err != nil {
			r.Fatal(err)
		}
		b = b[len("before"):]
		if !json.Valid(b) || strings.ContainsRune(string(b), '\n') {
			r.Fatalf("Encode made no single line of JSON: %s", b)
		}
		got, err := layout.Decode(b)
		if err != nil {
			r.Fatalf("Decode(%s): %v", b, err)
		}
		if diff := cmp.Diff(layout.Stored{Document: d, Written: written}, got, cmpopts.EquateEmpty()); diff != "" {
			r.Fatalf("Decode of %s (-want +got):\n%s", b, diff)
		}
	})
}

func TestNothingThatAFieldCannotHoldIsIndexed(t *testing.T) {
	t.Parallel()
	l := layout.Of(server())
	for _, c := range []struct{ name, value, indexed string }{
		{"size", `5`, `5`},
		{"size", `12345678901234567890`, ``},
		{"size", `"7"`, `[7]`},
		{"size", `1.9`, `[1]`},
		{"size", `{"a":1}`, ``},
		{"load", `1e400`, ``},
		{"load", `1.50`, `1.50`},
		{"locked", `"true"`, `[true]`},
		{"locked", `1`, ``},
		{"created_at", `"2026-05-01T12:00:00.123456Z"`, `"2026-05-01T12:00:00.123456Z"`},
		{"created_at", `"2026-05-01 12:00:00"`, `["2026-05-01T12:00:00Z"]`},
		{"created_at", `"yesterday"`, ``},
		{"address", `["10.0.0.1","nonsense"]`, `["10.0.0.1"]`},
		{"name", `["a",["b",{"c":1}],null]`, `["a","b"]`},
		{"flavor.id", `7`, `["7"]`},
		{"networks", `[{"name":"n","version":4}]`, `[{"name":"n","version":4}]`},
		{"networks", `[{"name":"n","vlan":1},7,{"version":"x"}]`, `[{"name":["n"]},{}]`},
		{"unknown", `1`, ``},
	} {
		d := resource.Document{Ref: resource.Ref{Type: "Test::Server", ID: "a"}, Fields: map[string]json.RawMessage{c.name: json.RawMessage(c.value)}}
		b, err := l.Encode(nil, &d, time.UnixMilli(0))
		if err != nil {
			t.Fatal(err)
		}
		var source struct {
			Fields map[string]json.RawMessage `json:"fields"`
		}
		if err := json.Unmarshal(b, &source); err != nil {
			t.Fatal(err)
		}
		if got := string(source.Fields[c.name]); got != c.indexed {
			t.Errorf("of %s in %s is indexed %q, want %q", c.value, c.name, got, c.indexed)
		}
	}
}

func TestAValueThatIsNoJSONIsRejectedWithoutQuotingIt(t *testing.T) {
	t.Parallel()
	for _, v := range []string{`{"hunter2":`, "1\n", `{"hunter2": 1}`, ``} {
		d := resource.Document{Ref: resource.Ref{Type: "Test::Server", ID: "a"}, Fields: map[string]json.RawMessage{"name": json.RawMessage(v)}}
		_, err := layout.Of(server()).Encode(nil, &d, time.Time{})
		if !errors.Is(err, resource.ErrRejected) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Encode with %q = %v", v, err)
		}
	}
}

func TestHiddenMembersAreNotAmongTheLeavesThatAllMaySearch(t *testing.T) {
	t.Parallel()
	d := resource.Document{Ref: resource.Ref{Type: "Test::Server", ID: "a"}, Fields: map[string]json.RawMessage{
		"metadata":     json.RawMessage(`{"open":"o1","secret_x":{"deep":"s1"},"list":[{"y":"o2"}]}`),
		"other.host_x": json.RawMessage(`"s2"`),
		"other.zone":   json.RawMessage(`{"a":"o3"}`),
	}}
	b, err := layout.Of(server()).Encode(nil, &d, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	var source struct {
		Leaves []string `json:"leaves"`
		Veiled []string `json:"veiled_leaves"`
	}
	if err := json.Unmarshal(b, &source); err != nil {
		t.Fatal(err)
	}
	holds := func(list []string, value string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return strings.HasSuffix(s, value) })
	}
	for _, open := range []string{"o1", "o2", "o3"} {
		if !holds(source.Leaves, open) || holds(source.Veiled, open) {
			t.Errorf("%s is not where all may search", open)
		}
	}
	for _, secret := range []string{"s1", "s2"} {
		if holds(source.Leaves, secret) || !holds(source.Veiled, secret) {
			t.Errorf("%s is not where operators only may search", secret)
		}
	}
}

func TestEncodeWritesTheLeavesThatLeavesOfTells(t *testing.T) {
	t.Parallel()
	whole := server()
	whole.AdminOnly = []string{"other.*", "metadata", "flavor.*_specs.a"}
	for _, typ := range []*catalog.Type{server(), whole, {Name: "Test::Server"}} {
		l := layout.Of(typ)
		rapid.Check(t, func(r *rapid.T) {
			d := document().Draw(r, "document")
			seen, veiled, err := l.LeavesOf(d.Fields)
			if err != nil {
				r.Fatal(err)
			}
			b, err := l.Encode(nil, &d, time.Time{})
			if err != nil {
				r.Fatal(err)
			}
			var source struct {
				Leaves []string `json:"leaves"`
				Veiled []string `json:"veiled_leaves"`
			}
			if err := json.Unmarshal(b, &source); err != nil {
				r.Fatal(err)
			}
			distinct := func(s []string) []string { return slices.Compact(slices.Sorted(slices.Values(s))) }
			for _, pair := range [][2][]string{{seen, source.Leaves}, {veiled, source.Veiled}} {
				if diff := cmp.Diff(distinct(pair[0]), distinct(pair[1]), cmpopts.EquateEmpty()); diff != "" {
					r.Fatalf("leaves of %v (-want +got):\n%s", d.Fields, diff)
				}
			}
		})
	}
}

func TestALayoutSurvivesItsIndex(t *testing.T) {
	t.Parallel()
	l := layout.Of(server())
	var mapping struct {
		Meta map[string]json.RawMessage `json:"_meta"`
	}
	if err := json.Unmarshal(l.Mapping(), &mapping); err != nil {
		t.Fatal(err)
	}
	got, err := layout.Parse(mapping.Meta[layout.MetaKey])
	if err != nil {
		t.Fatal(err)
	}
	if diff := layout.Diff(got, l); len(diff) > 0 {
		t.Errorf("a layout differs from itself: %v", diff)
	}
	for _, meta := range []string{`null`, `{}`, `[]`, fmt.Sprintf(`{"type":"T","edition":%d}`, layout.Edition+1)} {
		if _, err := layout.Parse(json.RawMessage(meta)); err == nil {
			t.Errorf("Parse(%s) takes a layout that is not ours", meta)
		}
	}
}

func TestDiffSaysInWordsWhatAReindexChanges(t *testing.T) {
	t.Parallel()
	have, now := server(), server()
	now.AdminOnly = []string{"metadata.secret*", "metadata.key"}
	now.Fields = append(now.Fields[1:], catalog.Field{Name: "zone", Type: catalog.Keyword})
	now.Fields[3].Type = catalog.Double // size
	i := slices.IndexFunc(now.Fields, func(f catalog.Field) bool { return f.Name == "networks" })
	now.Fields[i].Fields = now.Fields[i].Fields[:2]
	want := []string{
		"field id: goes",
		"field metadata: other members of it are hidden (metadata.key, metadata.secret*, before metadata.secret*)",
		"field networks.ip: goes",
		"field other: other members of it are hidden (none, before other.host*)",
		"field size: long becomes double",
		"field zone: new, a keyword",
	}
	if diff := cmp.Diff(want, layout.Diff(layout.Of(have), layout.Of(now))); diff != "" {
		t.Errorf("Diff (-want +got):\n%s", diff)
	}
}

func FuzzDecode(f *testing.F) {
	l := layout.Of(server())
	d := resource.Document{
		Ref: resource.Ref{Type: "Test::Server", ID: "a"}, Parents: []resource.Ref{{Type: "P", ID: "p"}},
		Fields: map[string]json.RawMessage{"name": json.RawMessage(`"n"`), "other.x": json.RawMessage(`[1]`), "size": json.RawMessage(`"7"`)},
	}
	b, err := l.Encode(nil, &d, time.Time{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"system":{"state":"AQ=="}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := layout.Decode(b)
		if err != nil {
			return
		}
		again, err := l.Encode(nil, &got.Document, got.Written)
		if err != nil {
			return // not every value that can be read is compact
		}
		if _, err := layout.Decode(again); err != nil {
			t.Fatalf("Decode(Encode(Decode(%s))): %v", b, err)
		}
	})
}

// A glob that hides a flattened field whole, or what it is in, concerns its members.
func TestConcernOfGlobsWithoutWildcards(t *testing.T) {
	for glob, want := range map[string]bool{
		"meta": true, "meta.*": true, "me*": true, "meta.secret": true, "metadata": false, "met": false, "other.meta": false,
	} {
		if got := len(layout.Concern([]string{glob}, "meta")) > 0; got != want {
			t.Errorf("%s concerns meta: %t", glob, got)
		}
	}
}
