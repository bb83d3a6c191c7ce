package publishers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/indexer/changelog"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/publishers"
	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/filter"
	"github.com/fresnel-search/fresnel/publishers/lane"
)

// say appends the next change of a server, caused at a priority, and returns its id.
func (c *cloud) say(server, priority string) string {
	c.counts[server]++
	e := changelog.Entry{
		ID: fmt.Sprintf("%s@%d", server, c.counts[server]), Ref: resource.Ref{Type: "OS::Nova::Server", ID: server},
		Action: change.Updated, Lineage: "1", Revision: c.counts[server], TenantRevision: c.counts[server], TenantVisible: true,
		Time: time.Unix(c.counts[server], 0).UTC(), Owner: "p", Cause: change.Cause{Kind: change.ByNotification, Priority: priority},
	}
	if e.Revision == 1 {
		e.Action = change.Created
	}
	c.log.append(int(server[0])%2, e.Ref.Key(), changelog.Encode(&e))
	return e.ID
}

func TestCriticalChangeOvertakesAHundredThousandOthersThroughASubscriptionOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all, publishers.Subscription{Name: "alarms", Filter: filter.Filter{MinPriority: "critical"}})
		c.to.delay = map[string]time.Duration{"all": 100 * time.Millisecond}
		c.start()
		defer c.stop()
		const pending = 100_000
		for i := range pending {
			c.say(fmt.Sprintf("a%d", i), "INFO")
		}
		begun := time.Now()
		id := c.say("a", "CRITICAL")
		for time.Since(begun) < time.Second && len(c.to.ids("alarms")) == 0 {
			pass(10 * time.Millisecond)
		}
		took, waiting := time.Since(begun), pending-len(c.to.ids("all"))
		c.wantIDs("alarms", id)
		if took >= time.Second || waiting < pending/2 {
			t.Errorf("it took %v with %d others waiting, want less than 1s with most of them", took, waiting)
		}
	})
}

func TestUrgentChangeOvertakesWhatIsFetchedButNotItsOwnResource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all)
		c.to.delay = map[string]time.Duration{"all": time.Second}
		c.start()
		defer c.stop()
		for i := range 1500 {
			c.say(fmt.Sprintf("a%d", i), "INFO")
		}
		c.say("b", "INFO")
		c.say("b", "INFO")
		synctest.Wait()
		c.say("b", "error")
		c.say("c", "critical")
		pass(10 * time.Second)
		ids := c.to.ids("all")
		at := func(id string) int { return slices.Index(ids, id) }
		if len(ids) != 1504 || at("c@1") > 1000 || at("b@1") > at("b@2") || at("b@2") > at("b@3") {
			t.Errorf("of %d, c@1 came as %d, b as %d, %d, %d", len(ids), at("c@1"), at("b@1"), at("b@2"), at("b@3"))
		}
	})
}

func TestLiveSubscriptionKeepsNothingAndCountsWhatItDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, publishers.Subscription{Name: "all", Durability: publishers.Live})
		c.config.Window = 10
		c.start()
		c.change("a")
		c.wantIDs("all", "a@1")
		c.to.set(retry("http_500"))
		c.change("a")
		pass(time.Hour)
		c.wantIDs("all", "a@1", "a@2")
		c.to.set(nil)
		c.to.slow("all", time.Second)
		for i := range 25 {
			c.change(fmt.Sprintf("b%d", i))
		}
		pass(time.Minute)
		c.to.slow("all", 0)
		c.to.fail(delivery.ErrUnavailable) // as while its plugin starts again
		c.change("c")
		pass(time.Minute)
		c.to.fail(nil)
		pass(time.Hour)
		st := c.status("all")
		if want := (lane.Tally{Delivered: 11, Dropped: 17}); st.Tally != want || st.Lag != 0 {
			t.Errorf("tally = %+v with lag %d, want %+v and none", st.Tally, st.Lag, want)
		}
		if floor := c.engine.Floor("fresnel.changes")(0); floor != -1 {
			t.Errorf("it holds the log at %d", floor)
		}
		c.kill()
		c.to.forget()
		c.change("a")
		c.start()
		defer func() { c.stop() }()
		id := c.change("a")
		pass(2 * time.Second)
		c.wantIDs("all", id)
		if c.parked() != 0 || len(c.store.table(record.DeadLetters)) != 0 {
			t.Errorf("%d parked, dead letters %v", c.parked(), c.store.table(record.DeadLetters))
		}
		if got := c.status("all").Tally; got.Dropped != 17 || got.Delivered != 12 {
			t.Errorf("after a restart the tally is %+v", got)
		}
	})
}

