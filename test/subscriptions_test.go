package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/test/acceptance"
	"github.com/fresnel-search/fresnel/test/harness"
)

// tenant is one of the projects of the recorded day.
const tenant = "e350e230c9f543cdb5dedae939e6df6e"

// filters are subscriptions and what each of them must let through of what a
// subscription to everything, in the tenants' form, is sent.
var filters = map[string]struct {
	filter string
	wants  func(change.Change) bool
}{
	"types": {
		`types: ["OS::Cinder::*", "OS::Neutron::Subnet"]`,
		func(c change.Change) bool {
			return strings.HasPrefix(c.Resource.Type, "OS::Cinder::") || c.Resource.Type == "OS::Neutron::Subnet"
		},
	},
	"actions": {`actions: [deleted]`, func(c change.Change) bool { return c.Action == change.Deleted }},
	"events": {
		`event_types: ["port.*", "*.delete.end"]`,
		func(c change.Change) bool {
			return strings.HasPrefix(c.Cause.EventType, "port.") || strings.HasSuffix(c.Cause.EventType, ".delete.end")
		},
	},
	"priority": {
		`min_priority: error`,
		func(c change.Change) bool {
			return slices.Contains([]string{"error", "critical"}, strings.ToLower(c.Cause.Priority))
		},
	},
}

// subscribe makes a configuration of subscriptions, each with a receiver.
func subscribe(t *testing.T, subscriptions map[string]string) (config string, receivers map[string]*harness.Receiver) {
	t.Helper()
	var b strings.Builder
	b.WriteString("\nsearchapi: {listen: SEARCH_ADDR, identity: {mode: static, tokens_file: tokens.yaml}}\n" +
		"listener: {kafka: {embedded: {listen: KAFKA_ADDR}}}\n" +
		"publishers:\n  outbound: {allow: [\"127.0.0.0/8\"]}\n  subscriptions:\n")
	receivers = map[string]*harness.Receiver{}
	for name, rest := range subscriptions {
		receivers[name] = harness.NewReceiver(t)
		fmt.Fprintf(&b, "    - {name: %s, publisher: webhook, destination: %q, secret: %q, %s}\n",
			name, receivers[name].URL, harness.Secret, rest)
	}
	return b.String(), receivers
}

// TestSubscriptionsGetWhatTheyAskForAndMaySee plays the day to subscriptions of every
// kind: what a filter lets through is what it says, and a project is told of exactly
// what its token finds.
func TestSubscriptionsGetWhatTheyAskForAndMaySee(t *testing.T) {
	t.Parallel()
	subscriptions := map[string]string{
		"operator": `admin_fields: true`,
		"everyone": `filter: {projects: ["*"]}`,
		"tenant":   `filter: {projects: ["` + tenant + `"]}`,
	}
	for name, f := range filters {
		subscriptions[name] = `filter: {` + f.filter + `}`
	}
	config, receivers := subscribe(t, subscriptions)
	s := harness.New(t, config)
	s.File("tokens.yaml", acceptance.TokenEntry("root", "admin", "adminproject", "admin")+acceptance.TokenEntry("mine", "me", tenant, "member"))
	s.Start()
	s.Play("day")
	// Whether the day's few errors change anything depends on what came before them.
	worse := acceptance.Notify("notifications.error", "image.create", time.Now(), acceptance.Image("worse", "worse", nil))
	worse.Value = bytes.Replace(worse.Value, []byte(`\"INFO\"`), []byte(`\"ERROR\"`), 1)
	if err := harness.Produce(t.Context(), s.Kafka, []stream.Record{worse}); err != nil {
		t.Fatal(err)
	}
	acceptance.Settled(t, s, acceptance.Count(t, "day")+1, "root")
	acceptance.AllDelivered(t, s, "root")
	got := map[string][]harness.Delivery{}
	for name, r := range receivers {
		got[name] = r.Deliveries()
		if errs := r.Errors(); len(errs) > 0 {
			t.Errorf("%s: %d deliveries are wrong: %s", name, len(errs), errs[0])
		}
	}
	for name, f := range filters {
		var want []string
		for _, d := range got["everyone"] {
			if f.wants(d.Change) {
				want = append(want, d.ID)
			}
		}
		if len(want) == 0 || len(want) == len(got["everyone"]) {
			t.Errorf("%s lets %d of %d through: nothing is tested", name, len(want), len(got["everyone"]))
		}
		if d := cmp.Diff(sorted(want), sorted(ids(got[name]))); d != "" {
			t.Errorf("%s {%s} (-want +got):\n%.1000s", name, f.filter, d)
		}
	}
	for _, name := range []string{"operator", "everyone", "tenant"} {
		gapless(t, name, got[name])
		fitsTheContract(t, got[name])
	}
	if *update {
		if err := rewriteExample(got["everyone"]); err != nil {
			t.Error(err)
		}
	}
	tellsAll(t, got["operator"])
	told(t, s, got["tenant"], "mine")
	told(t, s, got["operator"], "root")
}

