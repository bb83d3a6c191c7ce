//go:build real

package publishers_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/test/acceptance"
	"github.com/fresnel-search/fresnel/test/harness"
)

// imageOwner owns the images of the recording of Glance.
const imageOwner = "8bf0bb6eed2c4f7a80560511ac77f96e"

// get reads a URL that needs no log-in.
func get(t *testing.T, url string) (status int, header http.Header, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, body
}

// selfLink is the feed's own URL, by its Link header.
func selfLink(t *testing.T, h http.Header) string {
	t.Helper()
	for part := range strings.SplitSeq(h.Get("Link"), ", ") {
		if url, is := strings.CutSuffix(part, `>; rel="self"`); is {
			return strings.TrimPrefix(url, "<")
		}
	}
	t.Fatalf("Link: %s has no self", h.Get("Link"))
	return ""
}

// newest is the id of a feed's first entry.
func newest(t *testing.T, body []byte) (id string, entries int) {
	t.Helper()
	var f struct {
		Entries []struct {
			ID string `xml:"id"`
		} `xml:"entry"`
	}
	if err := xml.Unmarshal(body, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Entries) == 0 {
		return "", 0
	}
	return f.Entries[0].ID, len(f.Entries)
}

// play has the server hear all that Glance once said.
func play(t *testing.T, s *harness.Server) {
	t.Helper()
	recording := harness.Testdata(t, "notifications/glance.jsonl.gz")
	s.Play(recording)
	acceptance.Settled(t, s, acceptance.Count(t, recording), "")
}

func withHubs(view string, hubs ...string) string {
	list, err := json.Marshal(hubs)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`
searchapi: {listen: SEARCH_ADDR, public_endpoint: "http://SEARCH_ADDR"}
listener: {kafka: {embedded: {listen: KAFKA_ADDR}}}
publishers:
  outbound: {allow: [127.0.0.0/8]}
  hubs: %s
  hub_feeds: {projects: {%s: %s}}
`, list, imageOwner, view)
}

// Real hubs differ in what they want of a ping and of a feed, and in how they sign. What
// they distribute must be the newest, and signed as the subscriber, who is not ours
// either, wants it.
func TestRealSubscribersGetTheNewestThroughEveryHub(t *testing.T) {
	hubs := map[string]string{
		"Flask-WebSub": harness.Need(t, "FRESNEL_TEST_HUB_FLASK"),
		"any":          startHub(t),
		"topic only":   startHub(t, "--ping", "topic"),
		"url only":     startHub(t, "--ping", "url"),
		"strict":       startHub(t, "--need-link", "--alg", "sha512"),
		"sometimes":    startHub(t, "--fail", "2", "--alg", "sha1"),
	}
	var all []string
	for _, hub := range hubs {
		all = append(all, hub)
	}
	s := harness.New(t, withHubs("full", all...)).Start()
	own := s.URL + "/v1/tenants/" + imageOwner + "/events"
	_, header, _ := get(t, own)
	topic := selfLink(t, header)
	subscribers := map[string]*subscriber{}
	for name, hub := range hubs {
		if !strings.Contains(header.Get("Link"), "<"+hub+`>; rel="hub"`) {
			t.Errorf("Link: %s does not name the hub %s", header.Get("Link"), hub)
		}
		subscribers[name] = subscribe(t, hub, topic)
	}
	play(t, s)
	for name, sub := range subscribers {
		s.Eventually("the newest has come through the hub "+name, func() error {
			_, _, body := get(t, own)
			want, n := newest(t, body)
			got, any := sub.last()
			switch {
			case !any || n == 0:
				return errors.New("nothing has come")
			case got.Bozo || got.Topic != topic || got.Links["self"] != topic || len(got.Entries) == 0:
				return fmt.Errorf("what came is %+v", got)
			case got.Entries[0].ID != want || len(got.Entries) != n:
				return fmt.Errorf("%d entries have come, the newest is %s; of %d it is %s", len(got.Entries), got.Entries[0].ID, n, want)
			}
			return nil
		})
		got, _ := sub.last()
		var c change.Change
		if err := json.Unmarshal([]byte(got.Entries[0].Content[0]), &c); err != nil || "urn:fresnel:change:"+c.ID != got.Entries[0].ID || len(c.Document) == 0 {
			t.Errorf("%s: content = %s, %v", name, got.Entries[0].Content, err)
		}
	}
	if out := s.MustRun("feeds", "list"); !strings.Contains(out, imageOwner) || strings.Contains(out, topic[strings.LastIndexByte(topic, '/')+1:]) {
		t.Errorf("feeds list says\n%s", out)
	}
	s.MustRun("feeds", "revoke", imageOwner)
	if status, _, _ := get(t, topic); status != http.StatusNotFound {
		t.Errorf("a revoked URL is answered %d", status)
	}
	if token := topic[strings.LastIndexByte(topic, '/')+1:]; strings.Contains(s.Output(), token) {
		t.Error("the log holds the token of a feed")
	}
}

