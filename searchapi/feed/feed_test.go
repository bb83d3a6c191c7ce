package feed_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/changelog"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/sqlite"
	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/searchapi/feed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	server = "OS::Nova::Server"
	hidden = "OS-EXT-SRV-ATTR:host"
)

// world is a change log of one partition in memory, a real store, and the feeds.
type world struct {
	t       *testing.T
	store   *sqlite.Store
	types   *catalog.Catalog
	feeds   *feed.Feeds
	config  feed.Config
	records []stream.Record
	first   int64
	changed [][]resource.Principal
}

func newWorld(t *testing.T, c feed.Config) *world {
	t.Helper()
	types, err := catalog.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	conf := sqlite.DefaultConfig()
	conf.Path = filepath.Join(t.TempDir(), "index.db")
	store, err := sqlite.Open(conf, types, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, store: store, types: types, config: c}
	w.feeds = feed.New(c, "https://search.example.net", store, w.project)
	return w
}

func (w *world) project(e *changelog.Entry, a changelog.Audience) (change.Change, bool) {
	return changelog.Project(e, a, w.types.Type(e.Ref.Type), func(r resource.Ref) string { return "/v1/resources/" + r.Type + "/" + r.ID })
}

// Partitions implements stream.Log.
func (w *world) Partitions(context.Context, string) (int, error) { return 1, nil }

// Bounds implements stream.Log.
func (w *world) Bounds(context.Context, stream.Partition) (first, end int64, err error) {
	return w.first, w.first + int64(len(w.records)), nil
}

var errEnd = errors.New("the end of the log")

// Read implements stream.Log; the end of the log is an error.
func (w *world) Read(_ context.Context, p stream.Partition, offset int64, fn func(stream.Batch) error) error {
	for batch := range slices.Chunk(w.records[offset-w.first:], 100) {
		if err := fn(stream.Batch{Partition: p, Records: batch}); err != nil {
			return err
		}
	}
	return errEnd
}

// say appends an entry to the log.
func (w *world) say(e changelog.Entry) {
	n := int64(len(w.records))
	w.records = append(w.records, stream.Record{
		Topic: "fresnel.changes", Offset: w.first + n, Time: time.UnixMilli(1_800_000_000_000 + 10*n), Value: changelog.Encode(&e),
	})
}

