package acceptance

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fresnel-search/fresnel/test/day"
	"github.com/fresnel-search/fresnel/test/harness"
)

// Day plays the recorded day and compares what is shown with what the services
// themselves listed at its end; and one of its tenants has a feed.
func Day(t testing.TB, e *harness.Engines) {
	t.Helper()
	recorded := harness.Testdata(t, "day")
	truth, err := day.Open(recorded)
	if err != nil {
		t.Fatal(err)
	}
	s := e.New(t, Admin).Start()
	s.Play(recorded)
	Settled(t, s, appended(t, s, 1, recorded), "")
	by := map[string]map[string]day.Object{}
	for _, d := range Dump(t, s, "") {
		if by[d.Type] == nil {
			by[d.Type] = map[string]day.Object{}
		}
		by[d.Type][d.ID] = d.Source
	}
	for _, typ := range truth.Types() {
		r := truth.Compare(typ, by[typ])
		for _, p := range r.Problems {
			t.Errorf("%s: %s", typ, p)
		}
		t.Logf("%-26s %3d resources, %4d fields compared, untold: %v", typ, r.Resources, r.Compared, r.Differ)
	}
	const project, shown = "e350e230c9f543cdb5dedae939e6df6e", 50
	harness.Eventually(t, "the feed of a project shows its newest changes", func() error {
		atom, err := s.Text("/v1/tenants/" + project + "/events")
		if n := strings.Count(atom, "<entry>"); err == nil && n != shown {
			err = fmt.Errorf("%d entries, want %d", n, shown)
		}
		return err
	})
}