func TestChangeExpiresAfterItsTTLAndTellsPublishersWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, publishers.Subscription{Name: "all", MessageTTL: time.Minute})
		c.start()
		defer c.stop()
		begun := time.Now()
		c.to.set(retry("http_503"))
		c.change("a")
		c.change("a")
		pass(time.Hour)
		c.wantIDs("all", "a@1", "a@1")
		if got := c.to.got["all"][0].Expires; !got.Equal(begun.Add(time.Minute)) {
			t.Errorf("Expires = %v, want a minute after %v", got, begun)
		}
		if dead := c.store.table(record.DeadLetters); !slices.Equal(dead, []string{"delivery/all/a@1", "delivery/all/a@2"}) {
			t.Errorf("dead letters %v", dead)
		}
		if got := c.status("all").Tally; got != (lane.Tally{Expired: 2}) {
			t.Errorf("tally = %+v", got)
		}
		c.to.set(nil)
		c.to.forget()
		c.change("a")
		synctest.Wait()
		if err := c.engine.RedeliverNow(t.Context(), "all", "a@2"); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		ds := c.to.got["all"]
		if len(ds) != 2 || !ds[1].Expires.Equal(time.Now().Add(time.Minute)) {
			t.Errorf("got %v, want a@2 with a new ttl at last", ds)
		}
		if got := ds[0].Event.Attributes["missed"]; got != "1:1-2" {
			t.Errorf("%s names %q, want what has expired", ds[0].ID, got)
		}
	})
}

func TestSubscriptionThatIsBehindGetsTheLatestStatesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all, publishers.Subscription{Name: "latest", WhenBehind: publishers.Latest})
		c.config.Window = 20
		c.start()
		defer func() { c.stop() }()
		down := func(delivery.Delivery) delivery.Outcome {
			return delivery.Outcome{Kind: delivery.Retry, Scope: delivery.OfDestination, Code: "refused"}
		}
		c.to.set(down)
		var want []string
		for i := range 5000 {
			server := fmt.Sprintf("a%d", i%50)
			if id := c.change(server); i >= 4950 {
				want = append(want, id)
			}
		}
		pass(time.Hour)
		c.to.set(nil)
		c.to.forget()
		c.kill() // what it has fetched is fetched anew
		c.start()
		pass(10 * time.Minute)
		got := c.to.ids("latest")
		slices.Sort(got)
		slices.Sort(want)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("latest got (-want +got)\n%.2000s", d)
		}
		if n := len(c.to.ids("all")); n != 5000 {
			t.Errorf("all got %d, want 5000", n)
		}
		if st := c.status("latest"); st.Lag != 0 || st.Tally.Delivered != 50 {
			t.Errorf("status = %+v", st)
		}
	})
}

func TestStateThatIsNotWantedSupersedesNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, publishers.Subscription{
			Name: "all", WhenBehind: publishers.Latest, Filter: filter.Filter{Actions: []change.Action{change.Created}},
		})
		c.start()
		c.stop()
		c.say("a", "INFO")
		c.say("a", "INFO")
		c.say("c", "INFO")
		c.start()
		defer c.stop()
		c.wantIDs("all", "a@1", "c@1")
	})
}