// record has a new recorder go to the end of the log.
func (w *world) record() {
	w.t.Helper()
	r := feed.NewRecorder(feed.Deps{Log: w, Topic: "fresnel.changes", Records: w.store, Project: w.project, Changed: func(who []resource.Principal) {
		slices.Sort(who)
		w.changed = append(w.changed, who)
	}})
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	for !strings.Contains(fmt.Sprint(r.Ready()), errEnd.Error()) {
		select {
		case err := <-done:
			w.t.Fatal(err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	cancel()
	if err := <-done; err != nil {
		w.t.Fatal(err)
	}
}

// ids are those of the changes in a project's feed, the newest first, with the action.
func (w *world) ids(project string) []string {
	w.t.Helper()
	entries, err := w.feeds.Newest(w.t.Context(), project)
	if err != nil {
		w.t.Fatal(err)
	}
	out := []string{}
	for _, e := range entries {
		out = append(out, e.Change.ID+" "+string(e.Change.Action))
	}
	return out
}

// created is the creation of a server.
func created(id string, readers ...resource.Principal) changelog.Entry {
	return changelog.Entry{
		ID: id, Ref: resource.Ref{Type: server, ID: "server-" + id}, Action: change.Created, Lineage: "l" + id, Revision: 1, TenantRevision: 1,
		TenantVisible: true, Time: time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC), Readers: readers, Owner: "a",
		Fields: map[string]json.RawMessage{"name": json.RawMessage(`"web"`), hidden: json.RawMessage(`"secrethost"`)},
		Cause:  change.Cause{Kind: change.ByNotification, EventType: "instance.create", Priority: "INFO", PublisherID: "nova:secrethost"},
	}
}

func updated(id string, before, after []resource.Principal) changelog.Entry {
	e := created(id, after...)
	e.Action, e.Revision, e.TenantRevision, e.ReadersBefore = change.Updated, 2, 2, before
	e.Changed, e.Before = []string{"name"}, map[string]json.RawMessage{"name": json.RawMessage(`"old"`)}
	return e
}

func TestFeedShowsWhatItsTenantMaySeeAndNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, feed.DefaultConfig())
	a, b := resource.Project("a"), resource.Project("b")
	w.say(created("1", a))
	w.say(created("2", b))
	w.say(created("3", resource.Everyone))
	w.say(created("4", a, b))
	w.say(created("5", resource.User("u"), resource.Domain("a")))
	w.say(updated("6", []resource.Principal{a, b}, []resource.Principal{a}))
	w.say(updated("7", []resource.Principal{a}, []resource.Principal{resource.Everyone}))
	operators := updated("8", []resource.Principal{a}, []resource.Principal{a})
	operators.TenantVisible = false
	w.say(operators)
	w.say(updated("9", []resource.Principal{resource.Everyone}, []resource.Principal{b}))
	for _, typ := range w.types.Types() {
		if typ.AdminType {
			e := created("admin", a)
			e.Ref.Type = typ.Name
			w.say(e)
		}
	}
	w.record()
	for project, want := range map[string][]string{
		"a": {"9 deleted", "7 updated", "6 updated", "4 created", "3 created", "1 created"},
		"b": {"9 updated", "7 created", "6 deleted", "4 created", "3 created", "2 created"},
		"u": {"9 deleted", "7 created", "3 created"},
		"":  {"9 deleted", "7 created", "3 created"},
		"*": {"9 deleted", "7 created", "3 created"},
	} {
		if diff := cmp.Diff(want, w.ids(project)); diff != "" {
			t.Errorf("feed of %q (-want +got):\n%s", project, diff)
		}
	}
	entries, err := w.feeds.Newest(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := feed.Document{Project: "a", Self: "s", Entries: entries}.Atom()
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprint(entries) + string(doc)
	for _, e := range entries {
		shown += string(e.Change.Document)
	}
	if strings.Contains(shown, "secrethost") {
		t.Error("a tenant's feed shows what is for operators")
	}
	if got := fmt.Sprint(w.changed); !strings.Contains(got, "* project:a project:b") || strings.Contains(got, "user") {
		t.Errorf("changed: %s", got)
	}
}

func TestRecordingTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, feed.DefaultConfig())
	for i := range 60 {
		w.say(created(fmt.Sprintf("c%02d", i), resource.Project("a")))
	}
	w.record()
	first := w.ids("a")
	if len(first) != feed.Newest || first[0] != "c59 created" || first[49] != "c10 created" {
		t.Fatalf("feed = %v", first)
	}
	saved, err := w.store.Save(t.Context(), []record.Record{{Table: "feed_cursors", Key: "0", Version: record.Any}})
	if err != nil || saved[0].Err != nil {
		t.Fatal(err, saved)
	}
	w.record()
	if diff := cmp.Diff(first, w.ids("a")); diff != "" {
		t.Errorf("after a crash (-first +again):\n%s", diff)
	}
	// What an indexer puts into the log again stands where it stood first.
	w.say(created("c58", resource.Project("a")))
	w.say(created("c59", resource.Project("a")))
	w.record()
	if diff := cmp.Diff(first, w.ids("a")); diff != "" {
		t.Errorf("after a repeat in the log (-first +again):\n%s", diff)
	}
	calls := len(w.changed)
	w.record()
	if len(w.changed) != calls {
		t.Error("a recorder that goes on from its cursor has found something to record")
	}
}

func TestReaderKeepsHardlyMoreThanAFeedShows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, feed.DefaultConfig())
	for i := range 2400 {
		w.say(created(fmt.Sprintf("c%04d", i), resource.Project("a"), resource.Project("b")))
		if i%2 == 1 {
			w.record()
		}
	}
	rs, err := w.store.Scan(t.Context(), "feed_entries", "", 10000)
	if err != nil {
		t.Fatal(err)
	}
	if len(rs) < 1000 || len(rs) > 1800 {
		t.Errorf("%d records are kept of 2400, want somewhat more than 1000", len(rs))
	}
	if got := w.ids("b"); len(got) != feed.Newest || got[0] != "c2399 created" || got[49] != "c2350 created" {
		t.Errorf("feed = %v", got)
	}
}

func TestLogThatHasDroppedChangesIsReadOnFromWhereItBegins(t *testing.T) {
	t.Parallel()
	w := newWorld(t, feed.DefaultConfig())
	w.say(created("1", resource.Project("a")))
	w.record()
	w.first, w.records = 100, nil
	w.say(created("2", resource.Project("a")))
	w.records[0].Time = w.records[0].Time.Add(time.Hour)
	w.say(changelog.Entry{ID: "x", Ref: resource.Ref{Type: "no such type", ID: "x"}, Action: change.Created, Readers: []resource.Principal{"project:a"}})
	w.records[1].Value = append(w.records[1].Value, "malformed"...)
	w.record()
	if diff := cmp.Diff([]string{"2 created", "1 created"}, w.ids("a")); diff != "" {
		t.Error(diff)
	}
}

func TestLargeChangeIsKeptWithoutItsContent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, feed.DefaultConfig())
	large := created("1", resource.Project("a"))
	large.Fields["name"] = json.RawMessage(`"` + strings.Repeat("x", 100_000) + `"`)
	w.say(large)
	w.record()
	entries, err := w.feeds.Newest(t.Context(), "a")
	if err != nil || len(entries) != 1 || !entries[0].Change.Truncated || entries[0].Change.Document != nil {
		t.Errorf("Newest() = %+v, %v", entries, err)
	}
}
