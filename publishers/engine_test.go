package publishers_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/publishers"
	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/filter"
)

var all = publishers.Subscription{Name: "all"}

func retry(code string) func(delivery.Delivery) delivery.Outcome {
	return func(delivery.Delivery) delivery.Outcome {
		return delivery.Outcome{Kind: delivery.Retry, Code: code}
	}
}

func TestNewSubscriptionStartsAtTheHeadAndGetsWhatFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all)
		c.change("a")
		c.start()
		defer c.stop()
		begun := time.Now()
		want := []string{c.change("a"), c.change("a")}
		c.wantIDs("all", want...)
		if took := time.Since(begun); took != 0 {
			t.Errorf("delivery waited for a timer of %v", took)
		}
		if err := c.engine.Ready(); err != nil {
			t.Errorf("Ready() = %v", err)
		}
	})
}

func TestEventIsACloudEventOfTheChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all)
		c.start()
		defer c.stop()
		c.change("a")
		synctest.Wait()
		d := c.to.got["all"][0]
		var ch change.Change
		if err := json.Unmarshal(d.Event.Data, &ch); err != nil || ch.ID != "a@1" || ch.Resource.ID != "a" {
			t.Errorf("data = %s, %v", d.Event.Data, err)
		}
		d.Event.Data = nil
		want := delivery.Delivery{ID: "a@1", Attempt: 1, Event: delivery.Event{
			ID: "a@1", Type: "org.fresnel.resource.updated", Source: "/fresnel", Subject: "OS::Nova::Server/a",
			Time: time.Unix(1, 0).UTC(), ContentType: "application/json",
			Attributes: map[string]string{"dataschema": change.DataSchema},
		}}
		if diff := cmp.Diff(want, d); diff != "" {
			t.Errorf("delivery (-want +got)\n%s", diff)
		}
	})
}

func TestSubscriptionsGetWhatTheirFilterAndProjectsLetThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all,
			publishers.Subscription{Name: "tenant", Filter: filter.Filter{Projects: []string{"p-a"}}},
			publishers.Subscription{Name: "ports", Filter: filter.Filter{Types: []string{"OS::Neutron::*"}}},
			publishers.Subscription{Name: "created", Filter: filter.Filter{Actions: []change.Action{change.Created}}},
		)
		c.start()
		defer c.stop()
		c.change("a")
		synctest.Wait()
		c.change("b")
		c.wantIDs("all", "a@1", "b@1")
		c.wantIDs("tenant", "a@1")
		c.wantIDs("ports")
		c.wantIDs("created")
	})
}

func TestStoppedEngineGoesOnWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all)
		c.start()
		c.change("a")
		synctest.Wait()
		c.stop()
		c.change("a")
		c.config.Subscriptions[0].Filter.Types = []string{"OS::Nova::*"} // a changed filter keeps the cursor
		c.start()
		defer c.stop()
		c.change("a")
		c.wantIDs("all", "a@1", "a@2", "a@3")
	})
}

func TestStopLetsAttemptsFinishWithinTheDrainTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all)
		c.to.delay = map[string]time.Duration{"all": 3 * time.Second}
		c.start()
		c.change("a")
		synctest.Wait()
		c.stop()
		c.wantIDs("all", "a@1")
		c.to.slow("all", time.Minute)
		c.start()
		c.change("a")
		synctest.Wait()
		begun := time.Now()
		c.stop()
		if took := time.Since(begun); took > 6*time.Second {
			t.Errorf("stopping took %v", took)
		}
		c.to.slow("all", 0)
		c.start()
		c.wantIDs("all", "a@1", "a@2")
		c.stop()
	})
}

