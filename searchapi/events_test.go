package searchapi_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/changelog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/sqlite"
	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/searchapi"
	"github.com/fresnel-search/fresnel/searchapi/feed"
)

// feeds is a server with feeds of projects a and b, each with one change, which hubs
// may see as the configuration says.
type feeds struct {
	*searchapi.Server
	log bytes.Buffer
	reg *prometheus.Registry
}

func newFeeds(t *testing.T, c feed.Config) *feeds {
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
	project := func(e *changelog.Entry, a changelog.Audience) (change.Change, bool) {
		return changelog.Project(e, a, types.Type(e.Ref.Type), func(r resource.Ref) string { return "/v1/resources/" + r.Type + "/" + r.ID })
	}
	log := &memoryLog{}
	for _, p := range []string{"a", "b"} {
		log.say(&changelog.Entry{
			ID: "change" + p, Ref: resource.Ref{Type: "OS::Nova::Server", ID: "server" + p}, Action: change.Created, Lineage: "l", Revision: 1,
			TenantRevision: 1, TenantVisible: true, Time: time.Unix(1_800_000_000, 0).UTC(), Readers: []resource.Principal{resource.Project(p)}, Owner: p,
			Fields: map[string]json.RawMessage{"name": json.RawMessage(`"marker` + p + ` <&> \u0007"`), hiddenField: json.RawMessage(`"secrethost"`)},
		})
	}
	log.record(t, store, project)
	f := &feeds{reg: prometheus.NewRegistry()}
	f.Server = newServer(t, nil, func(cfg *searchapi.Config, d *searchapi.Deps) {
		cfg.PublicEndpoint = "https://search.example.net"
		d.Feeds = feed.New(c, cfg.PublicEndpoint, store, project)
		d.Log, d.Registerer = slog.New(slog.NewTextHandler(&f.log, &slog.HandlerOptions{Level: slog.LevelDebug})), f.reg
	})
	return f
}

