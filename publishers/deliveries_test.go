package publishers_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/publishers"
	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/filter"
)

// listed are ids and states of a page of deliveries.
func (c *cloud) listed(q publishers.DeliveryQuery) (all []string) {
	c.t.Helper()
	if q.Limit == 0 {
		q.Limit = 100
	}
	ds, err := c.engine.Deliveries(c.t.Context(), q)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, d := range ds {
		all = append(all, d.Subscription+"/"+d.ID+" "+d.State)
	}
	return all
}

func TestDeliveriesThatAreNotThroughAreListedShownAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all, publishers.Subscription{Name: "b", Filter: filter.Filter{Types: []string{"none"}}})
		c.start()
		defer c.stop()
		c.to.set(func(d delivery.Delivery) delivery.Outcome {
			switch d.ID {
			case "a@1":
				return delivery.Outcome{Kind: delivery.Rejected, Code: "http_400", Message: "no"}
			case "c@1":
				return delivery.Outcome{Kind: delivery.Retry, Code: "http_503", Message: "later", After: time.Hour}
			}
			return delivery.Outcome{Kind: delivery.Delivered}
		})
		for _, server := range []string{"a", "a", "c", "c"} {
			c.change(server)
		}
		pass(cursorPace)
		want := []string{"all/a@1 dead", "all/c@1 waiting", "all/c@2 behind"}
		for name, tc := range map[string]struct {
			q    publishers.DeliveryQuery
			want []string
		}{
			"all":                  {publishers.DeliveryQuery{}, want},
			"of one":               {publishers.DeliveryQuery{Subscription: "all"}, want},
			"of another":           {publishers.DeliveryQuery{Subscription: "b"}, nil},
			"a page":               {publishers.DeliveryQuery{Limit: 2}, want[:2]},
			"the page after":       {publishers.DeliveryQuery{AfterSubscription: "all", AfterID: "c@1"}, want[2:]},
			"dead ones":            {publishers.DeliveryQuery{State: publishers.Dead}, want[:1]},
			"those that wait":      {publishers.DeliveryQuery{State: "waiting"}, want[1:2]},
			"after a subscription": {publishers.DeliveryQuery{AfterSubscription: "b"}, nil},
		} {
			if d := cmp.Diff(tc.want, c.listed(tc.q)); d != "" {
				t.Errorf("%s (-want +got)\n%s", name, d)
			}
		}
		for id, code := range map[string]string{"a@1": "http_400", "c@1": "http_503", "c@2": ""} {
			d, e, err := c.engine.Delivery(t.Context(), "all", id)
			if err != nil || e == nil || e.ID != id || d.Code != code || !strings.Contains(string(e.Data), id) {
				t.Errorf("Delivery(%s) = %+v, %+v, %v", id, d, e, err)
			}
		}
		if _, _, err := c.engine.Delivery(t.Context(), "all", "a@2"); !errors.Is(err, publishers.ErrUnknown) {
			t.Errorf("a delivery that is through: %v", err)
		}
		if err := c.engine.RedeliverNow(t.Context(), "all", "c@2"); !errors.Is(err, publishers.ErrImpossible) {
			t.Errorf("one behind another: %v", err)
		}
		c.to.set(nil)
		c.to.forget()
		for _, id := range []string{"c@1", "a@1"} {
			if err := c.engine.RedeliverNow(t.Context(), "all", id); err != nil {
				t.Error(err)
			}
		}
		pass(cursorPace)
		got := c.to.ids("all")
		slices.Sort(got)
		if want := []string{"a@1", "c@1", "c@2"}; !slices.Equal(got, want) || len(c.listed(publishers.DeliveryQuery{})) != 0 {
			t.Errorf("tried again are %v, left %v; want %v and nothing", got, c.listed(publishers.DeliveryQuery{}), want)
		}
	})
}

