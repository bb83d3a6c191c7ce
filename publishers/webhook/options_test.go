package webhook_test

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fresnel-search/fresnel/plugins/client"
	"github.com/fresnel-search/fresnel/plugins/publishertest"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/publishers/webhook"
)

// deliver makes one attempt at events of the ids and returns the outcomes in order.
func deliver(t *testing.T, c *client.Publisher, to *publisherv1.Destination, attempt uint32, ids ...string) []string {
	t.Helper()
	var ds []*publisherv1.Delivery
	for _, id := range ids {
		ds = append(ds, &publisherv1.Delivery{DeliveryId: "d-" + id, Attempt: attempt, Event: &publisherv1.Event{
			Id: id, Type: "org.fresnel.resource.updated", Source: "/fresnel", Subject: `OS::Nova::Server/ä "1"%`,
			Time: timestamppb.New(time.Unix(1700000000, 5000)), ContentType: "application/json", Data: []byte(`{"id":"` + id + `"}`),
			Attributes: map[string]string{
				"dataschema": "https://fresnel-search.example/schemas/change-1.json", "traceparent": "00-1-2-03", "Bad Name": "x", "missed": "1:1-2",
			},
		}})
	}
	got := publishertest.Results(t.Context(), t, c, to, ds...)
	all := make([]string, len(ids))
	for i, id := range ids {
		r := got["d-"+id]
		all[i] = publishertest.Outcome(r)
		if strings.Contains(r.String(), "canary") {
			t.Errorf("it shows what it must not: %v", r)
		}
	}
	return all
}

// event reads a request with the CloudEvents SDK.
func event(t *testing.T, r request) *cloudevents.Event {
	t.Helper()
	ev, err := binding.ToEvent(t.Context(), cehttp.NewMessage(r.header, http.NoBody))
	if strings.HasPrefix(r.header.Get("Content-Type"), "application/json") {
		ev, err = binding.ToEvent(t.Context(), cehttp.NewMessage(r.header, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(r.body))).Body))
	}
	if err != nil || ev.Validate() != nil {
		t.Fatalf("the CloudEvents SDK refuses it: %v, %v", err, ev)
	}
	return ev
}

func verify(secret string, r request) error {
	hook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return err
	}
	return hook.Verify(r.body, r.header)
}