func (f *feeds) call(t *testing.T, method, path, token string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	if token != "" {
		req.Header.Set("X-Auth-Token", token)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	f.Handler().ServeHTTP(w, req)
	return w
}

// read is a feed as a reader understands it.
type read struct {
	ID    string `xml:"id"`
	Links []struct {
		Rel  string `xml:"rel,attr"`
		Href string `xml:"href,attr"`
	} `xml:"link"`
	Entries []struct {
		ID      string `xml:"id"`
		Content string `xml:"content"`
		Link    struct {
			Href string `xml:"href,attr"`
		} `xml:"link"`
	} `xml:"entry"`
}

func readFeed(t *testing.T, w *httptest.ResponseRecorder) (r read) {
	t.Helper()
	if got := w.Header().Get("Content-Type"); w.Code != http.StatusOK || !strings.HasPrefix(got, "application/atom+xml") {
		t.Fatalf("status %d, %s: %s", w.Code, got, w.Body)
	}
	if err := xml.Unmarshal(w.Body.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// link is the first link of the feed with that relation.
func (r read) link(rel string) string {
	for _, l := range r.Links {
		if l.Rel == rel {
			return l.Href
		}
	}
	return ""
}

func TestTenantReadsItsOwnFeedOnly(t *testing.T) {
	t.Parallel()
	f := newFeeds(t, feed.DefaultConfig())
	w := f.call(t, "GET", "/v1/tenants/a/events", "ann")
	got := readFeed(t, w)
	if got.link("self") != "https://search.example.net/v1/tenants/a/events" || got.link("hub") != "" || len(got.Entries) != 1 {
		t.Errorf("feed = %+v", got)
	}
	if want := `<https://search.example.net/v1/tenants/a/events>; rel="self"`; w.Header().Get("Link") != want {
		t.Errorf("Link: %s", w.Header().Get("Link"))
	}
	body, err := base64.StdEncoding.DecodeString(got.Entries[0].Content)
	var c change.Change
	if err != nil || json.Unmarshal(body, &c) != nil || c.ID != "changea" || !strings.Contains(string(c.Document), "markera <&>") {
		t.Errorf("content = %s, %v", body, err)
	}
	if strings.Contains(string(body), "secrethost") || strings.Contains(w.Body.String(), "markerb") {
		t.Error("a tenant sees what is not for it")
	}
	for _, c := range []struct {
		method, path, token string
		want                int
	}{
		{"GET", "/v1/tenants/b/events", "ann", 404},
		{"GET", "/v1/tenants/nobody/events", "ann", 404},
		{"GET", "/v1/tenants/a/events", "", 401},
		{"GET", "/v1/tenants/a/events", "wrong", 401},
		{"GET", "/v1/tenants/b/events", "root", 200},
		{"GET", "/v1.0/tenants/a/events", "ann", 200},
		{"HEAD", "/v1/tenants/a/events", "ann", 200},
		{"PUT", "/v1/tenants/a/events", "ann", 405},
		{"GET", "/v1/tenants/a/events/some-token", "ann", 404},
	} {
		if got := f.call(t, c.method, c.path, c.token).Code; got != c.want {
			t.Errorf("%s %s as %q: %d, want %d", c.method, c.path, c.token, got, c.want)
		}
	}
	etag := w.Header().Get("ETag")
	if again := f.call(t, "GET", "/v1/tenants/a/events", "ann", "If-None-Match", `"x", W/`+etag); again.Code != 304 || again.Body.Len() > 0 || etag == "" {
		t.Errorf("If-None-Match: %s is answered %d", etag, again.Code)
	}
}

func TestHubReadsOnlyWhatIsOpenToHubs(t *testing.T) {
	t.Parallel()
	f := newFeeds(t, feed.Config{
		Hubs:     []string{"https://one.example.net/", "https://two.example.net/hub"},
		HubFeeds: feed.HubFeeds{Default: feed.Thin, Projects: map[string]feed.View{"b": feed.Full, "closed": feed.None}},
	})
	paths := map[string]string{}
	for _, p := range []string{"a", "b"} {
		w := f.call(t, "GET", "/v1/tenants/"+p+"/events", "root")
		own := readFeed(t, w)
		topic := own.link("self")
		links := fmt.Sprintf(`<https://one.example.net/>; rel="hub", <https://two.example.net/hub>; rel="hub", <%s>; rel="self"`, topic)
		if w.Header().Get("Link") != links || own.link("hub") != "https://one.example.net/" || own.Entries[0].Content == "" {
			t.Errorf("the tenant's own feed: Link: %s; %+v", w.Header().Get("Link"), own)
		}
		paths[p] = strings.TrimPrefix(topic, "https://search.example.net")
		w = f.call(t, "GET", paths[p], "")
		hubs := readFeed(t, w)
		if w.Header().Get("Link") != links || hubs.link("self") != topic || len(hubs.Entries) != 1 || (hubs.Entries[0].Content != "") != (p == "b") ||
			hubs.Entries[0].Link.Href != "https://search.example.net/v1/resources/OS::Nova::Server/server"+p {
			t.Errorf("the feed of %s as hubs see it: %+v", p, hubs)
		}
		if strings.Contains(w.Body.String(), "marker") {
			t.Error("names are in a feed for hubs")
		}
	}
	for _, path := range []string{
		strings.Replace(paths["a"], "/a/", "/b/", 1), paths["a"] + "x", paths["a"][:len(paths["a"])-1], "/v1/tenants/closed/events/x",
	} {
		if got := f.call(t, "GET", path, "").Code; got != 404 {
			t.Errorf("a wrong URL is answered %d", got)
		}
	}
	token := paths["a"][strings.LastIndexByte(paths["a"], '/')+1:]
	list := f.call(t, "GET", "/v1/admin/feeds", "root")
	if list.Code != 200 || !strings.Contains(list.Body.String(), `{"project":"a","view":"thin"`) || strings.Contains(list.Body.String(), token) {
		t.Errorf("list: %d %s", list.Code, list.Body)
	}
	if got := f.call(t, "DELETE", "/v1/admin/feeds/a", "ann").Code; got != 403 {
		t.Errorf("a tenant revokes: %d", got)
	}
	if got := f.call(t, "DELETE", "/v1/admin/feeds/a", "root").Code; got != 200 {
		t.Errorf("revoke: %d", got)
	}
	gone, never := f.call(t, "GET", paths["a"], ""), f.call(t, "GET", "/v1/tenants/a/events/never", "")
	if diff := cmp.Diff(problemText(never), problemText(gone)); gone.Code != 404 || diff != "" {
		t.Errorf("a revoked URL is answered %d, and otherwise than one that never was:\n%s", gone.Code, diff)
	}
	if got := f.call(t, "DELETE", "/v1/admin/feeds/a", "root").Code; got != 404 {
		t.Errorf("revoke again: %d", got)
	}
	families, err := f.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(f.log.String()+fmt.Sprint(families), token) || !strings.Contains(f.log.String(), "/v1/tenants/:id/events/:token") {
		t.Error("the log or a metric holds the token, or the log has no line of the request")
	}
}

// problemText is an answer without the id of its request.
func problemText(w *httptest.ResponseRecorder) string {
	text, _, _ := strings.Cut(w.Body.String(), `"request_id"`)
	return text
}
