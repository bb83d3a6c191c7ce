package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/test/acceptance"
	"github.com/fresnel-search/fresnel/test/harness"
)

// picky refuses the second change of the first resource that has one for good, and the
// first of another for a while, as long as it is picky.
type picky struct {
	mu           sync.Mutex
	calm         bool
	dead, parked string // ids
	of           change.Resource
	lost         []string
	witness      change.Witness
}

func (p *picky) answer(d harness.Delivery, _ int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := d.Change
	if c.Action == change.Event {
		return http.StatusNoContent
	}
	switch {
	case p.calm:
	case p.dead == "" && c.Revision == 2:
		p.dead, p.of = d.ID, c.Resource
		return http.StatusBadRequest
	case d.ID == p.dead:
		return http.StatusBadRequest
	case p.parked == "" && p.dead != "" && c.Resource != p.of || d.ID == p.parked:
		p.parked = d.ID
		return http.StatusServiceUnavailable
	}
	var event struct{ Missed string }
	if err := json.Unmarshal([]byte(d.Body), &event); err != nil {
		p.lost = append(p.lost, err.Error())
	}
	missed, err := change.ParseMissed(event.Missed)
	if err != nil {
		p.lost = append(p.lost, err.Error())
	}
	p.lost = append(p.lost, p.witness.See(c, missed)...)
	return http.StatusNoContent
}

func (p *picky) refused() (dead, parked string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead, p.parked
}

// TestOperatorFindsDeliveriesTriesThemAgainAndPausesASubscription goes through all that
// the commands do, with a kill -9 right after a pause.
func TestOperatorFindsDeliveriesTriesThemAgainAndPausesASubscription(t *testing.T) {
	t.Parallel()
	p := &picky{witness: change.Witness{FromStart: true}}
	r := harness.NewReceiver(t)
	r.Answer(p.answer)
	s := harness.New(t, fmt.Sprintf(`
searchapi: {listen: SEARCH_ADDR, identity: {mode: none}}
listener: {kafka: {embedded: {listen: KAFKA_ADDR}}}
publishers:
  outbound: {allow: ["127.0.0.0/8"]}
  subscriptions:
    - {name: nfv, publisher: webhook, destination: %q, secret: %q, retry: {max_attempts: 3, min: 1h, timeout: 5s}, message_ttl: 24h}
`, r.URL, harness.Secret)).Start()
	const recording = "notifications/cinder.jsonl.gz"
	s.Play(recording)
	acceptance.Settled(t, s, acceptance.Count(t, recording), "")
	lists := func(what string, want ...string) {
		t.Helper()
		s.Eventually(what, func() error {
			out, err := s.Run("deliveries", "list", "--subscription", "nfv")
			for _, w := range want {
				if err == nil && !strings.Contains(out, w) {
					err = fmt.Errorf("%s lacks %q", out, w)
				}
			}
			return err
		})
	}
	s.Eventually("one is dead and one is parked", func() error {
		if dead, parked := p.refused(); dead == "" || parked == "" {
			return fmt.Errorf("dead %q, parked %q", dead, parked)
		}
		return nil
	})
	dead, parked := p.refused()
	lists("both are listed", "nfv/"+dead, "dead", "http_400", "nfv/"+parked, "waiting", "http_503")
	for _, id := range []string{dead, parked} {
		var shown struct{ Event struct{ Data change.Change } }
		out := s.MustRun("deliveries", "show", "nfv/"+id)
		if err := json.Unmarshal([]byte(out), &shown); err != nil || shown.Event.Data.ID != id {
			t.Errorf("show says %s, %v", out, err)
		}
	}
	p.mu.Lock()
	p.calm = true
	p.mu.Unlock()
	s.MustRun("deliveries", "redeliver", "nfv/"+parked)
	s.MustRun("deliveries", "redeliver", "--subscription", "nfv")
	acceptance.AllDelivered(t, s, "")
	if out := s.MustRun("deliveries", "list"); strings.Contains(out, "nfv/") {
		t.Errorf("left are\n%s", out)
	}
	before := len(r.Deliveries())

	s.MustRun("subscriptions", "pause", "nfv")
	s.Kill()
	s.Start()
	const later = "notifications/glance.jsonl.gz"
	s.Play(later)
	acceptance.Settled(t, s, acceptance.Count(t, recording, later), "")
	s.Eventually("the paused one is behind", func() error {
		out, err := s.Run("subscriptions", "show", "nfv")
		if err == nil && (!strings.Contains(out, "paused") || !strings.Contains(out, "24h0m0s")) {
			err = fmt.Errorf("it is\n%s", out)
		}
		return err
	})
	if n := len(r.Deliveries()); n != before {
		t.Errorf("%d were delivered during the pause", n-before)
	}
	s.MustRun("subscriptions", "resume", "nfv")
	acceptance.AllDelivered(t, s, "")
	if len(r.Deliveries()) == before {
		t.Error("nothing was delivered after the pause")
	}
	metrics := body(t, s.URL+"/metrics")
	for _, want := range []string{
		`fresnel_publishers_lag_changes{publisher="webhook",subscription="nfv"} 0`, `fresnel_publishers_lag_seconds{publisher="webhook",subscription="nfv"} 0`,
		`fresnel_publishers_settled_changes_total{publisher="webhook",result="dead",subscription="nfv"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lost) > 0 || len(r.Errors()) > 0 {
		t.Errorf("lost: %v, wrong: %v", p.lost, r.Errors())
	}
}
