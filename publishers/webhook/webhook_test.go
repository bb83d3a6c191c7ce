package webhook_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fresnel-search/fresnel/plugins/client"
	"github.com/fresnel-search/fresnel/plugins/publishertest"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/publishers/webhook"
)

const secretText = "whsec_bXktdGVzdC1zZWNyZXQtMTIzNDU2Nzg5MA=="

// receiver keeps the requests it gets.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	status   int
	header   http.Header
	requests []request
}

type request struct {
	path   string
	header http.Header
	body   []byte
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{status: http.StatusOK, header: http.Header{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.requests = append(r.requests, request{req.URL.Path, req.Header, body})
		maps.Copy(w.Header(), r.header)
		w.WriteHeader(r.status)
	}))
	t.Cleanup(r.Close)
	return r
}

func publish(t *testing.T, c *client.Publisher, url string, secrets map[string][]byte, attempt uint32) *publisherv1.DeliveryResult {
	t.Helper()
	return publishertest.Results(t.Context(), t, c, &publisherv1.Destination{Id: "nfv", Uri: url, Secrets: secrets},
		&publisherv1.Delivery{DeliveryId: "d-1", Attempt: attempt, Event: &publisherv1.Event{
			Id: "change-1", Type: "org.fresnel.resource.updated", Source: "/fresnel", Subject: "OS::Nova::Server/1",
			Time: timestamppb.New(time.Unix(1700000000, 5000)), ContentType: "application/json",
			Data:       []byte(`{"id":"change-1","revision":2,"html":"<&>"}`),
			Attributes: map[string]string{"dataschema": "https://fresnel-search.example/schemas/change-1.json"},
		}})["d-1"]
}

