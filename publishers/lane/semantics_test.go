package lane_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/lane"
)

// put gives the machine one change, named lane/offset, as f makes it.
func (b *bench) put(l string, f func(*lane.Change)) {
	c := lane.Change{
		ID: fmt.Sprintf("%s/%d", l, b.next), Lane: l, Offset: b.next, Lineage: "1", Revision: b.next + 1,
		Event: delivery.Event{Data: make([]byte, 100)},
	}
	if f != nil {
		f(&c)
	}
	b.Take(c)
	b.next++
}

func urgent(c *lane.Change) { c.Urgent = true }

func event(c *lane.Change) { c.Lineage, c.Revision = "", 0 }

func TestUrgentChangeOvertakesOtherResourcesButNotItsOwn(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(p *lane.Policy) { p.InFlight = 1 })
	b.put("a", nil)
	b.put("b", nil)
	b.put("c", nil)
	b.put("c", urgent)
	b.put("d", urgent)
	b.put("e", nil)
	var got []string
	for ids := b.picked(); len(ids) > 0; ids = b.picked() {
		got = append(got, ids...)
		b.answer(ok, ids...)
	}
	want(t, "order", got, []string{"c/2", "d/4", "c/3", "a/0", "b/1", "e/5"})
}

func TestLaterStateTakesThePlaceOfThoseNotSentAndOfNothingElse(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(p *lane.Policy) { p.Latest = true })
	b.put("a", nil)
	want(t, "picked", b.picked(), []string{"a/0"})
	b.put("a", nil)
	b.put("a", event)
	b.put("a", nil)
	b.put("b", nil)
	b.put("b", nil)
	b.answer(ok, "a/0")
	want(t, "picked", b.picked(), []string{"b/5", "a/2"})
	b.answer(ok, "a/2", "b/5")
	want(t, "picked", b.picked(), []string{"a/3"})
	b.answer(ok, "a/3")
	want(t, "cursor", b.cursor(), 6)
	want(t, "tally", b.State().Tally, lane.Tally{Delivered: 4, Superseded: 2})
}

func TestStateThatTakesThePlaceOfAFailedOneWaitsAsThatDid(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(p *lane.Policy) { p.Latest = true })
	b.put("a", nil)
	b.answer(http500, b.picked()...)
	want(t, "stored", b.stored(), []string{"park a/0"})
	b.put("a", nil)
	want(t, "picked at once", b.picked(), nil)
	want(t, "stored", b.stored(), []string{"park a/1", "unpark a/0"})
	want(t, "cursor", b.cursor(), 2)
	want(t, "wait", b.wake(), 5*time.Second)
	want(t, "picked", b.picked(), []string{"a/1"})
}

func TestExpiredDeliveryIsADeadLetterWithoutAnAttempt(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	soon := func(c *lane.Change) { c.Expires = start.Add(time.Minute) }
	b.put("a", soon)
	b.put("b", soon)
	b.put("b", nil)
	b.put("c", func(c *lane.Change) { c.Expires = start })
	want(t, "picked", b.picked(), []string{"a/0", "b/1"})
	want(t, "stored", b.stored(), []string{"dead c/3"})
	b.answer(ok, "a/0")
	b.answer(delivery.Outcome{Kind: delivery.Retry, Code: "http_503", After: time.Hour}, "b/1")
	b.stored()
	want(t, "wait", b.wake(), time.Minute)
	want(t, "picked", b.picked(), nil)
	ws := b.Writes(10)
	if len(ws) != 1 || ws[0].Kind != lane.Dead || ws[0].Code != "expired" ||
		ws[0].Detail != "nobody accepted it before 2026-01-01T00:01:00Z; last answer http_503: " {
		t.Fatalf("Writes() = %+v, want the dead letter of b/1", ws)
	}
	b.Written("b/1")
	sends := b.Pick(b.now, 10, 1<<20)
	if len(sends) != 1 || sends[0].ID != "b/2" || len(sends[0].Missed) != 1 || sends[0].Missed[0].ID != "b/1" {
		t.Errorf("Pick() = %+v, want b/2, which names b/1", sends)
	}
	want(t, "tally", b.State().Tally, lane.Tally{Delivered: 1, Expired: 2})
}

