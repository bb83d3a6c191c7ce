package publishers_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fresnel-search/fresnel/publishers"
	"github.com/fresnel-search/fresnel/publishers/delivery"
)

// TestOneDeadDestinationOfAThousandDelaysNoOtherAndGetsEverythingInOrder: it is away for
// a day.
func TestOneDeadDestinationOfAThousandDelaysNoOtherAndGetsEverythingInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const healthy, rounds = 999, 6
		var subs []publishers.Subscription
		for i := range healthy {
			subs = append(subs, publishers.Subscription{Name: fmt.Sprint("healthy-", i)})
		}
		c := newCloud(t, append(subs, publishers.Subscription{Name: "dead"})...)
		c.config.Window = 10
		c.to.down = map[string]delivery.Outcome{"dead": {Kind: delivery.Retry, Scope: delivery.OfDestination, Code: "refused"}}
		c.start()
		defer c.stop()
		var want []string
		for range rounds {
			want = append(want, c.change("a"), c.change("a"))
			synctest.Wait()
			for _, s := range subs { // at once: no time has passed
				if n := len(c.to.ids(s.Name)); n != len(want) {
					t.Fatalf("%s has %d of %d", s.Name, n, len(want))
				}
			}
			pass(4 * time.Hour)
		}
		if st := c.status("dead"); st.Condition != publishers.Probing || st.Parked != 0 {
			t.Errorf("status of the dead one = %+v, want it probing with nothing parked", st)
		}
		c.to.mu.Lock()
		c.to.down = nil
		c.to.got["dead"] = nil
		c.to.mu.Unlock()
		pass(10 * time.Minute)
		c.wantIDs("dead", want...)
	})
}
