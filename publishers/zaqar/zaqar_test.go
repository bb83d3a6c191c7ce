package zaqar_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/plugins/publishertest"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/publishers/zaqar"
)

func TestEventsArePostedInOrderTwentyAtATime(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	var evs []*publisherv1.Event
	var ids []string
	for i := range 45 {
		ids = append(ids, fmt.Sprintf("e%02d", i))
		evs = append(evs, changed(ids[i], "web"))
	}
	for id, got := range publish(t, publishertest.Open(t, zaqar.Publisher, publishertest.Local), c.queue(none(), ""), evs...) {
		if got != "delivered" {
			t.Errorf("%s: %s", id, got)
		}
	}
	if diff := cmp.Diff(ids, c.ids()); diff != "" {
		t.Error(diff)
	}
	var sizes []int
	for _, p := range c.posts {
		sizes = append(sizes, len(p.messages))
		if p.path != "/v2/queues/events/messages" || p.header.Get("X-Project-Id") != "p1" || p.header.Get("Accept") != "application/json" {
			t.Errorf("a request to %s with %v", p.path, p.header)
		}
		if first := c.posts[0].header.Get("Client-Id"); p.header.Get("Client-Id") != first {
			t.Error("the client id changes from request to request")
		}
	}
	if diff := cmp.Diff([]int{20, 20, 5}, sizes); diff != "" {
		t.Error(diff)
	}
	if m := c.posts[0].messages[0]; m.Body.SpecVersion != "1.0" || m.Body.Missed != "L:1-2" || !strings.Contains(string(m.Body.Data), `"revision":7`) || m.TTL != nil {
		t.Errorf("message = %+v", m)
	}
}

func TestMessagesLiveAsLongAsTheDelivery(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	var ds []*publisherv1.Delivery
	for i, left := range []time.Duration{5 * time.Minute, time.Second, -time.Hour, 100 * 24 * time.Hour} {
		id := fmt.Sprint(i)
		ds = append(ds, &publisherv1.Delivery{DeliveryId: id, Event: changed(id, "web"), Expires: timestamppb.New(time.Now().Add(left))})
	}
	publishertest.Publish(t, publishertest.Open(t, zaqar.Publisher, publishertest.Local), c.queue(none(), ""), ds...)
	var got []int
	for _, m := range c.posts[0].messages {
		got = append(got, *m.TTL)
	}
	if got[0] == 299 {
		got[0] = 300
	}
	if diff := cmp.Diff([]int{300, 60, 60, 1209600}, got); diff != "" {
		t.Error(diff)
	}
}

func TestEventTooLargeForZaqarGoesThin(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	small, large := changed("small", "web"), changed("large", strings.Repeat("x", 300_000))
	got := publish(t, publishertest.Open(t, zaqar.Publisher, publishertest.Local), c.queue(none(), ""), small, large, changed("last", "web"))
	if diff := cmp.Diff(map[string]string{"small": "delivered", "large": "delivered", "last": "delivered"}, got); diff != "" {
		t.Error(diff)
	}
	checkThin(t, c, "large")
	if c.refused > 0 {
		t.Errorf("%d requests were too large", c.refused)
	}
}

func checkThin(t *testing.T, c *cloud, id string) {
	t.Helper()
	for _, p := range c.posts {
		for _, m := range p.messages {
			var ch change.Change
			if err := json.Unmarshal(m.Body.Data, &ch); err != nil {
				t.Fatal(err)
			}
			want := m.Body.ID == id
			if ch.Truncated != want || (ch.Document == nil) != want || ch.Revision != 7 || ch.Resource.Href != "/v1/resources/OS::Nova::Server/1" ||
				m.Body.Missed != "L:1-2" {
				t.Errorf("%s: missed %q, %s", m.Body.ID, m.Body.Missed, m.Body.Data)
			}
		}
	}
}

func TestBatchIsCutWhereItWouldBeTooLarge(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	var evs []*publisherv1.Event
	for i := range 10 {
		evs = append(evs, changed(fmt.Sprint(i), strings.Repeat("x", 60_000)))
	}
	publish(t, publishertest.Open(t, zaqar.Publisher, publishertest.Local), c.queue(none(), ""), evs...)
	if len(c.ids()) != 10 || c.refused > 0 || len(c.posts) != 3 {
		t.Errorf("%d messages in %d requests, %d refused", len(c.ids()), len(c.posts), c.refused)
	}
}

// A queue may have a limit of its own below the server's.
func TestLowerLimitOfAQueueIsFound(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.limit = 5000
	got := publish(t, publishertest.Open(t, zaqar.Publisher, publishertest.Local), c.queue(none(), ""), changed("a", strings.Repeat("x", 3000)), changed("b", strings.Repeat("x", 9000)), changed("c", "web"))
	if diff := cmp.Diff(map[string]string{"a": "delivered", "b": "delivered", "c": "delivered"}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, c.ids()); diff != "" {
		t.Error(diff)
	}
	checkThin(t, c, "b")
}

