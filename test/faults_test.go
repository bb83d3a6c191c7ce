package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/cmd/fresnel/play"
	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/test/acceptance"
	"github.com/fresnel-search/fresnel/test/harness"
	"github.com/fresnel-search/fresnel/test/oracle"
)

func TestErrorRecordOvertakesABacklog(t *testing.T) {
	t.Parallel()
	s := harness.New(t, acceptance.Admin)
	hold := s.File("hold", "")
	s.Start("FRESNEL_HOLD_INDEXER=" + hold)
	urgent := func(id string) stream.Record {
		return acceptance.Notify("notifications.error", "image.create", time.Now(), acceptance.Image(id, id, nil))
	}
	if err := harness.Produce(t.Context(), s.Kafka, []stream.Record{urgent("early")}); err != nil { // makes the topic
		t.Fatal(err)
	}
	f := startFlood(t, s.Kafka, &flood{topic: "notifications.info", n: backlogRecords, padding: 20})
	<-f.done
	if err := os.Remove(hold); err != nil {
		t.Fatal(err)
	}
	s.Eventually("the backlog is being worked on", func() error { // past what was at hand while held
		var b acceptance.Books
		if err := s.Get("/v1/admin/books", &b); err != nil {
			return err
		}
		if n := b.Books["indexer"].Input; n < backlogRecords/3 {
			return fmt.Errorf("%d of %d mutations folded", n, backlogRecords)
		}
		return nil
	})
	begin := time.Now()
	if err := harness.Produce(t.Context(), s.Kafka, []stream.Record{urgent("late")}); err != nil {
		t.Fatal(err)
	}
	s.Eventually("the error record is searchable", func() error { _, err := acceptance.One(s, acceptance.ImageType, "late"); return err })
	took := time.Since(begin)
	var b acceptance.Books
	if err := s.Get("/v1/admin/books", &b); err != nil {
		t.Fatal(err)
	}
	left := backlogRecords - b.Books["indexer"].Input
	t.Logf("searchable after %s, with %d of %d records of the backlog still to be folded", took.Round(time.Millisecond), left, backlogRecords)
	if left < backlogRecords/10 { // where the machine has nothing else to do it takes less than a second
		t.Errorf("the error record waited for the backlog: %d of %d records are left", left, backlogRecords)
	}
	acceptance.Settled(t, s, backlogRecords+2, "")
}

// endpoint is a destination that misbehaves: it answers each delivery, given how
// often the delivery came before, and counts.
type endpoint struct {
	*httptest.Server
	mu     sync.Mutex
	times  map[string][]time.Time // of each delivery's attempts
	taken  map[string]time.Time
	change map[string]change.Change
}