func TestFailingDeliveryEndsAfterThreeDaysAsADeadLetterThatCanBeRedelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all)
		c.start()
		defer c.stop()
		c.to.set(func(d delivery.Delivery) delivery.Outcome {
			if d.ID == "a@1" {
				return delivery.Outcome{Kind: delivery.Retry, Code: "http_500", Message: "oops"}
			}
			return delivery.Outcome{Kind: delivery.Delivered}
		})
		begun := time.Now()
		c.change("a")
		c.change("a")
		c.change("c")
		synctest.Wait()
		pass(cursorPace)
		if st := c.status("all"); st.Parked != 2 || st.Cursors[1] != 3 {
			t.Errorf("status = %+v, want 2 parked and the cursor behind them", st)
		}
		c.restartWhole()
		for c.parked() > 0 {
			pass(time.Minute)
		}
		if took := time.Since(begun).Round(time.Hour); took != 76*time.Hour {
			t.Errorf("the lane was free after %v, want 75 h 35 min", took)
		}
		c.wantIDs("all", slices.Concat([]string{"a@1", "c@1"}, slices.Repeat([]string{"a@1"}, 9), []string{"a@2"})...)
		dead := c.store.table(record.DeadLetters)
		if !slices.Equal(dead, []string{"delivery/all/a@1"}) {
			t.Fatalf("dead letters: %v", dead)
		}
		c.to.set(nil)
		if err := c.engine.Redeliver(t.Context(), dead[0]); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		got := c.to.got["all"]
		first, last := got[0], got[len(got)-1]
		last.Attempt = 1
		if diff := cmp.Diff(first, last); diff != "" {
			t.Errorf("redelivered (-first +last)\n%s", diff)
		}
		pass(cursorPace)
		if dead := c.store.table(record.DeadLetters); len(dead) != 0 || c.parked() != 0 {
			t.Errorf("left: %v and %d parked", dead, c.parked())
		}
	})
}

// cursorPace is longer than cursors wait to be saved.
const cursorPace = time.Second

func (c *cloud) restartWhole() {
	c.t.Helper()
	c.stop()
	c.start()
}

func TestDestinationThatIsGoneIsSuspendedUntilResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all)
		c.start()
		c.to.set(func(delivery.Delivery) delivery.Outcome {
			return delivery.Outcome{Kind: delivery.Rejected, Scope: delivery.OfDestination, Code: "http_410"}
		})
		c.change("a")
		c.change("b")
		synctest.Wait()
		c.restartWhole()
		defer func() { c.stop() }()
		for range 5 {
			c.change("a")
		}
		pass(time.Hour)
		if st := c.status("all"); st.Condition != publishers.Suspended || st.Code != "http_410" || st.Parked != 0 {
			t.Errorf("status = %+v, want suspended by http_410", st)
		}
		c.to.set(nil)
		c.to.forget()
		if err := c.engine.Resume(t.Context(), "all"); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		got := c.to.ids("all")
		slices.Sort(got)
		if want := []string{"a@1", "a@2", "a@3", "a@4", "a@5", "a@6", "b@1"}; !slices.Equal(got, want) {
			t.Errorf("got %v after Resume, want %v", got, want)
		}
		if err := c.engine.Resume(t.Context(), "none"); !errors.Is(err, publishers.ErrUnknown) {
			t.Errorf("Resume of an unknown name = %v", err)
		}
	})
}

func TestDeadDestinationDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		subs := []publishers.Subscription{all}
		dead := map[string]time.Duration{}
		for i := range 20 {
			name := fmt.Sprintf("dead-%d", i)
			subs = append(subs, publishers.Subscription{Name: name})
			dead[name] = time.Hour
		}
		c := newCloud(t, subs...)
		c.config.Window = 50
		c.to.delay = dead
		c.start()
		defer c.stop()
		begun := time.Now()
		for range 300 {
			c.change("a")
			c.change("b")
			synctest.Wait()
		}
		if n := len(c.to.ids("all")); n != 600 || time.Since(begun) != 0 {
			t.Errorf("%d of 600 delivered after %v, want all at once", n, time.Since(begun))
		}
	})
}

func TestDestinationThatComesBackGetsEverythingInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all)
		c.config.Window = 40
		c.start()
		defer c.stop()
		c.to.set(func(delivery.Delivery) delivery.Outcome {
			return delivery.Outcome{Kind: delivery.Retry, Scope: delivery.OfDestination, Code: "refused"}
		})
		var want []string
		for range 500 {
			want = append(want, c.change("a"))
		}
		pass(24 * time.Hour)
		if st := c.status("all"); st.Condition != publishers.Probing || c.parked() != 0 || st.Lag == 0 {
			t.Errorf("status = %+v with %d parked, want an open breaker and nothing parked", st, c.parked())
		}
		c.to.set(nil)
		c.to.forget()
		pass(10 * time.Minute)
		c.wantIDs("all", want...)
		if st := c.status("all"); st.Lag != 0 || st.Behind != 0 || st.Condition != publishers.Working {
			t.Errorf("status = %+v, want it at the head again", st)
		}
	})
}

func TestPluginThatIsNotThereCostsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all)
		c.to.err = fmt.Errorf("starting: %w", delivery.ErrUnavailable)
		c.start()
		defer c.stop()
		c.change("a")
		pass(time.Hour)
		c.to.mu.Lock()
		c.to.err = nil
		c.to.mu.Unlock()
		pass(time.Minute)
		c.wantIDs("all", "a@1")
		if d := c.to.got["all"][0]; d.Attempt != 1 {
			t.Errorf("attempt = %d, want 1", d.Attempt)
		}
	})
}

func TestRepeatedEntriesAreNotDeliveredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all)
		c.start()
		c.put("a", 1)
		c.put("a", 2)
		c.put("a", 1)
		c.put("a", 2)
		c.put("a", 3)
		synctest.Wait()
		c.restartWhole()
		defer func() { c.stop() }()
		c.put("a", 2)
		c.put("a", 3)
		c.put("a", 4)
		c.wantIDs("all", "a@1", "a@2", "a@3", "a@4")
	})
}

func TestLostChangesAreAGapThatIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all)
		c.start()
		c.change("a")
		synctest.Wait()
		c.stop()
		for range 9 {
			c.change("a")
		}
		c.log.trim(1, 7)
		c.start()
		c.wantIDs("all", "a@1", "a@8", "a@9", "a@10")
		if st := c.status("all"); st.Gaps != 1 {
			t.Errorf("status = %+v, want a gap", st)
		}
		if dead := c.store.table(record.DeadLetters); !slices.Equal(dead, []string{"delivery/all/gap-1-1-7"}) {
			t.Errorf("dead letters: %v", dead)
		}
		c.stop()
	})
}

func TestAnotherLogIsAGapAndIsReadFromItsStart(t *testing.T) {
	for name, length := range map[string]int{"shorter": 1, "as long": 3, "longer": 5} {
		synctest.Test(t, func(t *testing.T) {
			c := newCloud(t, all)
			c.start()
			for range 3 {
				c.change("a")
			}
			synctest.Wait()
			c.stop()
			c.log = newLog(2)
			c.to.forget()
			var want []string
			for range length {
				want = append(want, c.change("c"))
			}
			c.start()
			c.wantIDs("all", want...)
			if st := c.status("all"); st.Gaps != 1 {
				t.Errorf("%s log: status = %+v, want a gap", name, st)
			}
			c.stop()
		})
	}
}

func TestRecordThatIsNoEntryIsADeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all)
		c.start()
		defer c.stop()
		c.log.append(1, "a", []byte("{"))
		c.change("a")
		c.wantIDs("all", "a@1")
		if dead := c.store.table(record.DeadLetters); !slices.Equal(dead, []string{"delivery/fresnel.changes/1/0"}) {
			t.Errorf("dead letters: %v", dead)
		}
	})
}

