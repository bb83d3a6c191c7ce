package websub_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/plugins/publishertest"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/publishers/websub"
)

// hub keeps the forms that it gets.
type hub struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	forms  []url.Values
}

func newHub(t *testing.T) *hub {
	h := &hub{status: http.StatusNoContent}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.forms = append(h.forms, r.PostForm)
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(h.status)
	}))
	t.Cleanup(h.Close)
	return h
}

// publish hands a number of events to a hub and returns their outcomes, as they are.
func publish(t *testing.T, to *publisherv1.Destination, events int) map[string]*publisherv1.DeliveryResult {
	t.Helper()
	var ds []*publisherv1.Delivery
	for i := range events {
		id := fmt.Sprint(i)
		ds = append(ds, &publisherv1.Delivery{DeliveryId: id, Event: &publisherv1.Event{Id: id, Data: []byte(`{"secret":"content"}`)}})
	}
	return publishertest.Results(t.Context(), t, publishertest.Open(t, websub.Publisher, publishertest.Local), to, ds...)
}

const topic = "https://search.example.net/v1/tenants/p1/events/T0K3N"

func TestManyEventsMakeOnePingWithBothNamesOfTheTopic(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	for _, to := range []*publisherv1.Destination{
		{Id: "h", Uri: "websub+" + h.URL + "/hub?x=y", Options: map[string]string{"topic": topic}},
		{Id: "h", Uri: "websub+" + h.URL + "/hub?x=y", Secrets: map[string][]byte{"topic": []byte(topic)}},
	} {
		h.forms = nil
		for _, r := range publish(t, to, 10) {
			if r.GetDelivered() == nil {
				t.Errorf("result = %v", r)
			}
		}
		want := []url.Values{{"hub.mode": {"publish"}, "hub.topic": {topic}, "hub.url": {topic}}}
		if diff := cmp.Diff(want, h.forms); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAny2xxIsAcceptance(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	to := &publisherv1.Destination{Id: "h", Uri: "websub+" + h.URL, Secrets: map[string][]byte{"topic": []byte(topic)}}
	for status, want := range map[int]string{
		200: "delivered", 202: "delivered", 204: "delivered", 207: "delivered", 400: "rejected http_400 SCOPE_DELIVERY",
		500: "retry http_500 SCOPE_DELIVERY", 503: "retry http_503 SCOPE_DELIVERY", 410: "rejected http_410 SCOPE_DESTINATION",
		301: "rejected http_301 SCOPE_DELIVERY",
	} {
		h.status = status
		if got := publishertest.Outcome(publish(t, to, 1)["0"]); got != want {
			t.Errorf("%d: %s, want %s", status, got, want)
		}
	}
}

func TestTopicIsInNoOutcome(t *testing.T) {
	t.Parallel()
	for _, to := range []*publisherv1.Destination{
		{Id: "h", Uri: "websub+http://127.0.0.1:1/", Secrets: map[string][]byte{"topic": []byte(topic)}},
		{Id: "h", Uri: "websub+" + topic + "\x7f", Secrets: map[string][]byte{"topic": []byte(topic)}},
		{Id: "h", Uri: "websub+http://127.0.0.1/", Secrets: map[string][]byte{"topic": []byte("T0K3N")}},
		{Id: "h", Uri: "http://127.0.0.1/", Secrets: map[string][]byte{"topic": []byte(topic)}},
		{Id: "h", Uri: "websub+http://127.0.0.1/"},
	} {
		r := publish(t, to, 1)["0"]
		if r.GetDelivered() != nil || strings.Contains(r.String(), "T0K3N") {
			t.Errorf("result = %v", r)
		}
	}
}

func TestWhatCannotBeHonouredIsRefused(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	for name, to := range map[string]*publisherv1.Destination{
		"rejected bad_options SCOPE_DESTINATION": {Options: map[string]string{"topic": "example.net/feed"}},
		"rejected bad_topic SCOPE_DESTINATION":   {Secrets: map[string][]byte{"topic": []byte("file://host/feed")}},
		"rejected bad_secret SCOPE_DESTINATION":  {Options: map[string]string{"topic": topic}, Secrets: map[string][]byte{"ca": []byte("PEM")}},
	} {
		to.Uri = "websub+" + h.URL
		if got := publishertest.Outcome(publish(t, to, 1)["0"]); got != name || len(h.forms) > 0 {
			t.Errorf("%s, want %s; %d pings", got, name, len(h.forms))
		}
	}
}
