package changelog_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/changelog"
	"github.com/fresnel-search/fresnel/indexer/fold"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
)

var self = resource.Ref{Type: "T", ID: "1"}

func raw(s string) json.RawMessage { return json.RawMessage(s) }

func href(r resource.Ref) string { return "/v1/resources/" + r.Key() }

func testType() *catalog.Type {
	t := &catalog.Type{Name: "T", AdminOnly: []string{"secret", "data.secret"}}
	t.Rules = fold.Rules{
		Type: "T", Owner: "owner", Hidden: t.Hidden,
		Readers: []fold.Reader{
			{As: "project", Field: "owner"},
			{As: "project", Field: "shared_with"},
			{As: "everyone", When: map[string][]string{"public": {"true"}}},
		},
	}
	return t
}

// The word SECRET stands in every value that tenants must never see.
var values = map[string][]string{
	"name":        {`"a"`, `"b"`, `null`},
	"secret":      {`"SECRET1"`, `"SECRET2"`, `null`},
	"data":        {`{"a":1,"secret":"SECRET1"}`, `{"a":1,"secret":"SECRET2"}`, `{"a":2}`, `{"secret":"SECRET3"}`},
	"owner":       {`"p1"`, `"p2"`},
	"shared_with": {`["p1"]`, `["p2","p3"]`, `[]`},
	"public":      {`true`, `false`},
}

func genMutation(t *rapid.T) *resource.Mutation {
	m := &resource.Mutation{
		Ref:    self,
		Kind:   rapid.SampledFrom([]resource.Kind{resource.Full, resource.Partial, resource.Partial, resource.Delete}).Draw(t, "kind"),
		Stamp:  resource.Stamp{Time: rapid.Int64Range(1, 20).Draw(t, "time"), Message: "m"},
		Fields: map[string]json.RawMessage{},
		Cause: change.Cause{
			Kind: change.ByNotification, PublisherID: "compute.SECRET-host",
			InitiatorUser: "SECRET-user", InitiatorProject: "p9",
		},
	}
	for _, name := range []string{"name", "secret", "data", "owner", "shared_with", "public"} {
		if i := rapid.IntRange(-3, len(values[name])-1).Draw(t, name); i >= 0 {
			m.Fields[name] = raw(values[name][i])
		}
	}
	m.Revives = m.Kind != resource.Delete && rapid.Bool().Draw(t, "revives")
	return m
}

// client believes what it is sent, and complains.
type client struct {
	who      changelog.Audience
	sight    bool
	revision int64
	document string
}

func (c *client) take(t *rapid.T, ch change.Change) {
	switch ch.Action {
	case change.Created:
		if c.sight {
			t.Fatalf("created %+v of what is in sight", ch)
		}
		if ch.Before != nil || ch.Changed != nil {
			t.Fatalf("created %+v tells what was before", ch)
		}
		if ch.Revision < c.revision {
			t.Fatalf("created at revision %d after %d", ch.Revision, c.revision)
		}
		c.sight = true
	case change.Updated:
		if !c.sight || ch.Revision != c.revision+1 {
			t.Fatalf("updated to revision %d from %d, in sight: %v", ch.Revision, c.revision, c.sight)
		}
		if len(ch.Changed) == 0 {
			t.Fatalf("updated %+v, but nothing changed", ch)
		}
	case change.Deleted:
		if ch.Document == nil { // sight is lost
			want := change.Change{
				ID: ch.ID, Action: change.Deleted, Resource: ch.Resource, Revision: c.revision,
				Lineage: ch.Lineage, Time: ch.Time, Cause: change.Cause{Kind: change.ByNotification},
			}
			if d := cmp.Diff(want, ch); !c.sight || d != "" {
				t.Fatalf("who lost sight is told more than that (-want +got), in sight %v:\n%s", c.sight, d)
			}
		} else if ch.Revision != c.revision+1 || !c.sight && ch.Revision != 1 {
			t.Fatalf("deleted at revision %d after %d, in sight: %v", ch.Revision, c.revision, c.sight)
		}
		c.sight = false
	default:
		t.Fatalf("action %q", ch.Action)
	}
	c.revision, c.document = ch.Revision, string(ch.Document)
	c.checkSecrets(t, ch)
	validate(t, ch)
}

func (c *client) checkSecrets(t *rapid.T, ch change.Change) {
	b, err := json.Marshal(ch)
	if err != nil {
		t.Fatal(err)
	}
	words := []string{`"SECRET`, "secret", "readers", "SECRET-host", "p9"}
	if c.who.All { // the cause is told as it was
		words = []string{`"SECRET1`, `"SECRET2`, `"SECRET3`, "secret", "readers"}
	}
	for _, word := range words {
		if bytes.Contains(b, []byte(word)) {
			t.Fatalf("a tenant is shown %q: %s", word, b)
		}
	}
}