func TestBinaryModeIsReadByTheCloudEventsSDK(t *testing.T) {
	r, c := newReceiver(t), publishertest.Open(t, webhook.Publisher, publishertest.Local)
	to := &publisherv1.Destination{Uri: r.URL, Options: map[string]string{"mode": "binary"}, Secrets: map[string][]byte{"secret": []byte(secretText)}}
	if got := deliver(t, c, to, 1, "a"); got[0] != "delivered" {
		t.Fatal(got)
	}
	req := r.requests[0]
	ev := event(t, req)
	got := []string{ev.ID(), ev.Type(), ev.Source(), ev.DataContentType(), ev.DataSchema(), ev.Time().Format(time.RFC3339Nano), string(ev.Data()), fmt.Sprint(ev.Extensions())}
	want := []string{
		"a", "org.fresnel.resource.updated", "/fresnel", "application/json", "https://fresnel-search.example/schemas/change-1.json",
		"2023-11-14T22:13:20.000005Z", `{"id":"a"}`, "map[missed:1:1-2 traceparent:00-1-2-03]",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if h := req.header.Get("Ce-Subject"); h != "OS::Nova::Server/%C3%A4%20%221%22%25" {
		t.Errorf("subject header %q", h)
	}
	if err := verify(secretText, req); err != nil {
		t.Error(err)
	}
}

func TestBatchIsOneRequestThatVerifies(t *testing.T) {
	r, c := newReceiver(t), publishertest.Open(t, webhook.Publisher, publishertest.Local)
	to := &publisherv1.Destination{Uri: r.URL, Options: map[string]string{"mode": "batch"}, Secrets: map[string][]byte{"secret": []byte(secretText)}}
	for range 2 {
		for _, got := range deliver(t, c, to, 1, "a", "b", "c") {
			if got != "delivered" {
				t.Fatal(got)
			}
		}
	}
	if len(r.requests) != 2 {
		t.Fatalf("%d requests", len(r.requests))
	}
	for _, req := range r.requests {
		var evs []cloudevents.Event
		if err := json.Unmarshal(req.body, &evs); err != nil || len(evs) != 3 || evs[2].ID() != "c" || evs[0].Validate() != nil {
			t.Fatalf("the CloudEvents SDK reads %v, %v", evs, err)
		}
		if got := req.header.Get("Content-Type"); !strings.HasPrefix(got, "application/cloudevents-batch+json") {
			t.Errorf("content type %q", got)
		}
		if err := verify(secretText, req); err != nil {
			t.Error(err)
		}
	}
	if a, b := r.requests[0], r.requests[1]; string(a.body) != string(b.body) || a.header.Get("Webhook-Id") != b.header.Get("Webhook-Id") {
		t.Error("two attempts differ")
	}
}

func TestEventThatSpoilsABatchIsFoundAndTheOthersArrive(t *testing.T) {
	r, c := newReceiver(t), publishertest.Open(t, webhook.Publisher, publishertest.Local)
	r.status = http.StatusBadRequest
	to := &publisherv1.Destination{Uri: r.URL, Options: map[string]string{"mode": "batch"}}
	if got := deliver(t, c, to, 1, "a", "b"); !slices.Equal(got, []string{"retry http_400 SCOPE_DELIVERY", "retry http_400 SCOPE_DELIVERY"}) {
		t.Fatal(got)
	}
	if got := deliver(t, c, to, 2, "a", "b"); !slices.Equal(got, []string{"rejected http_400 SCOPE_DELIVERY", "rejected http_400 SCOPE_DELIVERY"}) || len(r.requests) != 3 {
		t.Fatalf("%v in %d requests", got, len(r.requests))
	}
	if got := deliver(t, c, to, 1, "alone"); got[0] != "rejected http_400 SCOPE_DELIVERY" {
		t.Error(got)
	}
}

func TestEd25519SignatureVerifiesWithThePublicKeyAlone(t *testing.T) {
	seed := []byte("thirty-two bytes that are secret")
	private := ed25519.NewKeyFromSeed(seed)
	for _, key := range [][]byte{seed, private} {
		r, c := newReceiver(t), publishertest.Open(t, webhook.Publisher, publishertest.Local)
		secret := "whsk_" + base64.StdEncoding.EncodeToString(key)
		to := &publisherv1.Destination{Uri: r.URL, Secrets: map[string][]byte{"secret": []byte(secret), "previous_secret": []byte(secretText)}}
		if got := deliver(t, c, to, 1, "a"); got[0] != "delivered" {
			t.Fatal(got)
		}
		req := r.requests[0]
		if err := verify(secretText, req); err != nil {
			t.Errorf("the secret before: %v", err)
		}
		text, found := strings.CutPrefix(strings.Fields(req.header.Get("Webhook-Signature"))[0], "v1a,")
		signature, err := base64.StdEncoding.DecodeString(text)
		content := fmt.Appendf(nil, "%s.%s.%s", req.header.Get("Webhook-Id"), req.header.Get("Webhook-Timestamp"), req.body)
		public := private.Public().(ed25519.PublicKey)
		if !found || err != nil || !ed25519.Verify(public, content, signature) || ed25519.Verify(public, append(content, ' '), signature) {
			t.Errorf("signature %q: %v", req.header.Get("Webhook-Signature"), err)
		}
	}
}

func TestOldSecretFailsOnceTheOverlapIsOver(t *testing.T) {
	old := "whsec_" + base64.StdEncoding.EncodeToString([]byte("the one before, 24 bytes"))
	for until, verifies := range map[string]bool{
		"": true, time.Now().Add(time.Hour).Format(time.RFC3339): true, time.Now().Add(-time.Second).Format(time.RFC3339): false,
	} {
		r, c := newReceiver(t), publishertest.Open(t, webhook.Publisher, publishertest.Local)
		to := &publisherv1.Destination{
			Uri: r.URL, Options: map[string]string{"previous_secret_until": until},
			Secrets: map[string][]byte{"secret": []byte(secretText), "previous_secret": []byte(old)},
		}
		deliver(t, c, to, 1, "a")
		if err := verify(secretText, r.requests[0]); err != nil {
			t.Errorf("until %q: the new secret: %v", until, err)
		}
		if err := verify(old, r.requests[0]); (err == nil) != verifies {
			t.Errorf("until %q: the old secret: %v, want that it verifies: %v", until, err, verifies)
		}
	}
}

func TestCustomHeadersAreSentButThoseThatCarryMeaning(t *testing.T) {
	r, c := newReceiver(t), publishertest.Open(t, webhook.Publisher, publishertest.Local)
	to := &publisherv1.Destination{
		Uri: r.URL, Options: map[string]string{"headers": `{"x-team":"storage, é","User-Agent":"us"}`},
		Secrets: map[string][]byte{"authorization": []byte("Bearer canary\n")},
	}
	if got := deliver(t, c, to, 1, "a"); got[0] != "delivered" {
		t.Fatal(got)
	}
	h := r.requests[0].header
	if h.Get("X-Team") != "storage, é" || h.Get("User-Agent") != "us" || h.Get("Authorization") != "Bearer canary" {
		t.Errorf("headers %v", h)
	}
	for _, name := range []string{
		"host", "Content-Length", "content-type", "Transfer-Encoding", "webhook-id", "Webhook-Signature", "webhook-timestamp", "ce-id",
		"Connection", "TE", "Trailer", "Upgrade", "Proxy-Authorization", "authorization", "a b", "", "x:y", "x\r\ny", strings.Repeat("x", 200),
	} {
		headers, err := json.Marshal(map[string]string{name: "x"})
		if err != nil {
			t.Fatal(err)
		}
		to.Options = map[string]string{"headers": string(headers)}
		if got := deliver(t, c, to, 1, "a"); got[0] != "rejected bad_options SCOPE_DESTINATION" {
			t.Errorf("%q: %s", name, got)
		}
	}
	for option, value := range map[string]string{
		"headers": `{"x":"a\r\nHost: b"}`, "mode": "xml", "previous_secret_until": "soon",
	} {
		to.Options = map[string]string{option: value}
		if got := deliver(t, c, to, 1, "a"); got[0] != "rejected bad_options SCOPE_DESTINATION" {
			t.Errorf("%s %s: %s", option, value, got)
		}
	}
	if len(r.requests) != 1 {
		t.Errorf("%d requests", len(r.requests))
	}
}

func TestClientCertificateIsShownToWhoAsks(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) != 1 {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	srv.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}
	srv.Config.ErrorLog = nil
	srv.StartTLS()
	defer srv.Close()
	pair := srv.TLS.Certificates[0] // good enough for the client, too
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	secrets := map[string][]byte{
		"ca": cert, "client_cert": cert, "client_key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	}
	c := publishertest.Open(t, webhook.Publisher, publishertest.Local)
	for range 3 {
		if got := deliver(t, c, &publisherv1.Destination{Uri: srv.URL, Fingerprint: "1", Secrets: secrets}, 1, "a"); got[0] != "delivered" {
			t.Fatal(got)
		}
	}
	if got := deliver(t, c, &publisherv1.Destination{Uri: srv.URL, Fingerprint: "2", Secrets: map[string][]byte{"ca": cert}}, 1, "a"); !strings.HasPrefix(got[0], "retry ") {
		t.Errorf("without certificate: %s", got)
	}
	if got := deliver(t, c, &publisherv1.Destination{Uri: srv.URL, Fingerprint: "3"}, 1, "a"); got[0] != "retry tls SCOPE_DELIVERY" {
		t.Errorf("unknown authority: %s", got)
	}
	bad := map[string][]byte{"client_cert": []byte("canary"), "client_key": []byte("canary")}
	if got := deliver(t, c, &publisherv1.Destination{Uri: srv.URL, Fingerprint: "4", Secrets: bad}, 1, "a"); got[0] != "rejected bad_secret SCOPE_DESTINATION" {
		t.Errorf("no certificate: %s", got)
	}
	plain := strings.Replace(srv.URL, "https", "http", 1)
	if got := deliver(t, c, &publisherv1.Destination{Uri: plain, Fingerprint: "5", Secrets: secrets}, 1, "a"); got[0] != "rejected bad_destination SCOPE_DESTINATION" {
		t.Errorf("a certificate without TLS: %s", got)
	}
}