func ids(ds []harness.Delivery) (ids []string) {
	for _, d := range ds {
		ids = append(ids, d.ID)
	}
	return ids
}

func sorted(ids []string) []string {
	slices.Sort(ids)
	return slices.Compact(ids)
}

// gapless checks the revisions of each resource as one subscription is told them.
func gapless(t *testing.T, name string, ds []harness.Delivery) {
	t.Helper()
	last, seen := map[change.Resource]int64{}, map[string]bool{}
	for _, d := range ds {
		c := d.Change
		if c.Action == change.Event || seen[d.ID] {
			continue
		}
		seen[d.ID] = true
		was, known := last[c.Resource]
		next := c.Revision == was+1 || c.Action == change.Created && !known
		if lost := c.Action == change.Deleted && c.Document == nil; lost {
			next = known && c.Revision == was // sight is lost at the revision that was seen last
			delete(last, c.Resource)
		} else {
			last[c.Resource] = c.Revision
		}
		unseen := c.Action == change.Deleted && !known && c.Revision == 1 // heard of by its delete
		if !next && !unseen {
			t.Errorf("%s: %s/%s %s has revision %d after %d", name, c.Resource.Type, c.Resource.ID, c.Action, c.Revision, was)
		}
	}
}

// changeSchema is the compiled schema of a change, as receivers are given it.
var changeSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(change.Schema))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(change.DataSchema, doc); err != nil {
		return nil, err
	}
	return c.Compile(change.DataSchema)
})