func TestDeliveryIsACloudEventThatVerifies(t *testing.T) {
	r := newReceiver(t)
	c := publishertest.Open(t, webhook.Publisher, publishertest.Local)
	for attempt := range uint32(2) {
		if got := publish(t, c, r.URL+"/hook", map[string][]byte{"secret": []byte(secretText)}, attempt+1); got.GetDelivered() == nil {
			t.Fatalf("result = %v", got)
		}
	}
	hook, err := standardwebhooks.NewWebhook(secretText)
	if err != nil {
		t.Fatal(err)
	}
	for _, req := range r.requests {
		if err := hook.Verify(req.body, req.header); err != nil {
			t.Errorf("the reference library refuses it: %v", err)
		}
		if hook.Verify(append(req.body, ' '), req.header) == nil {
			t.Error("the reference library accepts another body")
		}
		if got := req.header.Get("Content-Type"); !strings.HasPrefix(got, "application/cloudevents+json") {
			t.Errorf("content type %q", got)
		}
		if got := req.header.Get("Webhook-Id"); got != "d-1" || req.path != "/hook" {
			t.Errorf("webhook-id %q at %s", got, req.path)
		}
		var ev cloudevents.Event
		if err := json.Unmarshal(req.body, &ev); err != nil || ev.Validate() != nil {
			t.Fatalf("the CloudEvents SDK refuses it: %v, %v", err, ev.Validate())
		}
		got := []string{
			ev.ID(), ev.Type(), ev.Source(), ev.Subject(), ev.DataContentType(), ev.DataSchema(),
			ev.Time().Format(time.RFC3339Nano), string(ev.Data()),
		}
		want := []string{
			"change-1", "org.fresnel.resource.updated", "/fresnel", "OS::Nova::Server/1", "application/json",
			"https://fresnel-search.example/schemas/change-1.json", "2023-11-14T22:13:20.000005Z",
			`{"id":"change-1","revision":2,"html":"<&>"}`,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	if string(r.requests[0].body) != string(r.requests[1].body) {
		t.Error("two attempts sent different bytes")
	}
}

func TestRotationSignsWithBothSecrets(t *testing.T) {
	r := newReceiver(t)
	old := "whsec_" + base64.StdEncoding.EncodeToString([]byte("the one before, 24 bytes"))
	publish(t, publishertest.Open(t, webhook.Publisher, publishertest.Local), r.URL, map[string][]byte{"secret": []byte(secretText), "previous_secret": []byte(old)}, 1)
	for _, s := range []string{secretText, old} {
		hook, err := standardwebhooks.NewWebhook(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := hook.Verify(r.requests[0].body, r.requests[0].header); err != nil {
			t.Error(err)
		}
	}
}

func TestUnsignedOnlyWithoutRequireSecret(t *testing.T) {
	r := newReceiver(t)
	if got := publish(t, publishertest.Open(t, webhook.Publisher, publishertest.Local), r.URL, nil, 1); got.GetDelivered() == nil {
		t.Errorf("result = %v", got)
	}
	if h := r.requests[0].header; h.Get("Webhook-Signature") != "" || h.Get("Webhook-Id") == "" {
		t.Errorf("headers = %v", h)
	}
	strict := `{"require_secret":true,"outbound":{"allow":["127.0.0.0/8"]}}`
	got := publish(t, publishertest.Open(t, webhook.Publisher, strict), r.URL, nil, 1).GetRejected()
	if got.GetCode() != "no_secret" || got.GetScope() != publisherv1.Scope_SCOPE_DESTINATION || len(r.requests) != 1 {
		t.Errorf("result = %v after %d requests", got, len(r.requests))
	}
}

func TestBadSecretIsRejectedWithoutShowingIt(t *testing.T) {
	r := newReceiver(t)
	got := publish(t, publishertest.Open(t, webhook.Publisher, publishertest.Local), r.URL, map[string][]byte{"secret": []byte("not base64 canary")}, 1)
	if got.GetRejected().GetCode() != "bad_secret" || strings.Contains(got.String(), "canary") || len(r.requests) > 0 {
		t.Errorf("result = %v", got)
	}
}

func TestWhatCannotBeAHeaderIsRefusedAtOnce(t *testing.T) {
	r, c := newReceiver(t), publishertest.Open(t, webhook.Publisher, publishertest.Local)
	got := publish(t, c, r.URL, map[string][]byte{"authorization": []byte("Bearer canary\r\nHost: x")}, 1)
	if publishertest.Outcome(got) != "rejected bad_secret SCOPE_DESTINATION" || strings.Contains(got.String(), "canary") || len(r.requests) > 0 {
		t.Errorf("result = %v", got)
	}
	if _, err := c.Configure(t.Context(), []byte(`{"user_agent":"a\nb"}`)); err == nil {
		t.Error("a User-Agent of two lines is taken")
	}
}

func TestStatusesFollowTheContract(t *testing.T) {
	r := newReceiver(t)
	c := publishertest.Open(t, webhook.Publisher, publishertest.Local)
	both := map[int]string{
		200: "delivered", 204: "delivered", 301: "rejected 0", 400: "rejected 0", 401: "retry 1", 403: "retry 1",
		404: "retry 0", 408: "retry 0", 409: "retry 0", 410: "rejected 1", 413: "rejected 0", 425: "retry 0",
		429: "retry 0", 500: "retry 0", 503: "retry 0",
	}
	r.header.Set("Location", "http://169.254.169.254/latest")
	r.header.Set("Retry-After", "7")
	for status, want := range both {
		r.mu.Lock()
		r.status = status
		r.requests = nil
		r.mu.Unlock()
		res := publish(t, c, r.URL, nil, 1)
		got := "delivered"
		if re := res.GetRetry(); re != nil {
			got = "retry " + string('0'+rune(re.GetScope()))
			if after := re.GetAfter().AsDuration(); re.GetScope() == 0 && after != 7*time.Second {
				t.Errorf("%d: after %s, want 7s", status, after)
			}
		} else if re := res.GetRejected(); re != nil {
			got = "rejected " + string('0'+rune(re.GetScope()))
		}
		if got != want || len(r.requests) != 1 {
			t.Errorf("%d: %s (%v) in %d requests, want %s in one", status, got, res, len(r.requests), want)
		}
	}
}

func TestPrivateAddressesAreRefused(t *testing.T) {
	r := newReceiver(t)
	got := publish(t, publishertest.Open(t, webhook.Publisher, `{}`), r.URL, nil, 1).GetRetry()
	if got.GetCode() != "address_refused" || !strings.Contains(got.GetMessage(), "publishers.outbound.allow") ||
		got.GetScope() != publisherv1.Scope_SCOPE_DESTINATION || len(r.requests) > 0 {
		t.Errorf("result = %v after %d requests", got, len(r.requests))
	}
}
