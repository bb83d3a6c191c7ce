package oracle

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/test/harness"
)

// History is what was recorded of a run, from its first record until everything had
// come to rest.
type History struct {
	Types *catalog.Catalog
	// Mutations and Changes are both logs in order of offsets, a log that was made
	// anew after the one before.
	Mutations, Changes []harness.Entry
	Receiver           *harness.Receiver
	// Documents are all that a search for everything finds at the end.
	Documents map[resource.Ref]map[string]any
	// Appended is how many records are in the log that each step reads, by the step's
	// role, and Books what became of them.
	Appended map[string]int64
	Books    map[string]Account
	// Sightings, Health and Vitals are what was seen meanwhile, in order of time.
	Sightings []Sighting
	Health    []Health
	Vitals    []Vitals
	Faults    []Fault
}

// Account is what one step says of its input.
type Account struct {
	Input    int64            `json:"input"`
	Outcomes map[string]int64 `json:"outcomes"`
	Notes    map[string]int64 `json:"notes"`
	AddsUp   bool             `json:"adds_up"`
}

// Sighting is one look at a resource over the API: at revision 0 it was not found.
type Sighting struct {
	At       time.Time
	Ref      resource.Ref
	Revision int64
}

// Health is one look at a server's readiness. Troubles are all that it says is not
// well; no answer at all is trouble too.
type Health struct {
	At       time.Time
	Server   int
	Ready    bool
	Troubles []string
}

// Vitals is one look at what a process takes.
type Vitals struct {
	At                time.Time
	Server            int
	Goroutines, Files int
	Memory            int64 // bytes resident
}

// Fault is a time during which something was broken.
type Fault struct {
	Name     string
	From, To time.Time
	// Said are texts of which readiness must say one, in 10 s at most; none if the
	// fault need not be noticed.
	Said []string
}

// What a server may take, and how soon it has to say what is wrong.
const (
	mostGoroutines = 1500
	mostFiles      = 600
	mostMemory     = 1 << 30
	honestWithin   = 10 * time.Second
)

// Check compares the history with the invariants I1 to I4, I6 and I7: accounted,
// monotone, convergent, delivered, bounded and honest.
func (h *History) Check(t testing.TB) {
	t.Helper()
	h.Accounted(t)
	h.Monotone(t)
	h.Convergent(t)
	h.Bounded(t)
	h.Honest(t)
}

// Accounted checks that every record has one outcome, and nothing was lost.
func (h *History) Accounted(t testing.TB) {
	t.Helper()
	for role, n := range h.Appended {
		a := h.Books[role]
		var sum int64
		for _, c := range a.Outcomes {
			sum += c
		}
		if a.Input != n || sum != n || !a.AddsUp || a.Notes["lost"] != 0 {
			t.Errorf("books of the %s: %d records are in its log, %d came in, %d have an outcome (%+v)", role, n, a.Input, sum, a)
		}
	}
}

// Monotone checks that no resource's revision ever went down before somebody's eyes,
// and that none came back that had gone.
func (h *History) Monotone(t testing.TB) {
	t.Helper()
	last, gone := map[resource.Ref]Sighting{}, map[resource.Ref]Sighting{}
	for _, s := range h.Sightings {
		was, seen := last[s.Ref]
		switch {
		case s.Revision == 0:
			if seen {
				gone[s.Ref] = s
			}
			continue
		case gone[s.Ref] != Sighting{}:
			t.Errorf("%s: gone at %s, back at %s with revision %d", s.Ref, clock(gone[s.Ref].At), clock(s.At), s.Revision)
			delete(gone, s.Ref) // said once
		case s.Revision < was.Revision:
			t.Errorf("%s: revision %d at %s, %d at %s", s.Ref, was.Revision, clock(was.At), s.Revision, clock(s.At))
		}
		last[s.Ref] = s
	}
}

// Convergent checks that the change log is what the mutation log means, that searches
// show what it ends in, and that the receiver got all of it.
func (h *History) Convergent(t testing.TB) {
	t.Helper()
	said := Said(t, h.Mutations)
	shown, ids := Firsts(t, h.Changes)
	live := map[resource.Ref]string{}
	deleted := 0
	for ref, ms := range said {
		want := Transitions(&h.Types.Type(ref.Type).Rules, ms)
		if got := Visible(t, ref, shown[ref]); !reflect.DeepEqual(want, got) { // a lot cheaper than a difference
			d := cmp.Diff(want, got)
			t.Errorf("%s: transitions (-oracle +change log):\n%.3000s", ref, d)
		}
		switch {
		case len(want) == 0:
		case want[len(want)-1].Action == change.Deleted:
			deleted++
		default:
			live[ref] = rendered(want[len(want)-1].Fields)
		}
	}
	if deleted == 0 || len(live) == 0 {
		t.Errorf("%d resources deleted and %d alive: nothing was tested", deleted, len(live))
	}
	for ref, want := range live {
		if d := differs(want, h.Documents[ref]); d != "" {
			t.Errorf("%s: document (-oracle +api):\n%.3000s", ref, d)
		}
	}
	for ref := range h.Documents {
		if _, ok := live[ref]; !ok {
			t.Errorf("%s is found, and should not be", ref)
		}
	}
	Delivered(t, h.Receiver, ids)
	if errs := h.Receiver.Errors(); len(errs) > 0 {
		t.Errorf("%d deliveries did not verify: %s", len(errs), errs[0])
	}
}

func rendered(fields map[string]string) string {
	raw := make(map[string]json.RawMessage, len(fields))
	for k, v := range fields {
		raw[k] = json.RawMessage(v)
	}
	return string(resource.Render(raw))
}

// differs compares a document, as text, with the one found.
func differs(want string, got map[string]any) string {
	if got == nil {
		return "not found: " + want
	}
	var w map[string]any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		return err.Error()
	}
	if reflect.DeepEqual(w, got) {
		return ""
	}
	return cmp.Diff(w, got)
}

// Bounded checks that no process took more than a server may.
func (h *History) Bounded(t testing.TB) {
	t.Helper()
	for _, v := range h.Vitals {
		if v.Goroutines > mostGoroutines || v.Files > mostFiles || v.Memory > mostMemory {
			t.Errorf("server %d at %s: %d goroutines, %d open files, %d MB", v.Server, clock(v.At), v.Goroutines, v.Files, v.Memory>>20)
			return
		}
	}
}

// Honest checks that readiness said in time what was wrong, while it was.
func (h *History) Honest(t testing.TB) {
	t.Helper()
	for _, f := range h.Faults {
		if len(f.Said) == 0 || f.To.Sub(f.From) < honestWithin {
			continue
		}
		var heard []string
		honest := false
		for _, s := range h.Health {
			if s.At.Before(f.From) || s.At.After(f.From.Add(honestWithin)) {
				continue
			}
			heard = append(heard, s.Troubles...)
			honest = honest || says(s.Troubles, f.Said)
		}
		if !honest {
			t.Errorf("%s from %s to %s: readiness says none of %q within %s, but %.2000q",
				f.Name, clock(f.From), clock(f.To), f.Said, honestWithin, unique(heard))
		}
	}
}

func says(troubles, texts []string) bool {
	for _, trouble := range troubles {
		for _, text := range texts {
			if strings.Contains(trouble, text) {
				return true
			}
		}
	}
	return false
}

func unique(texts []string) (out []string) {
	seen := map[string]bool{}
	for _, text := range texts {
		if !seen[text] {
			seen[text] = true
			out = append(out, text)
		}
	}
	return out
}

func clock(at time.Time) string { return at.Format("15:04:05.000") }