// named is what the delivery of an id names that is to be sent now.
func (b *bench) named(id string) (ids []string, more bool) {
	b.t.Helper()
	for _, s := range b.Pick(b.now, 10, 1<<20) {
		if s.ID != id {
			continue
		}
		for _, d := range s.Missed {
			ids = append(ids, d.ID)
		}
		more = s.More
	}
	return ids, more
}

func TestDeliveriesNameThoseGivenUpOnUntilThreeAreAccepted(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for range 6 {
		b.put("a", nil)
	}
	b.put("b", nil)
	names := func(id string, missed ...string) {
		t.Helper()
		ids, more := b.named(id)
		want(t, id+" names", ids, missed)
		want(t, id+" says that there are more", more, false)
	}
	names("a/0")
	b.answer(http400, "a/0")
	b.stored()
	names("a/1", "a/0")
	b.answer(http400, "a/1")
	b.stored()
	names("a/2", "a/0", "a/1")
	b.answer(ok, "a/2")
	names("a/3", "a/0", "a/1")
	b.answer(http400, "a/3")
	b.stored()
	names("a/4", "a/0", "a/1", "a/3")
	b.answer(ok, "a/4")
	b.Adopt(lane.Parked{ID: "a/3", Lane: "a", Offset: 3, Lineage: "1", Revision: 4}) // tried again
	names("a/3", "a/0", "a/1")
	b.answer(ok, "a/3")
	names("a/5")
	b.answer(ok, "a/5")
	b.Machine = lane.New(lane.DefaultPolicy(), b.State(), nil, noJitter)
	b.Bury(lane.Miss{ID: "c/0", Lane: "c", Offset: 0})
	b.put("c", nil)
	names("c/7", "c/0")
}

func TestOldestOfVeryManyGivenUpOnAreSaidToBeMore(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for i := range 1001 {
		b.Bury(lane.Miss{ID: fmt.Sprint(i), Lane: "a", Offset: -2000 + int64(i)})
	}
	for i := range 4 {
		b.put("a", nil)
		id := fmt.Sprint("a/", i)
		ids, more := b.named(id)
		want(t, id+" names so many", len(ids), []int{1000, 1000, 1000, 0}[i])
		want(t, id+" says that there are more", more, i < 3)
		b.answer(ok, id)
	}
}

func TestLiveSubscriptionTriesOnceKeepsNothingAndCountsWhatItDrops(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(p *lane.Policy) { p.Live, p.Window = true, 4 })
	dropped := int64(0)
	drops := func(what string, n int64) {
		t.Helper()
		dropped += n
		want(t, "dropped: "+what, b.State().Tally.Dropped, dropped)
		want(t, "stored: "+what, b.stored(), nil)
	}
	b.take("a", "b", "c", "d", "e", "f")
	drops("what has no room", 2)
	ids := b.picked()
	b.answer(http500, ids[0])
	b.answer(http400, ids[1])
	b.answer(unanswered, ids[2])
	b.Unavailable(b.now, ids[3:])
	drops("what was not accepted at once", 4)
	want(t, "cursor", b.cursor(), 6)
	b.now = b.now.Add(time.Minute)
	b.take("g", "h")
	b.now = b.now.Add(time.Minute)
	b.answer(refused, b.picked()[0])
	b.take("i", "j")
	drops("what came while the destination was away, but the newest", 2)
	b.wake()
	want(t, "probe", b.picked(), []string{"j/9"})
	b.answer(ok, "j/9", "h/7")
	b.Pause(b.now, "")
	b.take("k")
	drops("what came while it was paused", 1)
	b.Resume()
	b.take("l")
	want(t, "picked", b.picked(), []string{"l/11"})
	b.answer(delivery.Outcome{Kind: delivery.Deferred, After: time.Hour}, "l/11")
	drops("what its publisher would have later", 1)
}

