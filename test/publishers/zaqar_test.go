//go:build real

package publishers_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/plugins/client"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/publishers/zaqar"
	"github.com/fresnel-search/fresnel/test/harness"
)

func zaqarPublisher(t *testing.T) *client.Publisher {
	t.Helper()
	server, err := zaqar.Publisher("1.0.0").Server()
	return inProcess(t, server, err)
}

// queue is the destination of a queue whose name no other test has.
func queue(base, name string, options map[string]string, secret string) *publisherv1.Destination {
	return &publisherv1.Destination{
		Id: "nfv", Uri: "zaqar+" + base + "/v2/queues/" + name, Fingerprint: name + secret + fmt.Sprint(options), Options: options,
		Secrets: map[string][]byte{"secret": []byte(secret)},
	}
}

func unique(t *testing.T) string {
	return strings.ReplaceAll(t.Name(), "/", "-")[:min(len(t.Name()), 40)] + fmt.Sprintf("-%d", time.Now().UnixNano()%1_000_000)
}

// forProject makes events that were made for the eyes of a project.
func forProject(req *publisherv1.PublishRequest, project string) *publisherv1.PublishRequest {
	for _, d := range req.GetDeliveries() {
		d.Event.Attributes = map[string]string{"audience": project}
	}
	return req
}

// stored is a message as the real zaqarclient reads it.
type stored struct {
	TTL  int `json:"ttl"`
	Body struct {
		ID   string        `json:"id"`
		Data change.Change `json:"data"`
	} `json:"body"`
}

// readQueue reads a queue with python-zaqarclient; auth is what its constructor takes.
func readQueue(t *testing.T, base, name string, auth map[string]any) (out []stored) {
	t.Helper()
	asked, err := json.Marshal(auth)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), harness.Need(t, "FRESNEL_TEST_ZAQAR_PYTHON"), harness.Testdata(t, "lab/zaqar/read.py"), base, name, string(asked))
	var errs bytes.Buffer
	cmd.Stderr = &errs
	raw, err := cmd.Output()
	if err != nil {
		t.Fatalf("zaqarclient: %v: %s", err, errs.String())
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatalf("zaqarclient: %v: %s", err, raw)
	}
	return out
}

func noAuth(project string) map[string]any {
	return map[string]any{"backend": "noauth", "options": map[string]any{"os_project_id": project}}
}

func keystoneAuth(t *testing.T, user, project string) map[string]any {
	return map[string]any{"backend": "keystone", "options": map[string]any{
		"os_auth_url": harness.Need(t, "FRESNEL_TEST_KEYSTONE"), "os_username": user, "os_password": user + "-pass", "os_project_name": project,
		"os_user_domain_name": "Default", "os_project_domain_name": "Default",
	}}
}

func allDelivered(t *testing.T, got map[string]string) {
	t.Helper()
	for id, outcome := range got {
		if outcome != "delivered" {
			t.Errorf("%s: %s", id, outcome)
		}
	}
}

func TestRealZaqarKeepsWhatWasPosted(t *testing.T) {
	base, name := harness.Need(t, "FRESNEL_TEST_ZAQAR"), unique(t)
	var ids []string
	for i := range 45 {
		ids = append(ids, fmt.Sprintf("e%02d", i))
	}
	req := forProject(batch(t, queue(base, name, map[string]string{"auth": "none", "project": "p1"}, ""), "info", ids...), "p1")
	for i, d := range req.GetDeliveries() {
		if i%2 == 0 {
			d.Expires = timestamppb.New(time.Now().Add(10 * time.Minute))
		}
	}
	allDelivered(t, attempt(t, zaqarPublisher(t), req))
	var got []string
	for i, m := range readQueue(t, base, name, noAuth("p1")) {
		got = append(got, m.Body.ID)
		if want := map[bool]int{true: 600, false: 3600}[i%2 == 0]; m.TTL > want || m.TTL < want-30 || m.Body.Data.ID != m.Body.ID {
			t.Errorf("message %d = %+v, want a life of %d s", i, m, want)
		}
	}
	if diff := cmp.Diff(ids, got); diff != "" {
		t.Error(diff)
	}
	if others := readQueue(t, base, name, noAuth("p2")); len(others) > 0 {
		t.Errorf("project p2 reads %d messages", len(others))
	}
}