func shownTo(d *resource.Document, typ *catalog.Type) string {
	fields := map[string]json.RawMessage{}
	for name, v := range d.Fields {
		if v, ok := resource.Strip(name, v, typ.Hidden); ok {
			fields[name] = v
		}
	}
	return string(resource.Render(fields))
}

func TestTenantsSeeGaplessRevisionsOfWhatIsTheirs(t *testing.T) {
	t.Parallel()
	typ := testType()
	rapid.Check(t, func(t *rapid.T) {
		var who changelog.Audience
		switch rapid.IntRange(0, 4).Draw(t, "audience") {
		case 0:
			who.All = true
		default:
			who.Principals = []resource.Principal{resource.Project(rapid.SampledFrom([]string{"p1", "p2", "p3"}).Draw(t, "project"))}
		}
		c := &client{who: who}
		d := &resource.Document{Ref: self, Lineage: "life"}
		for i, m := range rapid.SliceOfN(rapid.Custom(genMutation), 1, 14).Draw(t, "mutations") {
			outcome := fold.Apply(&typ.Rules, d, m, resource.Position{Offset: int64(i)})
			if outcome == fold.Applied {
				e := changelog.FromDocument(d, &d.Outbox[len(d.Outbox)-1])
				if ch, ok := changelog.Project(coded(t, &e), who, typ, href); ok {
					c.take(t, ch)
				}
			}
			sees := who.All || slices.Contains(d.Readers, resource.Everyone) || slices.ContainsFunc(who.Principals, func(p resource.Principal) bool { return slices.Contains(d.Readers, p) })
			if want := sees && !d.Ghost() && !d.Deleted; want != c.sight {
				t.Fatalf("after mutation %d the client sees it: %v, want %v", i, c.sight, want)
			}
			if c.sight && c.document != shownTo(d, typ) {
				t.Fatalf("after mutation %d the client has %s, want %s", i, c.document, shownTo(d, typ))
			}
		}
	})
}

// coded takes an entry through its codec.
func coded(t *rapid.T, e *changelog.Entry) *changelog.Entry {
	b := changelog.Encode(e)
	got, err := changelog.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if again := changelog.Encode(got); !bytes.Equal(b, again) {
		t.Fatalf("encoding again gives\n%s, want\n%s", again, b)
	}
	return got
}

func TestOperatorsSeeEveryRevisionAndTheReaders(t *testing.T) {
	t.Parallel()
	typ := testType()
	rapid.Check(t, func(t *rapid.T) {
		d := &resource.Document{Ref: self, Lineage: "life"}
		fields := map[string]json.RawMessage{}
		for i, m := range rapid.SliceOfN(rapid.Custom(genMutation), 1, 14).Draw(t, "mutations") {
			if fold.Apply(&typ.Rules, d, m, resource.Position{Offset: int64(i)}) != fold.Applied {
				continue
			}
			e := changelog.FromDocument(d, &d.Outbox[len(d.Outbox)-1])
			ch, ok := changelog.Project(&e, changelog.Audience{All: true, Hidden: true}, typ, href)
			if !ok || ch.Revision != d.Revision || ch.Action != e.Action || ch.Cause != m.Cause {
				t.Fatalf("operators are shown %v %+v, want revision %d, %s", ok, ch, d.Revision, e.Action)
			}
			var now map[string]json.RawMessage
			if err := json.Unmarshal(ch.Document, &now); err != nil {
				t.Fatal(err)
			}
			if ch.Action == change.Updated {
				checkDifferences(t, fields, now, ch)
			}
			fields = now
		}
	})
}

func checkDifferences(t *rapid.T, was, now map[string]json.RawMessage, ch change.Change) {
	var changed []string
	before := map[string]json.RawMessage{}
	for _, name := range []string{"data", "name", "owner", "public", "readers", "secret", "shared_with"} {
		if !bytes.Equal(was[name], now[name]) {
			changed = append(changed, name)
			if was[name] != nil {
				before[name] = was[name]
			}
		}
	}
	if d := cmp.Diff(changed, ch.Changed); d != "" {
		t.Fatalf("changed (-want +got):\n%s", d)
	}
	if len(before) == 0 {
		before = nil
	}
	if d := cmp.Diff(before, ch.Before); d != "" {
		t.Fatalf("before (-want +got):\n%s", d)
	}
}

func sampleEntry() *changelog.Entry {
	return &changelog.Entry{
		ID: "c1", Ref: self, Action: change.Updated, Lineage: "life", Revision: 3, TenantRevision: 2, TenantVisible: true,
		Changed:       []string{"data", "name", "secret"},
		Before:        map[string]json.RawMessage{"data": raw(`{"a":1,"secret":1}`), "name": raw(`"a"`), "secret": raw(`1`)},
		Fields:        map[string]json.RawMessage{"data": raw(`{"a":1,"secret":2}`), "name": raw(`"b"`), "secret": raw(`2`), "flavor.id": raw(`"m1"`)},
		Owner:         "p1",
		Readers:       []resource.Principal{"project:p1"},
		ReadersBefore: []resource.Principal{"project:p1"},
		Cause:         change.Cause{Kind: change.ByNotification, PublisherID: "compute.host1", InitiatorUser: "u1", InitiatorProject: "p1"},
	}
}

