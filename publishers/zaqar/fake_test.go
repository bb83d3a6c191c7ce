package zaqar_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/fresnel-search/fresnel/plugins/client"
	"github.com/fresnel-search/fresnel/plugins/publishertest"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// cloud is a Zaqar and a Keystone in one server. Zaqar refuses what the real one
// refuses, and a test may make it worse.
type cloud struct {
	*httptest.Server
	mu       sync.Mutex
	auth     string // what X-Auth-Token or URL-Signature must be; empty asks for nothing
	limit    int    // largest request
	poison   string // a request that holds it is refused; if not empty
	posts    []post
	refused  int
	logins   []map[string]any
	lifetime time.Duration
	issued   string // the token of the latest login
	// Instead of what they would do, if not nil.
	zaqar, keystone http.HandlerFunc
}

type post struct {
	path     string
	header   http.Header
	messages []posted
	size     int
}

type posted struct {
	Body struct {
		SpecVersion string          `json:"specversion"`
		Missed      string          `json:"missed"`
		ID          string          `json:"id"`
		Data        json.RawMessage `json:"data"`
	} `json:"body"`
	TTL *int `json:"ttl"`
}

func newCloud(t *testing.T) *cloud {
	c := unstarted(t)
	c.Start()
	return c
}

func unstarted(t *testing.T) *cloud {
	c := &cloud{limit: 262144, lifetime: time.Hour}
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		zaqar, keystone := c.zaqar, c.keystone
		c.mu.Unlock()
		switch {
		case r.URL.Path == "/v3/auth/tokens" && keystone != nil:
			keystone(w, r)
		case r.URL.Path == "/v3/auth/tokens":
			c.login(t, w, r)
		case zaqar != nil:
			zaqar(w, r)
		default:
			c.post(t, w, r)
		}
	}))
	t.Cleanup(func() { c.Close() })
	return c
}

func (c *cloud) login(t *testing.T, w http.ResponseWriter, r *http.Request) {
	var asked map[string]any
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.logins = append(c.logins, asked)
	c.issued = "gAAAA-" + uuid.NewString()
	c.auth = c.issued
	w.Header().Set("X-Subject-Token", c.issued)
	w.WriteHeader(http.StatusCreated)
	answer := map[string]any{"token": map[string]any{
		"expires_at": time.Now().UTC().Add(c.lifetime).Format("2006-01-02T15:04:05.000000Z"),
		"project":    map[string]any{"id": "p1", "name": "demo"},
	}}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		t.Error(err)
	}
}

func (c *cloud) post(t *testing.T, w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	given := r.Header.Get("X-Auth-Token") + r.Header.Get("URL-Signature")
	status := http.StatusCreated
	var asked struct {
		Messages []posted `json:"messages"`
	}
	switch {
	case c.auth != "" && given != c.auth && r.Header.Get("URL-Signature") != "":
		status = http.StatusNotFound
	case c.auth != "" && given != c.auth:
		status = http.StatusUnauthorized
	case r.ContentLength < 0, len(raw) > c.limit, c.poison != "" && strings.Contains(string(raw), c.poison), r.Header.Get("X-Project-ID") == "", uuid.Validate(r.Header.Get("Client-ID")) != nil,
		json.Unmarshal(raw, &asked) != nil, len(asked.Messages) == 0, slices.ContainsFunc(asked.Messages, badTTL):
		status = http.StatusBadRequest
	}
	w.WriteHeader(status)
	if status != http.StatusCreated {
		c.refused++
		return
	}
	c.posts = append(c.posts, post{r.URL.Path, r.Header, asked.Messages, len(raw)})
}

func badTTL(m posted) bool { return m.TTL != nil && (*m.TTL < 60 || *m.TTL > 1209600) }

// ids are those of all events that were posted, in order.
func (c *cloud) ids() (ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.posts {
		for _, m := range p.messages {
			ids = append(ids, m.Body.ID)
		}
	}
	return ids
}

func (c *cloud) set(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
}

// queue is a destination of the cloud.
func (c *cloud) queue(options map[string]string, secret string) *publisherv1.Destination {
	return &publisherv1.Destination{
		Id: "nfv", Uri: "zaqar+" + c.URL + "/v2/queues/events", Fingerprint: "f" + secret, Options: options,
		Secrets: map[string][]byte{"secret": []byte(secret)},
	}
}

func none() map[string]string { return map[string]string{"auth": "none", "project": "p1"} }

func (c *cloud) keystoneOptions() map[string]string {
	return map[string]string{"auth": "keystone", "auth_url": c.URL + "/v3", "username": "fresnel", "project": "p1"}
}

// event is the event of a change, made for the eyes of project p1.
func event(id, data string) *publisherv1.Event {
	return &publisherv1.Event{
		Id: id, Type: "org.fresnel.resource.updated", Source: "/fresnel", Subject: "OS::Nova::Server/1", ContentType: "application/json",
		Data: []byte(data), Attributes: map[string]string{"audience": "p1", "missed": "L:1-2"},
	}
}

func changed(id, filling string) *publisherv1.Event {
	return event(id, `{"id":"`+id+`","action":"updated","resource":{"type":"OS::Nova::Server","id":"1","href":"/v1/resources/OS::Nova::Server/1"},`+
		`"revision":7,"time":"2026-11-20T10:00:00Z","project":"p1","changed":["name"],"document":{"name":"`+filling+`"},"cause":{"kind":"notification"}}`)
}

func publish(t *testing.T, c *client.Publisher, to *publisherv1.Destination, evs ...*publisherv1.Event) map[string]string {
	t.Helper()
	ds := make([]*publisherv1.Delivery, len(evs))
	for i, ev := range evs {
		ds[i] = &publisherv1.Delivery{DeliveryId: ev.GetId(), Attempt: 1, Event: ev}
	}
	return publishertest.Publish(t, c, to, ds...)
}