func TestRealReadersAndTheSchemaTakeTheFeed(t *testing.T) {
	py := harness.Need(t, "FRESNEL_TEST_HUB_PYTHON")
	s := harness.New(t, withHubs("thin", startHub(t))).Start()
	own := s.URL + "/v1/tenants/" + imageOwner + "/events"
	_, header, empty := get(t, own)
	play(t, s)
	var body []byte
	s.Eventually("the feed has entries", func() error {
		_, _, body = get(t, own)
		if _, n := newest(t, body); n == 0 {
			return errors.New("none")
		}
		return nil
	})
	_, _, thin := get(t, selfLink(t, header))
	for name, b := range map[string][]byte{"empty": empty, "full": body, "thin": thin} {
		cmd := exec.CommandContext(t.Context(), py, harness.Testdata(t, "lab/hub/feed.py"), harness.Testdata(t, "publishers/testdata/atom.rnc"))
		cmd.Stdin = bytes.NewReader(b)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, errs.String())
		}
		var got struct {
			Valid   bool       `json:"valid"`
			Errors  string     `json:"errors"`
			Bozo    bool       `json:"bozo"`
			Version string     `json:"version"`
			Links   [][]string `json:"links"`
			Entries []struct {
				ID      string     `json:"id"`
				Link    string     `json:"link"`
				Content [][]string `json:"content"`
			} `json:"entries"`
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatal(err)
		}
		if !got.Valid || got.Bozo || got.Version != "atom10" || len(got.Links) != 2 {
			t.Errorf("%s: %s\n%s", name, out, b)
		}
		for _, e := range got.Entries {
			full := len(e.Content) == 1 && json.Valid([]byte(e.Content[0][1])) && e.Content[0][0] == "application/json"
			if full != (name == "full") || !strings.HasPrefix(e.Link, s.URL+"/v1/resources/") {
				t.Errorf("%s: entry %+v", name, e)
			}
		}
		if n := len(got.Entries); (n == 0) != (name == "empty") || n > 50 {
			t.Errorf("%s: %d entries", name, n)
		}
	}
}

func TestRealHubHearsNothingOfFeedsThatAreNotOpen(t *testing.T) {
	pings := t.TempDir() + "/pings"
	s := harness.New(t, strings.Replace(withHubs("none", startHub(t, "--log", pings)), "hub_feeds:", "hub_feeds: {} #", 1)).Start()
	play(t, s)
	_, header, _ := get(t, s.URL+"/v1/tenants/"+imageOwner+"/events")
	if diff := cmp.Diff("<"+s.URL+"/v1/tenants/"+imageOwner+`/events>; rel="self"`, header.Get("Link")); diff != "" {
		t.Error(diff)
	}
	var list struct {
		Feeds []json.RawMessage `json:"feeds"`
	}
	if err := s.Get("/v1/admin/feeds", &list); err != nil || len(list.Feeds) > 0 {
		t.Errorf("hubs know %s, %v", list.Feeds, err)
	}
	if b, err := exec.CommandContext(t.Context(), "cat", pings).Output(); err == nil && len(b) > 0 {
		t.Errorf("the hub was told: %s", b)
	}
}