func newEndpoint(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, before int) int) *endpoint {
	t.Helper()
	e := &endpoint{times: map[string][]time.Time{}, taken: map[string]time.Time{}, change: map[string]change.Change{}}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("webhook-id")
		var event struct{ Data change.Change }
		if b, err := io.ReadAll(r.Body); err != nil || json.Unmarshal(b, &event) != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		e.mu.Lock()
		before := len(e.times[id])
		e.times[id] = append(e.times[id], time.Now())
		e.change[id] = event.Data
		e.mu.Unlock()
		status := answer(w, r, before)
		if status == http.StatusNoContent {
			e.mu.Lock()
			e.taken[id] = time.Now()
			e.mu.Unlock()
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(e.Close)
	return e
}

// counts are the deliveries that came, those taken, and all attempts.
func (e *endpoint) counts() (came, taken, attempts int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, at := range e.times {
		attempts += len(at)
	}
	return len(e.times), len(e.taken), attempts
}

// standing is how a subscription does, as the CLI shows it.
type standing struct {
	Name, State, Reason string
	Lag, Parked         int
}

func standings(t *testing.T, s *harness.Server) map[string]standing {
	t.Helper()
	var a struct{ Subscriptions []standing }
	if err := json.Unmarshal([]byte(s.MustRun("subscriptions", "list", "--json")), &a); err != nil {
		t.Fatal(err)
	}
	all := map[string]standing{}
	for _, st := range a.Subscriptions {
		all[st.Name] = st
	}
	return all
}

// webhooks is a configuration of subscriptions by name and destination.
func webhooks(to map[string]string) string {
	var b strings.Builder
	b.WriteString(`
searchapi: {listen: SEARCH_ADDR, identity: {mode: none}}
listener: {kafka: {embedded: {listen: KAFKA_ADDR}}}
publishers:
  attempt_timeout: 1s
  outbound: {allow: ["127.0.0.0/8"]}
  retry: {schedule: [0s, 100ms, 100ms, 100ms, 100ms, 100ms, 100ms, 100ms, 10m], probe_max: 200ms}
  subscriptions:
`)
	for name, uri := range to {
		fmt.Fprintf(&b, "    - {name: %s, publisher: webhook, destination: %q, secret: %q}\n", name, uri, harness.Secret)
	}
	return b.String()
}

func TestDestinationsThatMisbehaveAreDealtWithAndDelayNoOther(t *testing.T) {
	t.Parallel()
	const resources = 10
	first := func(status int, header ...string) func(http.ResponseWriter, *http.Request, int) int {
		return func(w http.ResponseWriter, _ *http.Request, before int) int {
			if before > 0 {
				return http.StatusNoContent
			}
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			return status
		}
	}
	var back struct {
		sync.Mutex
		is bool
	}
	ends := map[string]*endpoint{
		"healthy": newEndpoint(t, first(http.StatusNoContent)),
		"flaky":   newEndpoint(t, first(http.StatusInternalServerError)),
		"limited": newEndpoint(t, first(http.StatusTooManyRequests, "Retry-After", "2")),
		"picky":   newEndpoint(t, func(http.ResponseWriter, *http.Request, int) int { return http.StatusBadRequest }),
		"moved": newEndpoint(t, func(w http.ResponseWriter, _ *http.Request, _ int) int {
			w.Header().Set("Location", "http://169.254.169.254/latest/meta-data/")
			return http.StatusMovedPermanently
		}),
		"hanging": newEndpoint(t, func(_ http.ResponseWriter, r *http.Request, before int) int {
			if before == 0 {
				<-r.Context().Done()
				return http.StatusGatewayTimeout
			}
			return http.StatusNoContent
		}),
		"gone": newEndpoint(t, func(http.ResponseWriter, *http.Request, int) int {
			back.Lock()
			defer back.Unlock()
			if back.is {
				return http.StatusNoContent
			}
			return http.StatusGone
		}),
	}
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	to := map[string]string{"dead": dead.URL, "private": "http://10.255.255.1/hook", "metadata": "http://169.254.169.254/hook"}
	for name, e := range ends {
		to[name] = e.URL + "/hook"
	}
	s := harness.New(t, webhooks(to)).Start()
	begin := time.Now()
	var all []stream.Record
	for i := range resources {
		all = append(all, acceptance.Notify("notifications.info", "image.create", begin, acceptance.Image(fmt.Sprintf("image-%d", i), "n", nil)),
			acceptance.Notify("notifications.info", "image.update", begin.Add(time.Second), acceptance.Image(fmt.Sprintf("image-%d", i), "m", nil)))
	}
	if err := harness.Produce(t.Context(), s.Kafka, all); err != nil {
		t.Fatal(err)
	}
	taken := func(names ...string) func() error {
		return func() error {
			var errs []error
			for _, name := range names {
				if _, n, _ := ends[name].counts(); n != 2*resources {
					errs = append(errs, fmt.Errorf("%s has taken %d of %d", name, n, 2*resources))
				}
			}
			return errors.Join(errs...)
		}
	}
	s.Eventually("the healthy destination has everything", taken("healthy"))
	t.Logf("healthy after %s", time.Since(begin).Round(time.Millisecond))
	s.Eventually("those that answered once in a bad way have everything", taken("flaky", "limited", "hanging"))
	t.Logf("all that recover after %s", time.Since(begin).Round(time.Millisecond))
	if took := ends["healthy"].lastTaken().Sub(begin); took > 8*time.Second {
		t.Errorf("the healthy destination waited %s for its last delivery", took)
	}
	for id, at := range ends["limited"].times {
		if len(at) != 2 || at[1].Sub(at[0]) < 1900*time.Millisecond {
			t.Errorf("limited: attempts at %s came at %v, want 2 s between two", id, at)
		}
	}
	inOrder(t, ends)
	deadAtOnce(t, s, ends)
	st := standings(t, s)
	for name, want := range map[string][]string{
		"private":  {"address_refused", "publishers.outbound.allow", "10.255.255.1"},
		"metadata": {"address_refused", "publishers.outbound.allow", "169.254.169.254"},
		"gone":     {"suspended", "http_410"},
	} {
		text := st[name].State + " " + st[name].Reason
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: is %q, want %q in it", name, text, w)
			}
		}
	}
	for _, name := range []string{"dead", "private", "metadata"} {
		if st[name].State == "working" {
			t.Errorf("%s: is said to be working", name)
		}
	}
	if _, _, n := ends["gone"].counts(); n > resources {
		t.Errorf("gone: %d attempts although it was suspended at once", n)
	}
	back.Lock()
	back.is = true
	back.Unlock()
	s.MustRun("subscriptions", "resume", "gone")
	s.Eventually("the resumed destination has everything", taken("gone"))
	if out, err := s.Run("subscriptions", "resume", "no-such"); err == nil || !strings.Contains(out, "404") {
		t.Errorf("resume of an unknown name: %v, %s", err, out)
	}
}