// isChange holds JSON against the schema and decodes it as strictly as can be.
func isChange(data []byte) (c change.Change, err error) {
	s, err := changeSchema()
	if err != nil {
		return c, err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return c, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return c, errors.Join(s.Validate(v), dec.Decode(&c))
}

// fitsTheContract checks every delivery's envelope and data.
func fitsTheContract(t *testing.T, ds []harness.Delivery) {
	t.Helper()
	for _, d := range ds {
		var event struct {
			DataSchema      string          `json:"dataschema"`
			DataContentType string          `json:"datacontenttype"`
			Source          string          `json:"source"`
			Subject         string          `json:"subject"`
			Time            time.Time       `json:"time"`
			Data            json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal([]byte(d.Body), &event); err != nil {
			t.Fatal(err)
		}
		c := d.Change
		if event.DataSchema != change.DataSchema || event.DataContentType != "application/json" || event.Source == "" ||
			event.Subject != c.Resource.Type+"/"+c.Resource.ID || !event.Time.Equal(c.Time) {
			t.Fatalf("the envelope does not fit its data: %s", d.Body)
		}
		if _, err := isChange(event.Data); err != nil {
			t.Fatalf("%v: %s", err, event.Data)
		}
		for _, name := range c.Changed {
			if c.Action == change.Created {
				t.Errorf("a created resource has changed %s", name)
			}
		}
		for name := range c.Before {
			if !slices.Contains(c.Changed, name) {
				t.Errorf("%s/%s: before holds %s, which has not changed", c.Resource.Type, c.Resource.ID, name)
			}
		}
	}
}

// tellsAll checks that every member of the contract is seen among the deliveries, and
// that what a parent takes along is told with its cause.
func tellsAll(t *testing.T, ds []harness.Delivery) {
	t.Helper()
	seen := map[string]bool{}
	taken := 0
	for _, d := range ds {
		var event struct{ Data map[string]any }
		if err := json.Unmarshal([]byte(d.Body), &event); err != nil {
			t.Fatal(err)
		}
		for name := range event.Data {
			seen[name] = true
		}
		cause, _ := event.Data["cause"].(map[string]any)
		for name := range cause {
			seen["cause."+name] = true
		}
		if c := d.Change; c.Action == change.Deleted && c.Cause.Kind == change.ByCascade && c.Resource.Type == "OS::Neutron::Subnet" {
			taken++
		}
	}
	for _, name := range []string{
		"id", "action", "resource", "revision", "lineage", "time", "project", "changed", "before", "document", "cause",
		"cause.kind", "cause.event_type", "cause.priority", "cause.publisher_id", "cause.timestamp", "cause.message_id",
		"cause.request_id", "cause.initiator_user", "cause.initiator_project",
	} {
		if !seen[name] {
			t.Errorf("no delivery tells %s", name)
		}
	}
	if taken == 0 {
		t.Error("no subnet was taken along by its network")
	}
}

// told checks that what a subscription was last told of each resource is what a
// token of the same eyes finds now.
func told(t *testing.T, s *harness.Server, ds []harness.Delivery, token string) {
	t.Helper()
	last := map[string]change.Change{}
	for _, d := range ds {
		if c := d.Change; c.Action == change.Deleted {
			delete(last, c.Resource.Type+"/"+c.Resource.ID)
		} else if c.Action != change.Event {
			last[c.Resource.Type+"/"+c.Resource.ID] = c
		}
	}
	found := acceptance.Dump(t, s, token)
	if len(found) == 0 {
		t.Errorf("the token %s finds nothing", token)
	}
	for key, c := range last {
		d, ok := found[key]
		if !ok {
			t.Errorf("%s was told of %s and does not find it", token, key)
			continue
		}
		var doc map[string]any
		if err := json.Unmarshal(c.Document, &doc); err != nil {
			t.Fatal(err)
		}
		delete(doc, "readers") // operators' deliveries show them
		if diff := cmp.Diff(doc, d.Source); diff != "" {
			t.Errorf("%s %s (-told +found):\n%.1000s", token, key, diff)
		}
	}
	for key := range found {
		if _, ok := last[key]; !ok {
			t.Errorf("%s finds %s and was not told", token, key)
		}
	}
}

// patient is a receiver that refuses each delivery once and says when to come again.
type patient struct {
	after time.Duration

	mu      sync.Mutex
	refused map[string]time.Time
	bodies  map[string]string
	early   []string
	taken   map[string]bool
}

func (p *patient) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body bytes.Buffer
	if _, err := body.ReadFrom(r.Body); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	id := r.Header.Get("webhook-id")
	at, again := p.refused[id]
	if !again {
		p.refused[id], p.bodies[id] = time.Now(), body.String()
		w.Header().Set("Retry-After", fmt.Sprint(int(p.after/time.Second)))
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if wait := time.Since(at); wait < p.after-100*time.Millisecond || p.bodies[id] != body.String() {
		p.early = append(p.early, fmt.Sprintf("%s after %s, with the same bytes: %t", id, wait, p.bodies[id] == body.String()))
	}
	p.taken[id] = true
	w.WriteHeader(http.StatusNoContent)
}

func (p *patient) counts() (refused, taken int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.refused), len(p.taken)
}

// pluginsIn are the processes that work in a folder.
func pluginsIn(dir string) (pids []string) {
	cwds, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		return nil
	}
	for _, link := range cwds {
		if cwd, err := os.Readlink(link); err == nil && strings.HasPrefix(cwd, dir) {
			pids = append(pids, filepath.Base(filepath.Dir(link)))
		}
	}
	return pids
}

