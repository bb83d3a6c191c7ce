package acceptance

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/test/harness"
)

// Consistency plays the recorded day to receivers who, at each delivery, ask for the
// resource with a token of the same eyes: none ever finds an older revision than the
// one it is being told of, and none misses a change that it was not told to miss.
func Consistency(t testing.TB, e *harness.Engines) {
	t.Helper()
	const project = "e350e230c9f543cdb5dedae939e6df6e" // one of the recorded day
	operator, tenant := harness.NewReceiver(t), harness.NewReceiver(t)
	s := e.New(t, fmt.Sprintf(`
searchapi: {listen: SEARCH_ADDR, identity: {mode: static, tokens_file: tokens.yaml}}
listener: {kafka: {embedded: {listen: KAFKA_ADDR}}}
publishers:
  outbound: {allow: ["127.0.0.0/8"]}
  retry: {schedule: [0s, 100ms, 200ms, 400ms, 800ms, 1s, 1s, 1s]}
  subscriptions:
    - {name: operator, publisher: webhook, destination: %q, secret: %q, admin_fields: true}
    - {name: tenant, publisher: webhook, destination: %q, secret: %q, filter: {projects: [%q]}}
`, operator.URL, harness.Secret, tenant.URL, harness.Secret, project))
	s.File("tokens.yaml", TokenEntry("root", "admin", "adminproject", "admin")+TokenEntry("mine", "me", project, "member"))
	curious := map[string]*reader{
		"operator": newReader(s, operator, "root", "?all_projects=true"),
		"tenant":   newReader(s, tenant, "mine", ""),
	}
	s.Start()
	recorded := harness.Testdata(t, "day")
	s.Play(recorded)
	Settled(t, s, appended(t, s, 1, recorded), "root")
	AllDelivered(t, s, "root")
	for name, r := range curious {
		r.verdict(t, name)
	}
	if errs := append(operator.Errors(), tenant.Errors()...); len(errs) > 0 {
		t.Errorf("%d deliveries are wrong: %s", len(errs), errs[0])
	}
}

// AllDelivered waits until every subscription has nothing left to do.
func AllDelivered(t testing.TB, s *harness.Server, token string) {
	t.Helper()
	harness.Patiently(t, "all is delivered", func() (int64, error) {
		var a struct {
			Subscriptions []struct {
				Name        string
				Lag, Parked int64
				Counters    map[string]int64
				Settled     map[string]int64
			}
		}
		if err := s.Call("GET", "/v1/admin/subscriptions", token, nil, &a); err != nil {
			return 0, err
		}
		var done int64
		var errs []error
		for _, s := range a.Subscriptions {
			done += s.Settled["delivered"]
			if s.Lag != 0 || s.Parked != 0 || s.Counters["open"] != 0 {
				errs = append(errs, fmt.Errorf("%+v", s))
			}
		}
		return done, errors.Join(errs...)
	})
}

// reader is a receiver that looks at each resource that it is told of. It is used by
// one delivery at a time.
type reader struct {
	server       *harness.Server
	token, query string
	witness      change.Witness
	shown        int // times that a resource was shown
	wrong        []string
	absent       map[change.Resource]change.Change // not shown, although it was not deleted
}

func newReader(s *harness.Server, on *harness.Receiver, token, query string) *reader {
	r := &reader{
		server: s, token: token, query: query, witness: change.Witness{FromStart: true}, absent: map[change.Resource]change.Change{},
	}
	on.Answer(func(d harness.Delivery, before int) int {
		if before == 0 && d.ID[0]%7 == 0 {
			return http.StatusServiceUnavailable // some come again
		}
		if err := r.look(d); err != nil {
			r.wrong = append(r.wrong, err.Error())
		}
		return http.StatusNoContent
	})
	return r
}

// look asks for the resource that a delivery tells of.
func (r *reader) look(d harness.Delivery) error {
	var event struct{ Missed string }
	if err := json.Unmarshal([]byte(d.Body), &event); err != nil {
		return err
	}
	missed, err := change.ParseMissed(event.Missed)
	if err != nil {
		return err
	}
	c := d.Change
	r.wrong = append(r.wrong, r.witness.See(c, missed)...)
	if c.Action == change.Event {
		return nil
	}
	revision, err := r.revision(c.Resource)
	switch {
	case err != nil:
		return err
	case revision == 0 && c.Action != change.Deleted:
		r.absent[c.Resource] = c
	case revision == 0:
		delete(r.absent, c.Resource)
	case revision < c.Revision:
		return fmt.Errorf("%s/%s is shown at revision %d when %d is delivered", c.Resource.Type, c.Resource.ID, revision, c.Revision)
	default:
		r.shown++
	}
	return nil
}

// revision is what the search API shows of a resource now; 0 if it shows none.
func (r *reader) revision(of change.Resource) (int64, error) {
	var a struct{ Revision int64 }
	err := r.server.Call("GET", "/v1/resources/"+url.PathEscape(of.Type)+"/"+url.PathEscape(of.ID)+r.query, r.token, nil, &a)
	var refused *harness.StatusError
	if errors.As(err, &refused) && refused.Code == http.StatusNotFound {
		return 0, nil
	}
	return a.Revision, err
}

// verdict says what was wrong, when all is delivered.
func (r *reader) verdict(t testing.TB, name string) {
	t.Helper()
	for _, w := range r.wrong {
		t.Errorf("%s: %s", name, w)
	}
	for of, c := range r.absent { // its delete has not been delivered since
		t.Errorf("%s: %s/%s is not shown although revision %d was delivered and no delete", name, of.Type, of.ID, c.Revision)
	}
	if r.shown == 0 {
		t.Errorf("%s: no resource was looked at", name)
	}
	t.Logf("%s: %d resources were looked at", name, r.shown)
}