func (e *endpoint) lastTaken() (last time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, at := range e.taken {
		if at.After(last) {
			last = at
		}
	}
	return last
}

// inOrder checks that no resource's second change was taken before its first.
func inOrder(t *testing.T, ends map[string]*endpoint) {
	t.Helper()
	for name, e := range ends {
		e.mu.Lock()
		at := map[string]time.Time{} // by resource and revision
		for id, when := range e.taken {
			c := e.change[id]
			at[fmt.Sprintf("%s %d", c.Resource.ID, c.Revision)] = when
		}
		for key, when := range at {
			if id, ok := strings.CutSuffix(key, " 2"); ok && when.Before(at[id+" 1"]) {
				t.Errorf("%s: revision 2 of %s is taken before revision 1", name, id)
			}
		}
		e.mu.Unlock()
	}
}

// deadAtOnce checks that what was rejected is a dead letter after one attempt.
func deadAtOnce(t *testing.T, s *harness.Server, ends map[string]*endpoint) {
	t.Helper()
	var list struct {
		DeadLetters []struct {
			Subscription, Reason, Detail string
			Attempts                     int
		} `json:"dead_letters"`
	}
	reasons := map[string]string{"picky": "http_400", "moved": "http_301"}
	s.Eventually("what was rejected is dead", func() error {
		if err := s.Get("/v1/admin/deadletters?limit=1000", &list); err != nil {
			return err
		}
		n := map[string]int{}
		for _, d := range list.DeadLetters {
			n[d.Subscription]++
			if d.Reason != reasons[d.Subscription] || d.Attempts != 1 {
				t.Fatalf("dead letter %+v", d)
			}
			if d.Subscription == "moved" && !strings.Contains(d.Detail, "redirects are not followed") {
				t.Fatalf("dead letter %+v", d)
			}
		}
		for name := range reasons {
			if came, _, attempts := ends[name].counts(); n[name] != came || attempts != came || came != len(ends["healthy"].taken) {
				return fmt.Errorf("%s: %d dead letters of %d deliveries and %d attempts", name, n[name], came, attempts)
			}
		}
		return nil
	})
}

