package publishers_test

import (
	"testing"
	"testing/synctest"

	"github.com/fresnel-search/fresnel/publishers"
	"github.com/fresnel-search/fresnel/publishers/filter"
)

// A publisher whose destination belongs to one project must know for whose eyes an event
// was made; where it was made for several, nobody's name stands for them.
func TestEventNamesTheOneProjectThatItWasMadeFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all,
			publishers.Subscription{Name: "one", Filter: filter.Filter{Projects: []string{"p-a"}}},
			publishers.Subscription{Name: "two", Filter: filter.Filter{Projects: []string{"p-a", "p-b"}}},
			publishers.Subscription{Name: "star", Filter: filter.Filter{Projects: []string{"*"}}},
		)
		c.start()
		defer c.stop()
		c.change("a")
		synctest.Wait()
		for name, want := range map[string]string{"one": "p-a", "two": "", "star": "", "all": ""} {
			if got := c.to.got[name][0].Event.Attributes["audience"]; got != want {
				t.Errorf("%s: audience %q, want %q", name, got, want)
			}
		}
	})
}
