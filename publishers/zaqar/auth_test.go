package zaqar_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/plugins/publishertest"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/publishers/zaqar"
)

func TestTokenIsGotOnceAndRenewedBeforeItExpires(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.auth = "nothing yet"
	p := publishertest.Open(t, zaqar.Publisher, publishertest.Local)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			id := fmt.Sprint(i)
			if got := publish(t, p, c.queue(c.keystoneOptions(), "hidden-pass"), changed(id, "web"))[id]; got != "delivered" {
				t.Errorf("%s: %s", id, got)
			}
		})
	}
	all.Wait()
	want := map[string]any{"auth": map[string]any{
		"identity": map[string]any{
			"methods":  []any{"password"},
			"password": map[string]any{"user": map[string]any{"name": "fresnel", "domain": map[string]any{"name": "Default"}, "password": "hidden-pass"}},
		},
		"scope": map[string]any{"project": map[string]any{"id": "p1"}},
	}}
	if len(c.logins) != 1 {
		t.Fatalf("%d logins for 8 posts, want one", len(c.logins))
	}
	if diff := cmp.Diff(want, c.logins[0]); diff != "" {
		t.Error(diff)
	}

	c.set(func() { c.lifetime = -time.Second })
	publish(t, p, c.queue(c.keystoneOptions(), "other"), changed("a", "web"))
	publish(t, p, c.queue(c.keystoneOptions(), "other"), changed("b", "web"))
	if len(c.logins) != 3 {
		t.Errorf("%d logins, want one more for each post with a token that has expired", len(c.logins)-1)
	}
}

func TestRefusedTokenIsRenewedOnceInTheSameAttempt(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	p := publishertest.Open(t, zaqar.Publisher, publishertest.Local)
	to := c.queue(c.keystoneOptions(), "pass")
	publish(t, p, to, changed("a", "web"))
	c.set(func() { c.auth = "revoked" })
	if got := publish(t, p, to, changed("b", "web"))["b"]; got != "delivered" || len(c.logins) != 2 || c.refused != 1 {
		t.Errorf("%s after %d logins and %d refusals", got, len(c.logins), c.refused)
	}
	c.set(func() {
		c.zaqar = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }
	})
	if got := publish(t, p, to, changed("c", "web"))["c"]; got != "retry http_401 SCOPE_DESTINATION" || len(c.logins) != 3 {
		t.Errorf("%s after %d logins", got, len(c.logins))
	}
}

func TestApplicationCredentialSaysTheProject(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	options := map[string]string{"auth": "keystone", "auth_url": c.URL + "/v3/", "application_credential": "ac1"}
	if got := publish(t, publishertest.Open(t, zaqar.Publisher, publishertest.Local), c.queue(options, "s3cret"), changed("a", "web"))["a"]; got != "delivered" {
		t.Fatal(got)
	}
	want := map[string]any{"auth": map[string]any{"identity": map[string]any{
		"methods": []any{"application_credential"}, "application_credential": map[string]any{"id": "ac1", "secret": "s3cret"},
	}}}
	if diff := cmp.Diff(want, c.logins[0]); diff != "" {
		t.Error(diff)
	}
	options["project"] = "p2"
	if got := publish(t, publishertest.Open(t, zaqar.Publisher, publishertest.Local), c.queue(options, "s3cret"), changed("b", "web"))["b"]; got != "retry foreign_token SCOPE_DESTINATION" || len(c.posts) != 1 {
		t.Errorf("%s with a token of another project, after %d posts", got, len(c.posts))
	}
	// What the token is for decides, not what the destination says.
	delete(options, "project")
	foreign := changed("c", "web")
	foreign.Attributes["audience"] = "p2"
	if got := publish(t, publishertest.Open(t, zaqar.Publisher, publishertest.Local), c.queue(options, "s3cret"), foreign)["c"]; got != "rejected foreign_project SCOPE_DELIVERY" || len(c.posts) != 1 {
		t.Errorf("%s after %d posts", got, len(c.posts))
	}
}

func TestKeystoneThatFailsHoldsTheDestinationUp(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	p := publishertest.Open(t, zaqar.Publisher, publishertest.Local)
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	for want, handler := range map[string]http.HandlerFunc{
		"retry keystone_http_401 SCOPE_DESTINATION": answer(http.StatusUnauthorized, `{"error":{}}`),
		"retry keystone_http_404 SCOPE_DESTINATION": answer(http.StatusNotFound, "<html>"),
		"retry keystone_http_503 SCOPE_DESTINATION": answer(http.StatusServiceUnavailable, "<html><body>Service Unavailable</body></html>"),
		"retry keystone_http_400 SCOPE_DESTINATION": answer(http.StatusBadRequest, ""),
		"retry keystone_answer SCOPE_DESTINATION":   answer(http.StatusCreated, "<html>a captive portal</html>"),
	} {
		c.set(func() { c.keystone = handler })
		got := publish(t, p, c.queue(c.keystoneOptions(), "pass"), changed("a", "web"), changed("b", "web"))
		if got["a"] != want || got["b"] != want {
			t.Errorf("%v, want %s", got, want)
		}
	}
	if len(c.posts)+c.refused > 0 {
		t.Error("Zaqar was asked without a token")
	}
}