func TestMetricsTellSubscriptionsApartAndHowOldTheirLagIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all, publishers.Subscription{Name: "slow"})
		c.config.Window = 2
		c.to.delay["slow"] = 5 * time.Second
		c.start()
		defer c.stop()
		for range 5 {
			c.change("a")
		}
		pass(4 * time.Second)
		for name, want := range map[string]publishers.SubscriptionStatus{
			"all":  {Lag: 0, LagSeconds: 0},
			"slow": {Lag: 3, LagSeconds: 4},
		} {
			if got := c.status(name); got.Lag != want.Lag || got.LagSeconds != want.LagSeconds {
				t.Errorf("%s: lag %d of %v s, want %d of %v s", name, got.Lag, got.LagSeconds, want.Lag, want.LagSeconds)
			}
		}
	})
	c := newCloud(t, all, publishers.Subscription{Name: "other"})
	reg := prometheus.NewRegistry()
	if _, err := publishers.New(c.config, publishers.Deps{Log: c.log, Records: c.store, Plugins: c.to, Registerer: reg}); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, f := range families {
		got[strings.TrimPrefix(f.GetName(), "fresnel_publishers_")] = len(f.GetMetric())
	}
	if got["lag_changes"] != 2 || got["lag_seconds"] != 2 || got["settled_changes_total"] != 10 {
		t.Errorf("series by metric: %v, want one for each subscription, and for each result", got)
	}
}

// TestDeliveryWhoseBytesAreLostIsDeadForGood: nothing is left to deliver again.
func TestDeliveryWhoseBytesAreLostIsDeadForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all)
		c.start()
		defer c.stop()
		c.to.set(func(delivery.Delivery) delivery.Outcome {
			return delivery.Outcome{Kind: delivery.Retry, Code: "http_500"}
		})
		id := c.change("a")
		pass(time.Second)
		c.store.mu.Lock()
		clear(c.store.tables["parked_deliveries"])
		c.store.mu.Unlock()
		c.to.set(nil)
		c.to.forget()
		pass(time.Hour)
		if err := c.engine.RedeliverNow(t.Context(), "all", id); !errors.Is(err, publishers.ErrImpossible) {
			t.Errorf("RedeliverNow() = %v", err)
		}
		next := c.change("a")
		c.wantIDs("all", next)
		if dead := c.store.table(record.DeadLetters); !slices.Equal(dead, []string{"delivery/all/" + id}) {
			t.Errorf("dead letters: %v", dead)
		}
		if got := c.to.got["all"][0].Event.Attributes["missed"]; got != "1:1" {
			t.Errorf("%s names %q, want the lost one", next, got)
		}
	})
}

func TestMistakesInWhatASubscriptionAsksForAreNamed(t *testing.T) {
	t.Parallel()
	c := publishers.DefaultConfig()
	for _, s := range []publishers.Subscription{
		{Durability: "some", WhenBehind: "first", MessageTTL: -1},
		{Durability: publishers.Live, Retry: publishers.Attempts{MaxAttempts: 2}},
		{Retry: publishers.Attempts{MaxAttempts: -1, Timeout: time.Hour}},
		{Retry: publishers.Attempts{Schedule: []time.Duration{0, 1e18}, Min: time.Second, Max: time.Millisecond, Factor: 0.5}},
		{Retry: publishers.Attempts{Max: time.Second}},
		{Durability: publishers.Live, WhenBehind: publishers.Latest, MessageTTL: time.Hour, Retry: publishers.Attempts{Timeout: time.Second}}, // right
	} {
		s.Name, s.Publisher = "s"+string(rune('0'+len(c.Subscriptions))), "log"
		c.Subscriptions = append(c.Subscriptions, s)
	}
	err := c.Validate()
	if err == nil {
		t.Fatal("Validate() = nil")
	}
	for _, key := range []string{
		"[0].durability: ", "[0].when_behind: ", "[0].message_ttl: ", "[1].retry: ", "[2].retry.max_attempts: ", "[2].retry.timeout: ",
		"[3].retry.schedule[1]: ", "[3].retry.schedule: ", "[3].retry.max: ", "[3].retry.factor: ", "[4].retry.min: ",
	} {
		if !strings.Contains(err.Error(), "subscriptions"+key) {
			t.Errorf("Validate() = %v, want %q", err, key)
		}
	}
	if strings.Contains(err.Error(), "subscriptions[5]") {
		t.Errorf("what is right is refused: %v", err)
	}
}