// TestReceiverFindsEveryInjectedLossByTheRevisionsAlone swallows some deliveries, has
// others refused, and asks a witness that sees the rest what is missing.
func TestReceiverFindsEveryInjectedLossByTheRevisionsAlone(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			rnd, fate := rand.New(rand.NewPCG(seed, 7)), rand.New(rand.NewPCG(seed, 8))
			c := newCloud(t, all)
			c.start()
			defer func() { c.stop() }()
			w := change.Witness{FromStart: true}
			swallowed, found, first := map[string]bool{}, map[string]bool{}, map[string]int64{}
			named := map[string]bool{} // by a delivery that was not swallowed
			calm := false
			c.to.set(func(d delivery.Delivery) delivery.Outcome {
				chance := fate.IntN(10)
				switch {
				case calm:
				case chance == 0:
					swallowed[d.ID] = true // a publisher that lies, or a receiver that forgets
					return delivery.Outcome{Kind: delivery.Delivered}
				case chance == 1:
					return delivery.Outcome{Kind: delivery.Rejected, Code: "http_400"}
				case chance == 2:
					return delivery.Outcome{Kind: delivery.Retry, Code: "http_500"}
				}
				var ch change.Change
				missed, err := change.ParseMissed(d.Event.Attributes[change.MissedAttribute])
				if err != nil || json.Unmarshal(d.Event.Data, &ch) != nil {
					t.Errorf("%+v: %v", d, err)
				}
				for _, loss := range w.See(ch, missed) {
					found[losing(t, loss)] = true
				}
				for _, r := range missed.Revisions {
					for n := r.First; n <= r.Last; n++ {
						named[fmt.Sprintf("%s@%d", ch.Resource.ID, n)] = true
					}
				}
				if first[ch.Resource.ID] == 0 {
					first[ch.Resource.ID] = ch.Revision
				}
				return delivery.Outcome{Kind: delivery.Delivered}
			})
			for i := range 300 {
				c.say(string(rune('a'+rnd.IntN(6))), "INFO")
				if i%50 == 0 {
					pass(time.Minute)
				}
				if i == 150 {
					synctest.Wait()
					pass(cursorPace)
					c.restartWhole()
				}
			}
			pass(100 * time.Hour)
			calm = true
			for s := range 6 {
				c.say(string(rune('a'+s)), "INFO") // shows what was lost at the end
			}
			pass(time.Minute)
			dead := c.store.table(record.DeadLetters)
			for id := range swallowed {
				server, revision, _ := strings.Cut(id, "@")
				if n, err := strconv.ParseInt(revision, 10, 64); err != nil || n < first[server] {
					revision = "begins" // all before the first that came are one loss
				}
				if key := server + " " + revision; !found[key] {
					t.Errorf("seed %d: the loss of %s is not found", seed, id)
				}
			}
			for key := range found {
				server, revision, _ := strings.Cut(key, " ")
				id := server + "@" + revision
				// All that named it may have been swallowed.
				if revision != "begins" && !swallowed[id] && (named[id] || !slices.Contains(dead, "delivery/all/"+id)) {
					t.Errorf("seed %d: %s is said to be lost", seed, id)
				}
			}
			if len(swallowed) == 0 || len(dead) == 0 {
				t.Errorf("seed %d: nothing is tested", seed)
			}
		})
	}
}

// TestWhatALostDeliveryNamedIsNamedAgain: once while the server runs, and once by the
// server that comes after it.
func TestWhatALostDeliveryNamedIsNamedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all)
		c.start()
		defer func() { c.stop() }()
		c.to.set(func(d delivery.Delivery) delivery.Outcome {
			if d.ID == "a@1" {
				return delivery.Outcome{Kind: delivery.Rejected, Code: "http_400"}
			}
			return delivery.Outcome{Kind: delivery.Delivered}
		})
		for range 3 {
			c.say("a", "INFO")
		}
		pass(cursorPace)
		for range 5 {
			c.say("a", "INFO")
		}
		pass(cursorPace)
		c.restartWhole()
		c.say("a", "INFO")
		synctest.Wait()
		var got []string
		for _, d := range c.to.got["all"] {
			got = append(got, d.ID+" "+d.Event.Attributes[change.MissedAttribute])
		}
		want := []string{"a@1 ", "a@2 1:1", "a@3 1:1", "a@4 1:1", "a@5 ", "a@6 ", "a@7 ", "a@8 ", "a@9 1:1"}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("deliveries and what they name (-want +got)\n%s", d)
		}
	})
}