// TestDeliveryWhoseTimeHasNotComeHasNotFailed: more wait for their digest than may fail
// in a row.
func TestDeliveryWhoseTimeHasNotComeHasNotFailed(t *testing.T) {
	t.Parallel()
	notYet := delivery.Outcome{Kind: delivery.Deferred, Code: "digest", After: time.Hour}
	var lanes, ids []string
	for i := range 12 {
		lanes, ids = append(lanes, fmt.Sprint("l", i)), append(ids, fmt.Sprint("l", i, "/", i))
	}
	p := lane.DefaultPolicy()
	p.Schedule = p.Schedule[:1]
	b := &bench{Machine: lane.New(p, lane.State{}, nil, noJitter), t: t, now: start}
	b.take(lanes...)
	b.answer(notYet, b.picked()...)
	want(t, "breaker", b.Breaking(), false)
	parked := b.Writes(100)
	for _, w := range parked {
		want(t, "kind", w.Kind, lane.Park)
		b.Written(w.Parked.ID)
	}
	want(t, "cursor", b.cursor(), 12)

	var kept []lane.Parked
	for _, w := range parked {
		kept = append(kept, w.Parked)
	}
	b.Machine = lane.New(p, b.State(), kept, noJitter)
	b.take("l0")
	want(t, "stored", b.stored(), []string{"park l0/12"})
	want(t, "picked", b.picked(), nil)
	want(t, "wait", b.wake(), time.Hour)
	sends := b.Pick(b.now, 100, 1<<20)
	want(t, "sent", len(sends), len(ids))
	want(t, "attempt", sends[0].Attempt, 2)
	b.answer(delivery.Outcome{Kind: delivery.Deferred}, sends[0].ID) // with no time
	want(t, "wait at least", b.wake(), 200*time.Millisecond)
	for _, s := range sends[1:] {
		b.answer(ok, s.ID)
	}
	b.answer(ok, b.picked()...)
	b.answer(ok, b.picked()...)
	want(t, "tally", b.State().Tally, lane.Tally{Delivered: 13})
}

func TestPauseHoldsEverythingAndOutlivesTheMachine(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.take("a")
	b.picked()
	b.Pause(b.now, "asked for")
	b.answer(ok, "a/0")
	want(t, "room", b.Room(), false)
	m := lane.New(lane.DefaultPolicy(), b.State(), nil, noJitter)
	want(t, "suspended after a restart", m.Suspended(), true)
	want(t, "why", m.State().Suspension.Code, lane.Paused)
	m.Resume()
	want(t, "room after Resume", m.Room(), true)
}

func TestParkedDeliveryCanBeHurriedUnlessAnotherIsBeforeIt(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.take("a", "a")
	b.answer(http500, b.picked()...)
	b.stored()
	want(t, "hurry the second", b.Hurry("a/1"), false)
	want(t, "hurry an unknown one", b.Hurry("x"), false)
	want(t, "hurry the first", b.Hurry("a/0"), true)
	want(t, "picked", b.picked(), []string{"a/0"})
	want(t, "hurry what is in flight", b.Hurry("a/0"), false)
	b.answer(ok, "a/0")
}

func TestDestinationIsWaitedForHoweverFewAttemptsADeliveryHas(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(p *lane.Policy) { p.Schedule, p.Patience = []time.Duration{0}, time.Hour })
	b.take("a")
	b.picked()
	b.answer(refused, "a/0")
	want(t, "suspended at once", b.Suspended(), false)
	for !b.Suspended() {
		b.wake()
		b.answer(refused, b.picked()...)
	}
	if took := b.now.Sub(start); took < 48*time.Minute || took > 70*time.Minute {
		t.Errorf("suspended after %v, want about an hour", took)
	}
}

func TestOpenBreakerTakesAChangeToProbeWithAfterARestart(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.take("a")
	b.picked()
	b.answer(refused, "a/0")
	b.Machine = lane.New(lane.DefaultPolicy(), b.State(), nil, noJitter)
	b.next = 0
	want(t, "room", b.Room(), true)
	b.take("a")
	want(t, "room with one to probe with", b.Room(), false)
	b.wake()
	want(t, "probe", b.picked(), []string{"a/0"})
	b.answer(ok, "a/0")
	want(t, "room", b.Room(), true)
}

func TestLiveSubscriptionDropsWhatItHadParkedBeforeItWasLive(t *testing.T) {
	t.Parallel()
	p := lane.DefaultPolicy()
	p.Live = true
	parked := []lane.Parked{{ID: "a/0", Lane: "a", Offset: 0}, {ID: "b/9", Lane: "b", Offset: 9}}
	b := &bench{Machine: lane.New(p, lane.State{Cursors: map[int]lane.Cursor{0: {Offset: 4}}}, parked, noJitter), t: t, now: start, next: 4}
	want(t, "picked", b.picked(), []string{"a/0"})
	b.answer(gone, "a/0")
	want(t, "stored", b.stored(), []string{"unpark a/0", "unpark b/9"})
	for range 9 {
		b.take("c")
	}
	want(t, "tally", b.State().Tally, lane.Tally{Dropped: 11})
}
