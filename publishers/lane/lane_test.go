package lane_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/lane"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

var (
	ok          = delivery.Outcome{Kind: delivery.Delivered}
	http500     = delivery.Outcome{Kind: delivery.Retry, Code: "http_500"}
	http400     = delivery.Outcome{Kind: delivery.Rejected, Code: "http_400"}
	gone        = delivery.Outcome{Kind: delivery.Rejected, Scope: delivery.OfDestination, Code: "http_410"}
	refused     = delivery.Outcome{Kind: delivery.Retry, Scope: delivery.OfDestination, Code: "refused"}
	panicked    = delivery.Outcome{Kind: delivery.Retry, Scope: delivery.OfPublisher, Code: "panic"}
	unanswered  = delivery.Outcome{Kind: delivery.Unknown}
	noJitter    = func() float64 { return 0.5 }
	longestWait = func() float64 { return 0.9999999 }
)

// bench drives a machine over one partition.
type bench struct {
	*lane.Machine
	t    *testing.T
	now  time.Time
	next int64
}

func newBench(t *testing.T, change func(*lane.Policy)) *bench {
	t.Helper()
	p := lane.DefaultPolicy()
	if change != nil {
		change(&p)
	}
	return &bench{Machine: lane.New(p, lane.State{}, nil, noJitter), t: t, now: start}
}

// take gives the machine one change for each lane, named lane/offset.
func (b *bench) take(lanes ...string) {
	for _, l := range lanes {
		b.Take(lane.Change{
			ID: fmt.Sprintf("%s/%d", l, b.next), Lane: l, Offset: b.next,
			Event: delivery.Event{Data: make([]byte, 100)},
		})
		b.next++
	}
}

func (b *bench) picked() (ids []string) {
	for _, s := range b.Pick(b.now, 100, 1<<20) {
		ids = append(ids, s.ID)
	}
	return ids
}

func (b *bench) answer(o delivery.Outcome, ids ...string) {
	for _, id := range ids {
		o.ID = id
		b.Ack(b.now, o)
	}
}

// stored makes durable what is to be written and tells what that was.
func (b *bench) stored() (got []string) {
	for ws := b.Writes(1000); len(ws) > 0; ws = b.Writes(1000) {
		for _, w := range ws {
			got = append(got, []string{lane.Park: "park", lane.Unpark: "unpark", lane.Dead: "dead"}[w.Kind]+" "+w.Parked.ID)
			b.Written(w.Parked.ID)
		}
	}
	slices.Sort(got)
	return got
}

// wake moves the clock on to when the machine wants to be asked again.
func (b *bench) wake() time.Duration {
	b.t.Helper()
	at, ok := b.Wake()
	if !ok {
		b.t.Fatalf("Wake() waits for nothing; counts %+v", b.Counts())
	}
	d := max(at.Sub(b.now), 0)
	b.now = b.now.Add(d)
	return d
}

func (b *bench) cursor() int64 { return b.State().Cursors[0].Offset }

func want[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s: (-want +got)\n%s", what, d)
	}
}

func TestDeliveryIsRetriedByTheScheduleOfStandardWebhooksAndThenDead(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.take("a", "a")
	var waits []time.Duration
	var total time.Duration
	for range 10 {
		d := b.wake()
		waits = append(waits, d)
		total += d
		want(t, "picked", b.picked(), []string{"a/0"})
		b.answer(http500, "a/0")
		if len(waits) < 10 {
			b.stored()
		}
	}
	want(t, "waits", waits, lane.DefaultPolicy().Schedule)
	want(t, "time between first and last attempt", total, 75*time.Hour+35*time.Minute+5*time.Second)
	want(t, "picked before the dead letter is stored", b.picked(), nil)
	want(t, "stored", b.stored(), []string{"dead a/0", "unpark a/0"})
	want(t, "picked after the dead letter is stored", b.picked(), []string{"a/1"})
}

