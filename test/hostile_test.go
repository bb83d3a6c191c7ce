package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/test/acceptance"
	"github.com/fresnel-search/fresnel/test/harness"
)

// sink takes deliveries and notes what a witness misses among them, those that do not
// verify, and those that come out of order.
type sink struct {
	*httptest.Server
	mu      sync.Mutex
	verify  []string // each must verify; without any nothing is verified
	refuse  bool     // new deliveries, once each
	count   map[string]int
	newest  map[change.Resource]int64
	wrong   []string
	witness change.Witness
}

func newSink(t *testing.T, secrets ...string) *sink {
	t.Helper()
	s := &sink{verify: secrets, count: map[string]int{}, newest: map[change.Resource]int64{}, witness: change.Witness{FromStart: true}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.take))
	t.Cleanup(s.Close)
	return s
}

func (s *sink) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // it broke off
	}
	var event struct {
		Data   change.Change
		Missed string
	}
	err = json.Unmarshal(body, &event)
	missed, err2 := change.ParseMissed(event.Missed)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range s.verify {
		hook, err3 := standardwebhooks.NewWebhook(secret)
		err = errors.Join(err, err3, hook.Verify(body, r.Header))
	}
	id := r.Header.Get("Webhook-Id")
	if err = errors.Join(err, err2); err != nil {
		s.wrong = append(s.wrong, id+": "+err.Error())
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if s.count[id]++; s.refuse && s.count[id] == 1 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	c := event.Data
	if c.Action != change.Event && s.count[id] == 1 && c.Revision < s.newest[c.Resource] {
		s.wrong = append(s.wrong, fmt.Sprintf("%s: revision %d after %d", id, c.Revision, s.newest[c.Resource]))
	}
	s.newest[c.Resource] = max(s.newest[c.Resource], c.Revision)
	s.wrong = append(s.wrong, s.witness.See(c, missed)...)
}

// sound reports what was wrong so far, and returns how many deliveries came, and how
// many of them more than once.
func (s *sink) sound(t *testing.T, name string) (came, again int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, what := range s.wrong {
		t.Errorf("%s: %s", name, what)
	}
	for _, n := range s.count {
		if n > 1 {
			again++
		}
	}
	return len(s.count), again
}