func TestNameOfASubscriptionIsItsIdentity(t *testing.T) {
	t.Parallel()
	s := harness.New(t, acceptance.Admin)
	old, young := harness.NewReceiver(t), harness.NewReceiver(t)
	config := func(filter string, more ...string) string {
		c := webhooks(nil) + fmt.Sprintf("    - {name: old, publisher: webhook, destination: %q, secret: %q, filter: {%s}}\n", old.URL, harness.Secret, filter)
		return c + strings.Join(more, "")
	}
	say := func(event, id string) {
		t.Helper()
		if err := harness.Produce(t.Context(), s.Kafka, []stream.Record{acceptance.Notify("notifications.info", event, time.Now(), acceptance.Image(id, event, nil))}); err != nil {
			t.Fatal(err)
		}
	}
	has := func(r *harness.Receiver, want ...string) {
		t.Helper()
		s.Eventually(fmt.Sprintf("%v is delivered", want), func() error {
			var got []string
			for _, d := range r.Deliveries() {
				got = append(got, fmt.Sprintf("%s %s", d.Change.Action, d.Change.Resource.ID))
			}
			slices.Sort(got) // resources come in any order among each other
			if !slices.Equal(got, want) {
				return fmt.Errorf("got %v", got)
			}
			return nil
		})
	}
	s.Configure(config("actions: [created]"))
	s.Start()
	say("image.create", "a")
	has(old, "created a")
	if code, _ := s.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	// While nobody reads the change log for "old", something is said; it is another
	// name's head.
	s.Configure(acceptance.Admin)
	s.Start()
	say("image.update", "a")
	say("image.create", "b")
	s.Eventually("it is folded", func() error { _, err := acceptance.One(s, acceptance.ImageType, "b"); return err })
	s.Kill()
	s.Configure(config("actions: [updated, created]", fmt.Sprintf("    - {name: young, publisher: webhook, destination: %q, secret: %q}\n", young.URL, harness.Secret)))
	s.Start()
	has(old, "created a", "created b", "updated a")
	say("image.create", "c")
	has(old, "created a", "created b", "created c", "updated a")
	has(young, "created c")
}

func TestServerThatIsToldToStopUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	r := harness.NewReceiver(t)
	r.Answer(func(d harness.Delivery, before int) int {
		if before == 0 && d.ID[0]%5 == 0 {
			return http.StatusServiceUnavailable
		}
		return http.StatusNoContent
	})
	s := harness.New(t, acceptance.Quote(acceptance.Delivering, "RECEIVER", r.URL)).Start()
	changes := harness.NewTail(t, s.Kafka, "fresnel.changes")
	recorded, err := play.Load("notifications")
	if err != nil {
		t.Fatal(err)
	}
	const clouds = 6
	all := slices.Collect(play.Options{Copies: clouds}.Records(recorded))
	for i := range 3 {
		part := all[i*len(all)/3 : (i+1)*len(all)/3]
		before := len(r.Deliveries())
		if err := harness.Produce(t.Context(), s.Kafka, part); err != nil {
			t.Fatal(err)
		}
		s.Eventually("deliveries go out", func() error {
			if n := len(r.Deliveries()) - before; n < 50 {
				return fmt.Errorf("%d", n)
			}
			return nil
		})
		code, took := s.Stop()
		if code != 0 || took > 10*time.Second {
			t.Errorf("SIGTERM under load: exit code %d after %s", code, took)
		}
		t.Logf("stopped in %s with %d deliveries made", took.Round(time.Millisecond), len(r.Deliveries()))
		s.Start()
	}
	acceptance.Settled(t, s, len(all), "")
	n, err := harness.Ends(s.Kafka, "fresnel.changes")
	if err != nil {
		t.Fatal(err)
	}
	s.Eventually("all is delivered", func() error {
		if got := int64(len(changes.Entries())); got != n {
			return fmt.Errorf("%d of %d changes read", got, n)
		}
		st := standings(t, s)["all"]
		if st.Lag != 0 || st.Parked != 0 {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
	_, ids := oracle.Firsts(t, changes.Entries())
	if int64(len(ids)) != n {
		t.Errorf("a clean stop made the indexer repeat %d of %d changes", n-int64(len(ids)), n)
	}
	oracle.Delivered(t, r, ids)
	seen := map[string]int{}
	for _, d := range r.Deliveries() {
		seen[d.ID]++
	}
	if again := len(r.Deliveries()) - len(seen); again > 0 {
		t.Errorf("clean stops repeated %d of %d deliveries", again, len(seen))
	}
}