func TestJitterMovesAWaitByAFifth(t *testing.T) {
	t.Parallel()
	m := lane.New(lane.DefaultPolicy(), lane.State{}, nil, longestWait)
	m.Take(lane.Change{ID: "a", Lane: "a"})
	m.Pick(start, 1, 1)
	m.Ack(start, delivery.Outcome{ID: "a", Kind: delivery.Retry})
	at, _ := m.Wake()
	want(t, "wait", at.Sub(start).Round(time.Millisecond), 6*time.Second)
}

func TestRetryAfterIsAFloorAndIsCapped(t *testing.T) {
	t.Parallel()
	for after, waited := range map[time.Duration]time.Duration{
		-time.Hour:       5 * time.Second,
		time.Second:      5 * time.Second,
		time.Minute:      time.Minute,
		8000 * time.Hour: 24 * time.Hour,
	} {
		b := newBench(t, nil)
		b.take("a")
		b.picked()
		b.answer(delivery.Outcome{Kind: delivery.Retry, After: after}, "a/0")
		want(t, fmt.Sprintf("wait after Retry-After %v", after), b.wake(), waited)
	}
}

func TestFailureBlocksAndParksItsLaneOnly(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.take("a", "b", "a")
	want(t, "picked", b.picked(), []string{"a/0", "b/1"})
	b.answer(http500, "a/0")
	b.answer(ok, "b/1")
	b.take("a", "b")
	want(t, "cursor before the parking is stored", b.cursor(), 0)
	want(t, "stored", b.stored(), []string{"park a/0", "park a/2", "park a/3"})
	want(t, "cursor after it", b.cursor(), 4)
	want(t, "picked", b.picked(), []string{"b/4"})
	b.wake()
	sends := b.Pick(b.now, 10, 1<<20)
	if len(sends) != 1 || sends[0].ID != "a/0" || sends[0].Attempt != 2 || sends[0].Event != nil {
		t.Errorf("Pick() = %+v, want the second attempt at a/0, from the store", sends)
	}
	b.answer(ok, "a/0")
	want(t, "picked", b.picked(), []string{"a/2"})
	want(t, "stored", b.stored(), []string{"unpark a/0"})
}

func TestRefusedDeliveryIsDeadAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.take("a", "a")
	b.picked()
	b.answer(http400, "a/0")
	want(t, "cursor", b.cursor(), 0)
	want(t, "stored", b.stored(), []string{"dead a/0"})
	want(t, "cursor", b.cursor(), 1)
	want(t, "picked", b.picked(), []string{"a/1"})
}

func TestDestinationThatIsGoneSuspendsAndKeepsEverything(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.take("a", "b", "c")
	b.picked()
	b.answer(gone, "a/0")
	b.answer(http500, "b/1")
	want(t, "room", b.Room(), false)
	want(t, "stored", b.stored(), nil)
	want(t, "cursor", b.cursor(), 0)
	if _, ok := b.Wake(); ok {
		t.Error("a suspended machine wants to wake up")
	}
	if s := b.State().Suspension; s == nil || s.Code != "http_410" {
		t.Errorf("Suspension = %+v, want http_410", s)
	}
	b.Resume()
	want(t, "picked after Resume", b.picked(), []string{"a/0", "b/1"})
}

func TestOpenBreakerStopsTheCursorParksNothingAndProbesWithOne(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.take("a", "b", "c")
	b.picked()
	b.answer(refused, "a/0")
	b.answer(refused, "b/1")
	b.answer(delivery.Outcome{Kind: delivery.Retry, After: time.Hour}, "c/2")
	want(t, "room", b.Room(), false)
	want(t, "stored", b.stored(), nil)
	want(t, "picked at once", b.picked(), nil)
	for i, waited := range []time.Duration{1, 2, 4, 8} {
		want(t, "wait for probe", b.wake(), waited*time.Second)
		probe := b.picked()
		want(t, "probe", probe, []string{[]string{"a/0", "b/1"}[i%2]})
		b.answer(refused, probe...)
	}
	b.wake()
	b.answer(ok, b.picked()...)
	want(t, "room after a success", b.Room(), true)
	want(t, "stored", b.stored(), []string{"park c/2"})
	want(t, "picked", b.picked(), []string{"b/1"})
}