func TestRealZaqarGetsLargeEventsThinAndNoForeignOnes(t *testing.T) {
	base, name := harness.Need(t, "FRESNEL_TEST_ZAQAR"), unique(t)
	to := queue(base, name, map[string]string{"auth": "none", "project": "p1"}, "")
	req := forProject(batch(t, to, "info", "small", "large", "huge", "foreign", "last"), "p1")
	large := func(i, size int) {
		var c change.Change
		d := req.GetDeliveries()[i]
		if err := json.Unmarshal(d.GetEvent().GetData(), &c); err != nil {
			t.Fatal(err)
		}
		c.Document = json.RawMessage(`{"name":"` + strings.Repeat("x", size) + `"}`)
		data, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		d.Event.Data = data
	}
	large(1, 261_000) // just fits
	large(2, 300_000)
	req.GetDeliveries()[3].Event.Attributes["audience"] = "p2"
	got := attempt(t, zaqarPublisher(t), req)
	if !strings.HasPrefix(got["foreign"], "rejected foreign_project") {
		t.Errorf("a foreign event: %s", got["foreign"])
	}
	delete(got, "foreign")
	allDelivered(t, got)
	var ids []string
	for _, m := range readQueue(t, base, name, noAuth("p1")) {
		ids = append(ids, m.Body.ID)
		if thin := m.Body.ID == "huge"; m.Body.Data.Truncated != thin || (m.Body.Data.Document == nil) != thin || m.Body.Data.Resource.Href == "" {
			t.Errorf("%s is thin: %v", m.Body.ID, m.Body.Data.Truncated)
		}
	}
	if diff := cmp.Diff([]string{"small", "large", "huge", "last"}, ids); diff != "" {
		t.Error(diff)
	}
}

// share asks Zaqar for a pre-signed URL, as a tenant would.
func share(t *testing.T, base, name, project, methods string) string {
	t.Helper()
	body := fmt.Sprintf(`{"paths":["messages"],"methods":[%q]}`, methods)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/v2/queues/"+name+"/share", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"X-Project-Id": {project}, "Client-Id": {"00000000-0000-4000-8000-000000000002"}, "Content-Type": {"application/json"}, "Accept": {"application/json"}}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("share: %d %s, %v", resp.StatusCode, raw, err)
	}
	return string(raw)
}

// The Zaqar that shares knows no passwords; the one that is posted to wants a token
// from whoever has no signature.
func TestRealPreSignedURLNeedsNoPassword(t *testing.T) {
	shares, posts := harness.Need(t, "FRESNEL_TEST_ZAQAR"), harness.Need(t, "FRESNEL_TEST_ZAQAR_KEYSTONE")
	name, p := unique(t), zaqarPublisher(t)
	signed := map[string]string{"auth": "signed"}
	good := share(t, shares, name, "p1", "POST")
	allDelivered(t, attempt(t, p, forProject(batch(t, queue(posts, name, signed, good), "info", "a"), "p1")))
	if got := readQueue(t, shares, name, noAuth("p1")); len(got) != 1 || got[0].Body.ID != "a" {
		t.Errorf("the queue holds %+v", got)
	}
	forged := strings.Replace(good, `"signature": "`, `"signature": "00`, 1)
	for what, c := range map[string]struct{ secret, audience, want string }{
		"a forged signature":     {forged, "p1", "retry signature_refused SCOPE_DESTINATION"},
		"another project's":      {share(t, shares, name, "p2", "POST"), "p1", "rejected foreign_project"},
		"one that is to be read": {share(t, shares, name, "p1", "GET"), "p1", "rejected bad_secret"},
		"another queue's":        {share(t, shares, name+"x", "p1", "POST"), "p1", "rejected bad_secret"},
	} {
		got := attempt(t, p, forProject(batch(t, queue(posts, name, signed, c.secret), "info", "b"), c.audience))["b"]
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s, want %s", what, got, c.want)
		}
	}
	for _, project := range []string{"p1", "p2"} {
		if got := readQueue(t, shares, name, noAuth(project)); len(got) > 1 || project == "p2" && len(got) > 0 {
			t.Errorf("the queue of %s holds %d messages", project, len(got))
		}
	}
}