func TestOneRefusedMessageSpoilsNoOther(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.poison = `"p3"`
	var evs []*publisherv1.Event
	want := map[string]string{}
	for i := range 7 {
		id := fmt.Sprint("p", i)
		evs, want[id] = append(evs, changed(id, "web")), "delivered"
	}
	want["p3"] = "rejected http_400 SCOPE_DELIVERY"
	if diff := cmp.Diff(want, publish(t, publishertest.Open(t, zaqar.Publisher, publishertest.Local), c.queue(none(), ""), evs...)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"p0", "p1", "p2", "p4", "p5", "p6"}, c.ids()); diff != "" {
		t.Error(diff)
	}
}

func TestEventsOfAnotherProjectAreNeverPosted(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	with := func(id, audience, project string) *publisherv1.Event {
		ev := event(id, `{"id":"`+id+`","project":"`+project+`"}`)
		ev.Attributes = map[string]string{"audience": audience}
		return ev
	}
	got := publish(t, publishertest.Open(t, zaqar.Publisher, publishertest.Local), c.queue(none(), ""),
		with("shared with p1", "p1", "p2"), with("of p1 among all", "", "p1"), with("made for p2", "p2", "p1"), with("of p2 among all", "", "p2"),
		with("of nobody among all", "", ""))
	want := map[string]string{
		"shared with p1": "delivered", "of p1 among all": "delivered",
		"made for p2": "rejected foreign_project SCOPE_DELIVERY", "of p2 among all": "rejected foreign_project SCOPE_DELIVERY", "of nobody among all": "rejected foreign_project SCOPE_DELIVERY",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"shared with p1", "of p1 among all"}, c.ids()); diff != "" {
		t.Error(diff)
	}
}

func TestDestinationsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	p := publishertest.Open(t, zaqar.Publisher, publishertest.Local)
	for _, uri := range []string{
		"zaqar+" + c.URL, "zaqar+" + c.URL + "/v2/queues/", "zaqar+" + c.URL + "/v2/queues/a/b", "zaqar+" + c.URL + "/v2/queues/a%2Fb",
		"zaqar+" + c.URL + "/v2/queues/a?x=y", "zaqar+http:///v2/queues/a", "zaqar+http://:8888/v2/queues/a",
		"zaqar+" + c.URL + "/v2/queues/..", "zaqar+" + c.URL + "/v2/queues/a/%2e%2e/v2/queues/b", "http://127.0.0.1/v2/queues/a", "zaqar+http://u:p@127.0.0.1/v2/queues/a",
	} {
		to := c.queue(none(), "")
		to.Uri = uri
		if got := publish(t, p, to, changed("e", "web"))["e"]; got != "rejected bad_destination SCOPE_DESTINATION" {
			t.Errorf("%s: %s", uri, got)
		}
	}
	for _, options := range []map[string]string{
		{},
		{"auth": "basic"},
		{"auth": "none"},
		{"auth": "none", "project": "p1\r\nX-Roles: admin"},
		{"auth": "none", "project": "p1/p2"},
		{"auth": "none", "project": "p1", "username": "u"},
		{"auth": "none", "project": "p1", "client_id": "me"},
		{"auth": "keystone", "auth_url": "keystone", "username": "u", "project": "p"},
		{"auth": "keystone", "auth_url": c.URL, "project": "p"},
		{"auth": "keystone", "auth_url": c.URL, "username": "u"},
		{"auth": "none", "project": "p1", "proyect": "p"},
	} {
		if got := publish(t, p, c.queue(options, ""), changed("e", "web"))["e"]; got != "rejected bad_options SCOPE_DESTINATION" {
			t.Errorf("%v: %s", options, got)
		}
	}
	if len(c.posts)+c.refused > 0 {
		t.Error("something was posted all the same")
	}
}

func TestFailuresFollowTheContract(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	p := publishertest.Open(t, zaqar.Publisher, publishertest.Local)
	for status, want := range map[int]string{
		500: "retry http_500 SCOPE_DELIVERY", 503: "retry http_503 SCOPE_DELIVERY", 404: "retry http_404 SCOPE_DELIVERY", 403: "retry http_403 SCOPE_DESTINATION", 401: "retry http_401 SCOPE_DESTINATION",
		302: "rejected http_302 SCOPE_DELIVERY", 415: "rejected http_415 SCOPE_DELIVERY",
	} {
		n := 0
		c.set(func() {
			c.zaqar = func(w http.ResponseWriter, _ *http.Request) {
				n++
				w.Header().Set("Content-Type", "text/html")
				w.WriteHeader(status)
				fmt.Fprint(w, "<html><h1>The Keystone service is temporarily unavailable.</h1></html>")
			}
		})
		var evs []*publisherv1.Event
		for i := range 30 {
			evs = append(evs, changed(fmt.Sprint(i), "web"))
		}
		for id, got := range publish(t, p, c.queue(none(), ""), evs...) {
			if got != want {
				t.Errorf("%d: %s: %s, want %s", status, id, got, want)
			}
		}
		if n != 1 {
			t.Errorf("%d: %d requests, want one: what is left would fare no better", status, n)
		}
	}
}