// TestHostilePluginLosesNothingAndDisturbsNoOther has a real plugin process commit all
// that a plugin can while the day is delivered through it.
func TestHostilePluginLosesNothingAndDisturbsNoOther(t *testing.T) {
	t.Parallel()
	crimes := t.TempDir()
	list := []string{"garbage", "panic", "crash", "flood", "hang", "exit", "deadlock", "eat", "freeze"}
	for i, crime := range list {
		if err := os.WriteFile(filepath.Join(crimes, fmt.Sprint(i, "-", crime)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(t.TempDir(), "hostile")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./testdata/hostile")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	victim, other := newSink(t), newSink(t, harness.Secret)
	s := harness.New(t, fmt.Sprintf(`
searchapi: {listen: SEARCH_ADDR, identity: {mode: none}}
listener: {kafka: {embedded: {listen: KAFKA_ADDR}}}
publishers:
  outbound: {allow: ["127.0.0.0/8"]}
  attempt_timeout: 3s
  health_interval: 1s
  retry: {schedule: [0s, 100ms, 200ms, 400ms, 800ms, 1s, 1s, 1s, 1s, 1s, 1s, 1s]}
  plugins: {hostile: {path: %q, schemes: [hostile], limits: {memory: 268435456}, config: {crimes: %q}}}
  subscriptions:
    - {name: victim, destination: %q}
    - {name: other, destination: %q, secret: %q}
`, program, crimes, "hostile"+strings.TrimPrefix(victim.URL, "http"), other.URL, harness.Secret)).Start()
	pid := s.PID()
	s.Play("notifications")
	acceptance.Settled(t, s, acceptance.Count(t, "notifications"), "")
	acceptance.AllDelivered(t, s, "")
	if left, err := os.ReadDir(crimes); err != nil || len(left) > 0 {
		t.Errorf("nothing is tested of %v, %v", left, err)
	}
	victims, _ := victim.sound(t, "victim")
	others, again := other.sound(t, "other")
	if victims != others || others == 0 || again > 0 {
		t.Errorf("the victim got %d, the other %d, of them %d again", victims, others, again)
	}
	var dead struct {
		Deliveries []json.RawMessage `json:"deliveries"`
	}
	if err := s.Get("/v1/admin/deliveries?state=dead", &dead); err != nil || len(dead.Deliveries) > 0 {
		t.Errorf("dead letters %s, %v", dead.Deliveries, err)
	}
	var info struct{ Plugin struct{ State, Restarts any } }
	if err := s.Get("/v1/admin/plugins/hostile", &info); err != nil || info.Plugin.State != "ready" {
		t.Errorf("the plugin is %+v, %v", info, err)
	}
	t.Logf("%d deliveries, %v restarts", victims, info.Plugin.Restarts)
	if s.PID() != pid {
		t.Error("the server was restarted")
	}
}

// TestSecretIsRotatedWithoutARejectedDelivery rotates in the configuration, with
// deliveries under way that are tried again: during the overlap whoever has either
// secret verifies, and afterwards the old one proves nothing.
func TestSecretIsRotatedWithoutARejectedDelivery(t *testing.T) {
	t.Parallel()
	const old, young = harness.Secret, "whsec_bmV3LXRlc3Qtc2VjcmV0LTEyMzQ1Njc4OTA="
	r := newSink(t, old)
	r.refuse = true
	config := func(rest string) string {
		return fmt.Sprintf(`
searchapi: {listen: SEARCH_ADDR, identity: {mode: none}}
listener: {kafka: {embedded: {listen: KAFKA_ADDR}}}
publishers:
  outbound: {allow: ["127.0.0.0/8"]}
  retry: {schedule: [0s, 2s, 2s, 2s, 2s, 2s, 2s, 2s, 2s, 2s, 2s, 2s, 2s, 2s, 2s, 2s]}
  subscriptions:
    - {name: it, publisher: webhook, destination: %q, %s}
`, r.URL, rest)
	}
	s := harness.New(t, config(fmt.Sprintf("secret: %q", old))).Start()
	played := 0
	for i, stage := range []struct {
		config, recording string
		verify            []string
	}{
		{"", "glance", []string{old}},
		{fmt.Sprintf("secret: %q, secrets: {previous_secret: %q}, options: {previous_secret_until: %q}", young, old,
			time.Now().Add(time.Hour).Format(time.RFC3339)), "cinder", []string{old, young}},
		{fmt.Sprintf("secret: %q, secrets: {previous_secret: %q}, options: {previous_secret_until: %q}", young, old,
			time.Now().Add(-time.Hour).Format(time.RFC3339)), "ironic", []string{young}},
	} {
		if stage.config != "" {
			if code, _ := s.Stop(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			r.mu.Lock()
			r.verify = stage.verify
			r.mu.Unlock()
			s.Configure(config(stage.config))
			s.Start()
		}
		recording := "notifications/" + stage.recording + ".jsonl.gz"
		s.Play(recording)
		played += acceptance.Count(t, recording)
		acceptance.Settled(t, s, played, "")
		before, _ := r.sound(t, "until then")
		if i == 1 && before == 0 {
			t.Error("no delivery was under way")
		}
	}
	acceptance.AllDelivered(t, s, "")
	came, again := r.sound(t, "in the end")
	if came == 0 || again != came {
		t.Errorf("%d came, %d of them again", came, again)
	}
	r.mu.Lock()
	r.verify, r.refuse = []string{old}, false
	r.mu.Unlock()
	s.Play("notifications/neutron.jsonl.gz")
	s.Eventually("the old secret verifies nothing any more", func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.wrong) == 0 {
			return errors.New("nothing was refused")
		}
		return nil
	})
}