func TestRealKeystoneLetsIn(t *testing.T) {
	base, auth, name := harness.Need(t, "FRESNEL_TEST_ZAQAR_KEYSTONE"), harness.Need(t, "FRESNEL_TEST_KEYSTONE"), unique(t)
	demo, other := harness.Need(t, "FRESNEL_TEST_KEYSTONE_DEMO"), harness.Need(t, "FRESNEL_TEST_KEYSTONE_OTHER")
	options := func(user, project string) map[string]string {
		return map[string]string{"auth": "keystone", "auth_url": auth, "username": user, "project": project}
	}
	p := zaqarPublisher(t)
	to := queue(base, name, options("demo", demo), "demo-pass")
	for _, id := range []string{"a", "b"} {
		allDelivered(t, attempt(t, p, forProject(batch(t, to, "info", id), demo)))
	}
	for what, c := range map[string]struct {
		to       *publisherv1.Destination
		audience string
		want     string
	}{
		"a wrong password":               {queue(base, name, options("demo", demo), "wrong"), demo, "retry keystone_http_401 SCOPE_DESTINATION"},
		"a project that is not theirs":   {queue(base, name, options("demo", other), "demo-pass"), other, "retry keystone_http_401 SCOPE_DESTINATION"},
		"an event of another project":    {to, other, "rejected foreign_project"},
		"a Zaqar that wants a token":     {queue(base, name, map[string]string{"auth": "none", "project": demo}, ""), demo, "retry http_401 SCOPE_DESTINATION"},
		"a Keystone that is not at home": {queue(base, name, map[string]string{"auth": "keystone", "auth_url": "http://127.0.0.1:1/v3", "username": "u", "project": demo}, ""), demo, "retry keystone_"},
	} {
		if got := attempt(t, p, forProject(batch(t, c.to, "info", "c"), c.audience))["c"]; !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s, want %s", what, got, c.want)
		}
	}
	var ids []string
	for _, m := range readQueue(t, base, name, keystoneAuth(t, "demo", "demo")) {
		ids = append(ids, m.Body.ID)
	}
	if diff := cmp.Diff([]string{"a", "b"}, ids); diff != "" {
		t.Error(diff)
	}
	if got := readQueue(t, base, name, keystoneAuth(t, "other", "other")); len(got) > 0 {
		t.Errorf("project other reads %d messages", len(got))
	}
}

// A token that Keystone has revoked is replaced within the attempt.
func TestRealTokenThatWasRevokedIsReplaced(t *testing.T) {
	base, auth, demo := harness.Need(t, "FRESNEL_TEST_ZAQAR_KEYSTONE"), harness.Need(t, "FRESNEL_TEST_KEYSTONE"), harness.Need(t, "FRESNEL_TEST_KEYSTONE_DEMO")
	p, name := zaqarPublisher(t), unique(t)
	// The proxy spoils the first token, so that Zaqar refuses it.
	refused := 0
	spoil := proxy(t, base, func(r *http.Request) {
		if refused == 0 {
			refused++
			r.Header.Set("X-Auth-Token", "gAAAAAB-not-a-token")
		}
	})
	to := queue(spoil, name, map[string]string{"auth": "keystone", "auth_url": auth, "username": "demo", "project": demo}, "demo-pass")
	allDelivered(t, attempt(t, p, forProject(batch(t, to, "info", "a"), demo)))
	if got := readQueue(t, base, name, keystoneAuth(t, "demo", "demo")); len(got) != 1 || refused != 1 {
		t.Errorf("%d messages after %d refusals", len(got), refused)
	}
}

// Without its Redis a Zaqar answers nobody for minutes.
func TestRealZaqarThatHangsCostsOneAttempt(t *testing.T) {
	base, name := harness.Need(t, "FRESNEL_TEST_ZAQAR"), unique(t)
	to := queue(base, name, map[string]string{"auth": "none", "project": "p1"}, "")
	p := zaqarPublisher(t)
	allDelivered(t, attempt(t, p, forProject(batch(t, to, "info", "before"), "p1")))
	lab(t, "zaqar.sh", "redis", "stop")
	t.Cleanup(func() { lab(t, "zaqar.sh", "redis", "start") })
	begin := time.Now()
	got := attempt(t, p, forProject(batch(t, to, "info", "during"), "p1"))["during"]
	if took := time.Since(begin); !strings.HasPrefix(got, "retry ") || took > 12*time.Second {
		t.Errorf("%s after %s", got, took)
	}
	lab(t, "zaqar.sh", "redis", "start")
	harness.Eventually(t, "Zaqar takes messages again", func() error {
		if got := attempt(t, p, forProject(batch(t, to, "info", "during"), "p1"))["during"]; got != "delivered" {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
}