func TestStateOfARemovedNameGoesAfterSevenDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all, publishers.Subscription{Name: "old"})
		c.start()
		c.to.set(retry("http_500"))
		c.change("a")
		synctest.Wait()
		c.stop()
		c.config.Subscriptions = c.config.Subscriptions[:1]
		c.start()
		defer c.stop()
		pass(6 * 24 * time.Hour)
		if got := c.store.table("subscriptions"); !slices.Equal(got, []string{"all", "old"}) {
			t.Errorf("after 6 days: %v", got)
		}
		pass(25 * time.Hour)
		if got := c.store.table("subscriptions"); !slices.Equal(got, []string{"all"}) || c.parked() != 0 {
			t.Errorf("after 7 days: %v and %d parked", got, c.parked())
		}
	})
}

func TestSubscriptionTakenOverByAnotherProcessStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all)
		c.start()
		first, stop := c.engine, c.stop
		firstStopped, firstCancel := c.stopped, c.cancel
		c.start()
		c.change("a")
		pass(cursorPace)
		if st := first.Status()[0]; st.Condition != publishers.Fenced {
			t.Errorf("status of the first = %+v, want fenced", st)
		}
		if st := c.status("all"); st.Condition != publishers.Working {
			t.Errorf("status of the second = %+v, want working", st)
		}
		c.to.set(func(delivery.Delivery) delivery.Outcome {
			return delivery.Outcome{Kind: delivery.Rejected, Code: "http_400"}
		})
		id := c.change("a")
		pass(cursorPace)
		c.to.set(nil)
		if err := first.RedeliverNow(t.Context(), "all", id); !errors.Is(err, publishers.ErrElsewhere) {
			t.Errorf("RedeliverNow() by the first = %v", err)
		}
		if dead := c.store.table(record.DeadLetters); !slices.Equal(dead, []string{"delivery/all/" + id}) {
			t.Errorf("dead letters: %v", dead)
		}
		stop()
		firstCancel()
		if err := <-firstStopped; err != nil {
			t.Errorf("Run() of the first = %v", err)
		}
	})
}

func TestFloorIsTheLowestCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all, publishers.Subscription{Name: "slow"})
		c.to.delay = map[string]time.Duration{"slow": 5 * time.Second}
		c.start()
		defer c.stop()
		floor := c.engine.Floor("fresnel.changes")
		for range 4 {
			c.change("a")
		}
		synctest.Wait()
		if got := floor(1); got != 0 {
			t.Errorf("floor = %d, want 0", got)
		}
		pass(time.Minute)
		if got := floor(1); got != 3 {
			t.Errorf("floor = %d, want 3", got)
		}
		if got := c.engine.Floor("other")(1); got != -1 {
			t.Errorf("floor of another topic = %d, want -1", got)
		}
	})
}

func TestConfigurationErrorsNameTheirKeys(t *testing.T) {
	t.Parallel()
	c := publishers.DefaultConfig()
	if err := c.Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
	c.Timeout, c.Window, c.Retry.Schedule = 0, 0, nil
	c.Subscriptions = []publishers.Subscription{
		{Name: "a/b", Destination: "no uri", AdminFields: true, Filter: filter.Filter{Projects: []string{"p"}, MinPriority: "x"}},
		{Name: "a", Publisher: "webhook"},
		{Name: "a", Publisher: "webhook", Retry: publishers.Attempts{Schedule: []time.Duration{-1}}},
		{Name: "b"},
	}
	err := c.Validate()
	for _, key := range []string{
		"timeout: ", "window: ", "retry.schedule: ", "subscriptions[0].name: ", "subscriptions[3].publisher: ",
		"subscriptions[0].destination: ", "subscriptions[0].filter.min_priority: ", "subscriptions[0].admin_fields: ",
		"subscriptions[2].name: ", "subscriptions[2].retry.schedule[0]: ",
	} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("Validate() = %v, want %q", err, key)
		}
	}
}

func TestMetricsStartAtZeroForEachPublisher(t *testing.T) {
	t.Parallel()
	c := newCloud(t, all)
	reg := prometheus.NewRegistry()
	if _, err := publishers.New(c.config, publishers.Deps{Log: c.log, Records: c.store, Plugins: c.to, Registerer: reg}); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil || len(families) < 8 {
		t.Errorf("Gather() = %d families, %v", len(families), err)
	}
}