func TestDestinationThatStaysAwayIsSuspendedWhenAttemptsRunOut(t *testing.T) {
	t.Parallel()
	for name, schedule := range map[string][]time.Duration{
		"default schedule": nil,
		"short schedule":   {0, 500 * time.Millisecond, 800 * time.Millisecond},
	} {
		b := newBench(t, func(p *lane.Policy) {
			if schedule != nil {
				p.Schedule = schedule
			}
			schedule = p.Schedule
		})
		b.take("a", "b")
		b.picked()
		b.answer(refused, "a/0", "b/1")
		n := 1
		for ; b.State().Suspension == nil; n++ {
			b.wake()
			b.answer(refused, b.picked()...)
		}
		var span time.Duration
		for _, d := range schedule {
			span += d
		}
		if took := b.now.Sub(start); took < span*8/10 || took > span+5*time.Minute || n < len(schedule) {
			t.Errorf("%s: suspended after %v and %d attempts", name, took, n)
		}
		want(t, "cursor", b.cursor(), 0)
	}
}

func TestStreakOfFailuresOpensTheBreaker(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(p *lane.Policy) { p.Streak = 3 })
	b.take("a", "b", "c", "d")
	b.picked()
	b.answer(http500, "a/0", "b/1")
	want(t, "open", b.State().Breaker.Open(), false)
	b.answer(http500, "c/2")
	want(t, "open", b.State().Breaker.Open(), true)
	b.answer(ok, "d/3")
	want(t, "open", b.State().Breaker.Open(), false)
}

func TestOneBadResourceDoesNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(p *lane.Policy) { p.Streak = 2 })
	b.take("a")
	for range 9 {
		b.wake()
		b.answer(http500, b.picked()...)
	}
	want(t, "open", b.State().Breaker.Open(), false)
}

func TestPublisherInTroubleIsSlowedDownAndCostsNoAttempt(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(p *lane.Policy) { p.InFlight = 8 })
	for i := range 20 {
		b.take(fmt.Sprint(i))
	}
	ids := b.picked()
	want(t, "in flight", len(ids), 8)
	b.answer(panicked, ids[0])
	b.answer(ok, ids[1:]...)
	want(t, "picked at once", b.picked(), nil)
	want(t, "pause", b.wake(), 200*time.Millisecond)
	want(t, "stored", b.stored(), nil)
	b.Unavailable(b.now, b.picked())
	want(t, "second pause", b.wake(), 200*time.Millisecond)
	b.Unavailable(b.now, b.picked())
	want(t, "third pause", b.wake(), 400*time.Millisecond)
}

func TestUnansweredDeliveryIsSoonTriedAloneAndEndsAsDeadLetter(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.take("a", "b")
	b.answer(unanswered, b.picked()...)
	want(t, "stored", b.stored(), nil)
	want(t, "wait", b.wake(), time.Second)
	want(t, "picked", b.picked(), []string{"a/0"})
	want(t, "picked beside it", b.picked(), []string{"b/1"})
	b.answer(ok, "b/1")
	for n := 2; ; n++ {
		b.answer(unanswered, "a/0")
		if n == 10 {
			break
		}
		want(t, "stored", b.stored(), []string{"park a/0"})
		if d := b.wake(); d > 30*time.Second {
			t.Errorf("wait after %d unanswered attempts = %v", n, d)
		}
		b.picked()
	}
	want(t, "stored", b.stored(), []string{"dead a/0", "unpark a/0"})
}

func TestCursorStopsWhenAsMuchIsParkedAsMayBe(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(p *lane.Policy) { p.MaxParked, p.Streak = 2, 100 })
	b.take("a", "b", "c", "d")
	b.answer(http500, b.picked()...)
	want(t, "stored", b.stored(), []string{"park a/0", "park b/1"})
	want(t, "room", b.Room(), false)
	want(t, "cursor", b.cursor(), 2)
	b.wake()
	b.picked()
	b.answer(ok, "a/0")
	want(t, "stored", b.stored(), []string{"unpark a/0"})
	want(t, "cursor", b.cursor(), 2)
	b.answer(http500, "c/2")
	want(t, "stored", b.stored(), []string{"park c/2"})
	want(t, "cursor", b.cursor(), 3)
}

