package change_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/fresnel-search/fresnel/plugins/change"
)

func TestMissedIsReadAsItIsWritten(t *testing.T) {
	t.Parallel()
	var m change.Missed
	for _, r := range []int64{3, 4, 4, 5, 9} {
		m.Add("a1", r, "")
	}
	m.Add("b2", 1, "")
	m.Add("", 0, "e1")
	const want = "a1:3-5,a1:9,b2:1,event:e1"
	if got := m.String(); got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
	got, err := change.ParseMissed(want)
	if err != nil || !reflect.DeepEqual(m, got) {
		t.Errorf("ParseMissed(%q) = %+v, %v, want %+v", want, got, err, m)
	}
	if !got.Names("a1", 4) || got.Names("a1", 6) || got.Names("b2", 3) {
		t.Errorf("%q names the wrong revisions", want)
	}
	for _, bad := range []string{"x", "a1:", "a1:0", "a1:4-3", "a1:x", "a1:1,", "a1:1-"} {
		if m, err := change.ParseMissed(bad); err == nil {
			t.Errorf("ParseMissed(%q) = %+v, want an error", bad, m)
		}
	}
}

func TestMissedIsBoundedAndSaysSo(t *testing.T) {
	t.Parallel()
	var m change.Missed
	for i := range int64(1000) {
		m.Add("a1", 2*i+1, "")
		m.Add("", 0, fmt.Sprint("e", i))
	}
	text := m.String()
	if len(text) > 1000 || !strings.HasSuffix(text, ",more") || !strings.Contains(text, "a1:1999") {
		t.Errorf("String() = %q, want the newest and more", text)
	}
}

func FuzzParseMissed(f *testing.F) {
	f.Add("a1:3-5,event:e1,more")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := change.ParseMissed(text)
		if err != nil || len(m.Revisions) > 32 || len(m.Events) > 32 {
			return
		}
		if again, err := change.ParseMissed(m.String()); err != nil || !reflect.DeepEqual(m, again) {
			t.Errorf("%q is read as %+v and written as %q: %v", text, m, m.String(), err)
		}
	})
}

// told is a delivery to a witness, in short: action and revision, and what it names.
func told(action change.Action, revision int64, missed string) (change.Change, change.Missed) {
	m, err := change.ParseMissed(missed)
	if err != nil {
		panic(err)
	}
	c := change.Change{
		ID: fmt.Sprint(action, revision, missed), Action: action, Resource: change.Resource{Type: "T", ID: "1"},
		Lineage: "a1", Revision: revision, Document: []byte("{}"),
	}
	return c, m
}

func TestWitnessFindsWhatIsMissingAndNothingElse(t *testing.T) {
	t.Parallel()
	type step struct {
		action   change.Action
		revision int64
		missed   string
		losses   int
	}
	const created, updated, deleted, event = change.Created, change.Updated, change.Deleted, change.Event
	const hidden change.Action = "hidden" // deleted without a document: out of sight
	for name, steps := range map[string][]step{
		"all come":                     {{created, 1, "", 0}, {updated, 2, "", 0}, {deleted, 3, "", 0}},
		"an update is lost":            {{created, 1, "", 0}, {updated, 3, "", 1}, {updated, 4, "", 0}},
		"two are lost":                 {{created, 1, "", 0}, {deleted, 4, "", 2}},
		"one of two is named":          {{created, 1, "", 0}, {updated, 4, "a1:3", 1}},
		"both are named":               {{created, 1, "", 0}, {updated, 4, "a1:2-3", 0}},
		"others are named":             {{created, 1, "", 0}, {updated, 3, "b2:2,event:e", 1}},
		"the creation is lost":         {{updated, 2, "", 1}, {updated, 3, "", 0}},
		"the creation is named":        {{updated, 2, "a1:1", 0}},
		"repeats":                      {{created, 1, "", 0}, {updated, 2, "", 0}, {created, 1, "", 0}, {updated, 2, "", 0}, {updated, 3, "", 0}},
		"an old one, delivered later":  {{created, 1, "", 0}, {updated, 3, "a1:2", 0}, {updated, 2, "", 0}, {updated, 4, "", 0}},
		"events have no revision":      {{created, 1, "", 0}, {event, 0, "", 0}, {updated, 2, "", 0}},
		"heard of by its delete":       {{deleted, 1, "", 0}},
		"sight begins and ends":        {{created, 4, "", 0}, {updated, 5, "", 0}, {hidden, 5, "", 0}, {created, 9, "", 0}, {updated, 10, "", 0}},
		"one is lost before sight end": {{created, 4, "", 0}, {hidden, 5, "", 1}},
		"the end of sight is lost":     {{created, 4, "", 0}, {created, 4, "", 0}, {created, 5, "", 1}},
		"the end of sight is named":    {{created, 4, "", 0}, {created, 5, "a1:4", 0}},
		"it lives again":               {{created, 1, "", 0}, {deleted, 2, "", 0}, {created, 3, "", 0}},
		"one is lost between lives":    {{created, 1, "", 0}, {created, 3, "", 1}},
	} {
		w := change.Witness{FromStart: true}
		for i, s := range steps {
			c, missed := told(s.action, s.revision, s.missed)
			if s.action == hidden {
				c.Action, c.Document = deleted, nil
			}
			if lost := w.See(c, missed); len(lost) != s.losses {
				t.Errorf("%s: step %d shows losses %q, want %d", name, i+1, lost, s.losses)
			}
		}
	}
	var w change.Witness
	if c, m := told(updated, 7, ""); len(w.See(c, m)) != 0 {
		t.Error("a resource that is older than the subscription begins with a loss")
	}
	if lineage, n := w.Last(change.Resource{Type: "T", ID: "1"}); lineage != "a1" || n != 7 {
		t.Errorf("Last() = %s %d, want a1 7", lineage, n)
	}
}