// A Zaqar that has lost its Redis answers nobody for minutes.
func TestServerThatHangsCostsNoMoreThanTheAttempt(t *testing.T) {
	t.Parallel()
	c, healthy := newCloud(t), newCloud(t)
	gone := make(chan struct{})
	t.Cleanup(func() { close(gone) })
	hang := func(http.ResponseWriter, *http.Request) { <-gone }
	for _, which := range []string{"zaqar", "keystone"} {
		c.set(func() {
			c.zaqar, c.keystone = nil, nil
			if which == "zaqar" {
				c.zaqar = hang
			} else {
				c.keystone = hang
			}
		})
		p := publishertest.Open(t, zaqar.Publisher, publishertest.Local)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		results := make(chan string, 60)
		go func() {
			defer close(results)
			var ds []*publisherv1.Delivery
			for i := range 60 {
				ds = append(ds, &publisherv1.Delivery{DeliveryId: fmt.Sprint(i), Event: changed(fmt.Sprint(i), "web")})
			}
			err := p.Publish(ctx, &publisherv1.PublishRequest{
				Destinations: []*publisherv1.Destination{c.queue(c.keystoneOptions(), "pass")}, Deliveries: ds,
			}, func(r *publisherv1.DeliveryResult) { results <- publishertest.Outcome(r) })
			if err != nil {
				t.Error(err)
			}
		}()
		if got := publish(t, p, healthy.queue(none(), ""), changed("other", "web"))["other"]; got != "delivered" {
			t.Errorf("%s hangs, and at another Zaqar: %s", which, got)
		}
		n := 0
		for got := range results {
			if n++; !strings.HasPrefix(got, "retry timeout ") && got != "retry keystone_timeout SCOPE_DESTINATION" {
				t.Errorf("%s hangs: %s", which, got)
			}
		}
		if n != 60 {
			t.Errorf("%s hangs: %d of 60 deliveries were answered for", which, n)
		}
		cancel()
	}
}

func shared(expires time.Time, project, path, method, signature string) string {
	return fmt.Sprintf(`{"paths":[%q],"methods":[%q],"project":%q,"expires":%q,"signature":%q}`,
		path, method, project, expires.UTC().Format("2006-01-02T15:04:05"), signature)
}

func TestPreSignedURLNeedsNoPassword(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.auth = "51gn"
	const path = "/v2/queues/events/messages"
	tomorrow := time.Now().Add(24 * time.Hour)
	signed := map[string]string{"auth": "signed", "client_id": "00000000-0000-4000-8000-000000000001"}
	p := publishertest.Open(t, zaqar.Publisher, publishertest.Local)
	if got := publish(t, p, c.queue(signed, shared(tomorrow, "p1", path, "POST", "51gn")), changed("a", "web"))["a"]; got != "delivered" {
		t.Fatal(got)
	}
	h := c.posts[0].header
	got := []string{h.Get("URL-Signature"), h.Get("URL-Methods"), h.Get("URL-Paths"), h.Get("URL-Expires"), h.Get("X-Project-ID"), h.Get("Client-ID"), h.Get("X-Auth-Token")}
	want := []string{"51gn", "POST", path, tomorrow.UTC().Format("2006-01-02T15:04:05"), "p1", "00000000-0000-4000-8000-000000000001", ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for secret, want := range map[string]string{
		shared(tomorrow, "p1", path, "POST", "wrong"):                       "retry signature_refused SCOPE_DESTINATION",
		shared(time.Now().Add(-time.Minute), "p1", path, "POST", "51gn"):    "rejected signature_expired SCOPE_DESTINATION",
		shared(tomorrow, "p1", path, "GET", "51gn"):                         "rejected bad_secret SCOPE_DESTINATION",
		shared(tomorrow, "p1", "/v2/queues/other/messages", "POST", "51gn"): "rejected bad_secret SCOPE_DESTINATION",
		shared(tomorrow, "p2", path, "POST", "51gn"):                        "rejected foreign_project SCOPE_DELIVERY",
		"whsec_abcdef":                           "rejected bad_secret SCOPE_DESTINATION",
		"":                                       "rejected bad_secret SCOPE_DESTINATION",
		shared(tomorrow, "p1", path, "POST", ""): "rejected bad_secret SCOPE_DESTINATION",
	} {
		if got := publish(t, p, c.queue(signed, secret), changed("b", "web"))["b"]; got != want {
			t.Errorf("%s: %s, want %s", secret, got, want)
		}
	}
	if len(c.posts) != 1 {
		t.Errorf("%d posts, want one", len(c.posts))
	}
}