func TestWindowBoundsWhatACrashRepeats(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(p *lane.Policy) { p.Window = 3 })
	b.take("a", "b", "c")
	want(t, "room", b.Room(), false)
	b.picked()
	b.answer(ok, "b/1", "c/2")
	want(t, "room while the first is in flight", b.Room(), false)
	b.answer(ok, "a/0")
	want(t, "room", b.Room(), true)
}

func TestRepeatOfAChangeStillHeldIsAccountedForOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	c := lane.Change{ID: "x", Lane: "a", Offset: 0}
	b.Take(c)
	c.Offset = 1
	b.Take(c)
	want(t, "picked", b.picked(), []string{"x"})
	b.answer(ok, "x")
	want(t, "picked", b.picked(), nil)
	want(t, "cursor", b.cursor(), 2)
}

func TestRestoredDeliveryWaitsForWhatTheLogHasBeforeIt(t *testing.T) {
	t.Parallel()
	parked := []lane.Parked{{ID: "a/5", Lane: "a", Offset: 5}}
	st := lane.State{Cursors: map[int]lane.Cursor{0: {Offset: 4}}}
	b := &bench{Machine: lane.New(lane.DefaultPolicy(), st, parked, noJitter), t: t, now: start, next: 4}
	want(t, "picked before the log is read", b.picked(), nil)
	b.take("a")
	want(t, "picked", b.picked(), []string{"a/4"})
	b.take("a")
	b.answer(ok, "a/4")
	want(t, "picked", b.picked(), []string{"a/5"})
	want(t, "next", b.Next(0), 6)
}

func TestRedeliveredDeadLetterWaitsForWhatIsInFlight(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.take("a", "a", "a")
	b.picked()
	b.answer(ok, "a/0")
	want(t, "picked", b.picked(), []string{"a/1"})
	want(t, "adopted", b.Adopt(lane.Parked{ID: "a/0", Lane: "a", Offset: 0}), true)
	want(t, "adopted twice", b.Adopt(lane.Parked{ID: "a/0", Lane: "a", Offset: 0}), false)
	want(t, "picked beside it", b.picked(), nil)
	b.answer(ok, "a/1")
	want(t, "picked", b.picked(), []string{"a/0"})
	b.answer(ok, "a/0")
	want(t, "picked", b.picked(), []string{"a/2"})
	want(t, "stored", b.stored(), []string{"unpark a/0"})
}

func TestCleanStopLeavesNothingDeliveredAboveTheMark(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.take("a", "a", "b", "c", "d")
	if got := b.picked(); !slices.Equal(got, []string{"a/0", "b/2", "c/3", "d/4"}) {
		t.Fatalf("picked %v", got)
	}
	for _, id := range []string{"a/0", "b/2", "c/3"} { // d/4 is in flight for ever, a/1 was never sent
		o := ok
		o.ID = id
		b.Ack(b.now, o)
	}
	b.Rest()
	ws := b.Writes(10)
	if len(ws) != 1 || ws[0].Kind != lane.Park || ws[0].Parked.ID != "a/1" {
		t.Fatalf("Rest writes %+v, want to park a/1", ws)
	}
	b.Written("a/1")
	st := b.State()
	if st.Cursors[0].Offset != 4 {
		t.Errorf("the mark is at %d, want before d/4, which is not answered", st.Cursors[0].Offset)
	}
	again := lane.New(lane.DefaultPolicy(), st, []lane.Parked{ws[0].Parked}, noJitter)
	if sends := again.Pick(b.now, 10, 1<<20); len(sends) != 1 || sends[0].ID != "a/1" {
		t.Errorf("after the restart Pick gives %+v, want a/1", sends)
	}
}