// losing is the server and revision that a witness says is lost.
func losing(t *testing.T, loss string) string {
	t.Helper()
	var server string
	var revision int64
	text := strings.TrimPrefix(loss, "OS::Nova::Server/")
	server, text, _ = strings.Cut(text, ": ")
	if strings.HasPrefix(text, "it begins") {
		return server + " begins"
	}
	if _, err := fmt.Sscanf(text, "revision %d of", &revision); err != nil {
		t.Fatalf("%q: %v", loss, err)
	}
	return fmt.Sprintf("%s %d", server, revision)
}

func TestPauseOutlivesTheServerAndResumeGoesOnWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all)
		c.start()
		defer func() { c.stop() }()
		c.change("a")
		synctest.Wait()
		if err := c.engine.Pause(t.Context(), "all"); err != nil {
			t.Fatal(err)
		}
		c.kill() // right after the answer
		c.start()
		c.change("a")
		pass(time.Hour)
		if st := c.status("all"); st.Condition != publishers.Paused || st.Lag != 1 || st.LagSeconds > 3601 {
			t.Errorf("status = %+v, want paused with a lag of 1", st)
		}
		c.to.forget()
		if err := c.engine.Resume(t.Context(), "all"); err != nil {
			t.Fatal(err)
		}
		c.kill()
		c.start()
		c.wantIDs("all", "a@2")
		if st := c.status("all"); st.Condition != publishers.Working {
			t.Errorf("status = %+v, want working", st)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c.store.mu.Lock()
		c.store.cut = true
		c.store.mu.Unlock()
		if err := c.engine.Pause(ctx, "all"); err == nil {
			t.Error("Pause() says that it is stored although the store is away")
		}
		c.store.slop(nil)
	})
}

func TestSubscriptionHasAttemptsOfItsOwn(t *testing.T) {
	for name, tc := range map[string]struct {
		attempts publishers.Attempts
		waits    []time.Duration
	}{
		"three attempts of the common schedule": {publishers.Attempts{MaxAttempts: 3}, []time.Duration{5 * time.Second, 5 * time.Minute}},
		"a schedule":                            {publishers.Attempts{Schedule: []time.Duration{0, time.Second}}, []time.Duration{time.Second}},
		"a schedule, its last wait repeated": {
			publishers.Attempts{Schedule: []time.Duration{0, time.Second}, MaxAttempts: 4}, []time.Duration{time.Second, time.Second, time.Second},
		},
		"waits that grow": {
			publishers.Attempts{Min: time.Second, Max: 5 * time.Second, Factor: 3, MaxAttempts: 5},
			[]time.Duration{time.Second, 3 * time.Second, 5 * time.Second, 5 * time.Second},
		},
		"one attempt": {publishers.Attempts{MaxAttempts: 1}, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newCloud(t, publishers.Subscription{Name: "all", Retry: tc.attempts})
			c.start()
			defer c.stop()
			var at []time.Time
			c.to.set(func(delivery.Delivery) delivery.Outcome {
				at = append(at, time.Now())
				return delivery.Outcome{Kind: delivery.Retry, Code: "http_500"}
			})
			c.change("a")
			pass(100 * time.Hour)
			var waits []time.Duration
			for i := 1; i < len(at); i++ {
				waits = append(waits, at[i].Sub(at[i-1]))
			}
			if d := cmp.Diff(tc.waits, waits); d != "" {
				t.Errorf("%s: waits (-want +got)\n%s", name, d)
			}
			if dead := c.store.table(record.DeadLetters); len(dead) != 1 {
				t.Errorf("%s: dead letters %v", name, dead)
			}
		})
	}
}

func TestAttemptEndsAfterTheTimeoutOfItsSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, publishers.Subscription{Name: "all", Retry: publishers.Attempts{Timeout: 2 * time.Second, MaxAttempts: 1}})
		c.to.delay = map[string]time.Duration{"all": time.Hour}
		c.start()
		defer c.stop()
		c.change("a")
		pass(4 * time.Second)
		if dead := c.store.table(record.DeadLetters); len(dead) != 1 {
			t.Errorf("after 4 s of 2 s: %+v", c.status("all"))
		}
	})
}