func TestHiddenMembersAreNoChange(t *testing.T) {
	t.Parallel()
	ch, ok := changelog.Project(sampleEntry(), changelog.Audience{Principals: []resource.Principal{"project:p1"}}, testType(), href)
	want := change.Change{
		ID: "c1", Action: change.Updated, Resource: change.Resource{Type: "T", ID: "1", Href: "/v1/resources/T/1"},
		Revision: 2, Lineage: "life", Project: "p1", Changed: []string{"name"}, Before: map[string]json.RawMessage{"name": raw(`"a"`)},
		Document: raw(`{"data":{"a":1},"flavor":{"id":"m1"},"name":"b"}`),
		Cause:    change.Cause{Kind: change.ByNotification, InitiatorUser: "u1", InitiatorProject: "p1"},
	}
	if d := cmp.Diff(want, ch); !ok || d != "" {
		t.Errorf("shown %v (-want +got):\n%s", ok, d)
	}
}

func TestTypesForAdminsAreShownToNoTenant(t *testing.T) {
	t.Parallel()
	typ := testType()
	typ.AdminType = true
	tenant := changelog.Audience{Principals: []resource.Principal{"project:p1"}}
	if ch, ok := changelog.Project(sampleEntry(), tenant, typ, href); ok {
		t.Errorf("a tenant is shown %+v of a type for admins", ch)
	}
	if ch, ok := changelog.Project(sampleEntry(), tenant, nil, href); ok {
		t.Errorf("a tenant is shown %+v of a type that the catalogue has lost", ch)
	}
	if _, ok := changelog.Project(sampleEntry(), changelog.Audience{All: true, Hidden: true}, nil, href); !ok {
		t.Error("operators are not shown a change of a type that the catalogue has lost")
	}
}

func TestEventsGoToReaders(t *testing.T) {
	t.Parallel()
	typ := testType()
	d := &resource.Document{Ref: self, Lineage: "life", Revision: 4, TenantRevision: 3, Owner: "p1", Readers: []resource.Principal{"project:p1"}}
	m := &resource.Mutation{
		Ref: self, Kind: resource.Event, Stamp: resource.Stamp{Time: 5}, Cause: change.Cause{Kind: change.ByNotification, MessageID: "m1"},
		Fields: map[string]json.RawMessage{"audit_period": raw(`1`), "secret": raw(`2`)},
	}
	e := changelog.FromEvent(m, d)
	ch, ok := changelog.Project(&e, changelog.Audience{Principals: []resource.Principal{"project:p1"}}, typ, href)
	if !ok || ch.Action != change.Event || ch.Revision != 3 || string(ch.Document) != `{"audit_period":1}` || ch.ID != changelog.EventID("m1", self) {
		t.Errorf("the reader is shown %v %+v", ok, ch)
	}
	if ch, ok := changelog.Project(&e, changelog.Audience{Principals: []resource.Principal{"project:p2"}}, typ, href); ok {
		t.Errorf("somebody else is shown %+v", ch)
	}
	gone := *d
	gone.Deleted = true
	e = changelog.FromEvent(m, &gone)
	if ch, ok := changelog.Project(&e, changelog.Audience{Principals: []resource.Principal{"project:p1"}}, typ, href); ok {
		t.Errorf("of a deleted resource the tenant is shown %+v", ch)
	}
	e = changelog.FromEvent(m, &resource.Document{Ref: self})
	if ch, ok := changelog.Project(&e, changelog.Audience{All: true, Hidden: true}, typ, href); !ok || ch.Revision != 0 || string(ch.Document) != `{"audit_period":1,"secret":2}` {
		t.Errorf("of a resource never shown, operators are shown %v %+v", ok, ch)
	}
}

func TestTruncatedChangesNameWhatChanged(t *testing.T) {
	t.Parallel()
	e := sampleEntry()
	e.Fields["name"] = raw(`"` + strings.Repeat("x", changelog.MaxEntry) + `"`)
	short := changelog.Truncate(e)
	if len(changelog.Encode(short)) > 2000 {
		t.Errorf("a truncated entry takes %d bytes", len(changelog.Encode(short)))
	}
	ch, ok := changelog.Project(short, changelog.Audience{Principals: []resource.Principal{"project:p1"}}, testType(), href)
	if !ok || !ch.Truncated || ch.Document != nil || ch.Before != nil || !slices.Contains(ch.Changed, "name") || slices.Contains(ch.Changed, "secret") {
		t.Errorf("shown %v %+v", ok, ch)
	}
	if e.Truncated || e.Fields == nil {
		t.Error("Truncate wrote into its argument")
	}
}
