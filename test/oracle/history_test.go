package oracle_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/test/oracle"
)

// listener takes down what a check finds, in place of failing a test.
type listener struct {
	testing.TB
	found []string
}

func (l *listener) Helper() {}

func (l *listener) Errorf(format string, args ...any) {
	l.found = append(l.found, fmt.Sprintf(format, args...))
}

func TestCheckFindsWhatAHistoryMustNotHold(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	a, b := resource.Ref{Type: "T", ID: "a"}, resource.Ref{Type: "T", ID: "b"}
	sound := oracle.History{
		Appended:  map[string]int64{"listener": 3},
		Books:     map[string]oracle.Account{"listener": {Input: 3, Outcomes: map[string]int64{"dispatched": 2, "dead": 1}, AddsUp: true}},
		Sightings: []oracle.Sighting{{at(0), a, 0}, {at(1), a, 1}, {at(2), b, 4}, {at(3), a, 2}, {at(4), a, 0}, {at(5), a, 0}},
		Vitals:    []oracle.Vitals{{At: at(1), Goroutines: 100, Files: 50, Memory: 100 << 20}},
		Faults:    []oracle.Fault{{Name: "outage", From: at(10), To: at(30), Said: []string{"store is"}}},
		Health:    []oracle.Health{{At: at(5), Ready: true}, {At: at(14), Troubles: []string{"store is down: refused"}}},
	}
	for name, c := range map[string]struct {
		spoil func(h *oracle.History)
		want  string
	}{
		"nothing": {func(*oracle.History) {}, ""},
		"a record without outcome": {func(h *oracle.History) {
			h.Books = map[string]oracle.Account{"listener": {Input: 3, Outcomes: map[string]int64{"dispatched": 2}, AddsUp: true}}
		}, "2 have an outcome"},
		"a record that never came in": {func(h *oracle.History) { h.Appended = map[string]int64{"listener": 4} }, "4 records are in its log, 3 came in"},
		"a lost offset": {func(h *oracle.History) {
			h.Books = map[string]oracle.Account{"listener": {Input: 3, Outcomes: map[string]int64{"dispatched": 3}, Notes: map[string]int64{"lost": 1}, AddsUp: true}}
		}, "lost:1"},
		"a revision that goes down": {func(h *oracle.History) {
			h.Sightings = append(h.Sightings, oracle.Sighting{At: at(6), Ref: b, Revision: 3})
		}, "revision 4"},
		"a resource that comes back": {func(h *oracle.History) {
			h.Sightings = append(h.Sightings, oracle.Sighting{At: at(6), Ref: a, Revision: 3})
		}, "T/a: gone at"},
		"too much memory":         {func(h *oracle.History) { h.Vitals = []oracle.Vitals{{At: at(1), Memory: 2 << 30}} }, "2048 MB"},
		"silence about an outage": {func(h *oracle.History) { h.Health = h.Health[:1] }, "outage"},
		"honesty that comes late": {func(h *oracle.History) { h.Health[1].At = at(21) }, "outage"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := sound
			h.Health = append([]oracle.Health(nil), sound.Health...)
			h.Sightings = append([]oracle.Sighting(nil), sound.Sightings...)
			c.spoil(&h)
			l := &listener{TB: t}
			h.Accounted(l)
			h.Monotone(l)
			h.Bounded(l)
			h.Honest(l)
			text := strings.Join(l.found, "\n")
			if (c.want == "") != (text == "") || !strings.Contains(text, c.want) {
				t.Errorf("found %q, want %q", text, c.want)
			}
		})
	}
}