// TestParkedDeliveriesAndNoPluginOutliveTheServer: deliveries that wait for their next
// attempt are made after a kill -9, not before the receiver wanted them, and whichever
// way the server ends its plugins end too.
func TestParkedDeliveriesAndNoPluginOutliveTheServer(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc to look for processes")
	}
	p := &patient{after: 4 * time.Second, refused: map[string]time.Time{}, bodies: map[string]string{}, taken: map[string]bool{}}
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	run, err := os.MkdirTemp("", "fresnel-run-") //nolint:usetesting // a short name: sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(run); err != nil {
			t.Error(err)
		}
	})
	s := harness.New(t, fmt.Sprintf(`
searchapi: {listen: SEARCH_ADDR, identity: {mode: none}}
listener: {kafka: {embedded: {listen: KAFKA_ADDR}}}
publishers:
  run_dir: %q
  outbound: {allow: ["127.0.0.0/8"]}
  retry: {schedule: [0s, 10ms, 10ms, 10ms, 10ms, 10ms], probe_max: 100ms}
  plugins: {broken: {path: /bin/sh, args: ["-c", "echo a plugin that cannot start >&2; exit 3"]}}
  subscriptions:
    - {name: waiting, publisher: webhook, destination: %q, filter: {types: ["OS::Cinder::VolumeType"]}}
    - {name: never, publisher: broken, destination: "broken:"}
`, run, srv.URL))
	s.Start() // a plugin that does not start keeps nothing else from working
	s.Play("notifications/cinder.jsonl.gz")
	acceptance.Settled(t, s, acceptance.Count(t, "notifications/cinder.jsonl.gz"), "")
	s.Eventually("deliveries are parked", func() error {
		if refused, _ := p.counts(); refused < 2 {
			return fmt.Errorf("%d refused", refused)
		}
		var a struct{ Subscriptions []struct{ Parked int64 } }
		if err := s.Get("/v1/admin/subscriptions", &a); err != nil || a.Subscriptions[0].Parked < 2 {
			return fmt.Errorf("%+v, %w", a, err)
		}
		return nil
	})
	if len(pluginsIn(run)) == 0 {
		t.Error("there is no plugin to look for")
	}
	gone := func(how string) {
		t.Helper()
		s.Eventually("no plugin is left after "+how, func() error {
			if pids := pluginsIn(run); len(pids) > 0 {
				return fmt.Errorf("processes %v", pids)
			}
			return nil
		})
	}
	s.Kill()
	gone("kill -9")
	s.Start()
	s.Eventually("what was parked is delivered", func() error {
		var a struct {
			Subscriptions []struct {
				Lag, Parked int64
				Counters    map[string]int64
			}
		}
		if err := s.Get("/v1/admin/subscriptions", &a); err != nil {
			return err
		}
		if s := a.Subscriptions[0]; s.Lag != 0 || s.Parked != 0 || s.Counters["open"] != 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	if refused, taken := p.counts(); refused != taken {
		t.Errorf("%d of %d deliveries were made again", taken, refused)
	}
	if len(p.early) > 0 {
		t.Errorf("attempts that do not honour Retry-After: %v", p.early)
	}
	if code, _ := s.Stop(); code != 0 {
		t.Errorf("SIGTERM: exit code %d", code)
	}
	gone("SIGTERM")
	if out := s.Output(); !strings.Contains(out, "a plugin that cannot start") {
		t.Error("what the broken plugin said is not in the log")
	}
}
