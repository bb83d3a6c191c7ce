package lane_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/lane"
)

// world is everything around a machine: the log, the store, the plugin, the clock,
// and what an observer has seen delivered.
type world struct {
	t   *rapid.T
	m   *lane.Machine
	now time.Time
	log [][]lane.Change // by partition; no id: the subscription does not want it

	// The store.
	parked map[string]lane.Parked
	bytes  map[string]string
	dead   map[string]bool
	gone   map[string]bool // dead since the last restart
	state  lane.State
	policy lane.Policy

	// In memory, lost in a crash.
	flying map[string]lane.Send
	writes []lane.Write

	first map[string][]int64 // per lane: the offsets in the order of first success
	seen  map[string]bool
	told  map[string]bool // by id: dead, and named by a delivery that was accepted
	read  []int64         // by partition: how far the log was read before the restart
}

func policy() lane.Policy {
	p := lane.DefaultPolicy()
	p.Schedule = []time.Duration{0, time.Second, time.Minute, time.Hour}
	p.Window, p.InFlight, p.MaxParked, p.Streak = 12, 5, 6, 4
	return p
}

func newWorld(t *rapid.T) *world {
	w := &world{
		t: t, now: time.Unix(1e9, 0), parked: map[string]lane.Parked{}, bytes: map[string]string{}, dead: map[string]bool{},
		flying: map[string]lane.Send{}, first: map[string][]int64{}, seen: map[string]bool{},
		told: map[string]bool{}, policy: policy(), read: make([]int64, 2),
	}
	w.policy.Latest = rapid.Bool().Draw(t, "latest")
	ttl := rapid.SampledFrom([]time.Duration{0, 0, time.Minute, 3 * time.Hour}).Draw(t, "ttl")
	for p := range rapid.IntRange(1, 2).Draw(t, "partitions") {
		var log []lane.Change
		for i := range rapid.IntRange(0, 40).Draw(t, "changes") {
			c := lane.Change{Partition: p, Offset: int64(i)}
			if rapid.IntRange(0, 4).Draw(t, "wanted") > 0 {
				c.Lane = fmt.Sprintf("%d-%d", p, rapid.IntRange(0, 3).Draw(t, "resource"))
				c.ID = fmt.Sprintf("%s@%d", c.Lane, i)
				c.Event.Data = []byte("bytes of " + c.ID)
				c.Lineage, c.Revision = "1", int64(i+1)
				if rapid.IntRange(0, 5).Draw(t, "event") == 0 {
					c.Lineage, c.Revision = "", 0
				}
				c.Urgent = rapid.IntRange(0, 3).Draw(t, "urgent") == 0
				if ttl > 0 {
					c.Expires = w.now.Add(ttl)
				}
			}
			log = append(log, c)
		}
		w.log = append(w.log, log)
	}
	w.restart()
	return w
}

func (w *world) restart() {
	for p := range w.log {
		if w.m != nil {
			w.read[p] = max(w.read[p], w.m.Next(p))
		}
	}
	clear(w.flying)
	w.writes, w.gone = nil, map[string]bool{}
	for id := range w.dead {
		delete(w.parked, id)
	}
	w.m = lane.New(w.policy, w.state, slices.Collect(maps.Values(w.parked)), func() float64 { return 0.5 })
	for id := range w.dead {
		c := w.change(id)
		w.m.Bury(lane.Miss{ID: id, Lane: c.Lane, Partition: c.Partition, Offset: c.Offset, Lineage: c.Lineage, Revision: c.Revision})
	}
}

// superseded reports whether a later state of the same resource stands in the log
// below end.
func (w *world) superseded(c lane.Change, end int64) bool {
	return c.Revision > 0 && w.policy.Latest && slices.ContainsFunc(w.log[c.Partition][:end], func(o lane.Change) bool {
		return o.Lane == c.Lane && o.Revision > 0 && o.Offset > c.Offset
	})
}

func (w *world) feed() (fed bool) {
	for p, log := range w.log {
		for w.m.Room() && w.m.Next(p) < int64(len(log)) {
			switch c := log[w.m.Next(p)]; {
			case c.ID == "":
				w.m.Pass(p, c.Offset, "")
			case w.superseded(c, w.read[p]): // who has been away looks ahead first
				w.m.Supersede(p, c.Offset, c.ID)
			default:
				w.m.Take(c)
			}
			fed = true
			if rapid.Bool().Draw(w.t, "pause") {
				break
			}
		}
	}
	return fed
}

func (w *world) pick(n int) {
	waiting := w.ready()
	calm := false
	for _, s := range w.m.Pick(w.now, n, 1<<20) {
		c := w.change(s.ID)
		ln := c.Lane
		if !c.Expires.IsZero() && !w.now.Before(c.Expires) || !s.Expires.Equal(c.Expires) {
			w.t.Fatalf("%s, which expires at %v, is sent at %v as if at %v", s.ID, c.Expires, w.now, s.Expires)
		}
		if urgent := waiting[ln]; urgent && calm {
			w.t.Fatalf("%s is sent after one of a lane without anything urgent", s.ID)
		} else if !urgent {
			calm = true
		}
		w.names(s, c)
		for id := range w.flying {
			if w.change(id).Lane == ln {
				w.t.Fatalf("%s and %s are both in flight in lane %s", id, s.ID, ln)
			}
		}
		if w.gone[s.ID] {
			w.t.Fatalf("%s is sent although it is dead", s.ID)
		}
		got := w.bytes[s.ID]
		if s.Event != nil {
			got = string(s.Event.Data)
		}
		if want := "bytes of " + s.ID; got != want {
			w.t.Fatalf("%s is sent with %q, want %q", s.ID, got, want)
		}
		w.flying[s.ID] = s
	}
}

// ready tells of each lane whose head may be sent whether it has anything urgent.
func (w *world) ready() map[string]bool {
	urgent := map[string]bool{}
	for _, d := range w.m.Deliveries() {
		urgent[d.Lane] = urgent[d.Lane] || d.Urgent
	}
	return urgent
}

// names checks that a delivery names all dead ones of its lane that none before it,
// that was accepted, has named.
func (w *world) names(s lane.Send, c lane.Change) {
	named := map[string]bool{}
	for _, d := range s.Missed {
		if named[d.ID] = true; !w.dead[d.ID] || d.Offset >= c.Offset || d.Lane != c.Lane {
			w.t.Fatalf("%s names %+v", s.ID, d)
		}
	}
	for id := range w.dead {
		if o := w.change(id); o.Lane == c.Lane && o.Offset < c.Offset && !w.told[id] && !named[id] {
			w.t.Fatalf("%s does not name %s", s.ID, id)
		}
	}
}

func (w *world) change(id string) lane.Change {
	for _, log := range w.log {
		if i := slices.IndexFunc(log, func(c lane.Change) bool { return c.ID == id }); i >= 0 {
			return log[i]
		}
	}
	w.t.Fatalf("no change %q", id)
	return lane.Change{}
}

func (w *world) answer(id string, o delivery.Outcome) {
	if o.Kind == delivery.Delivered {
		for _, d := range w.flying[id].Missed {
			w.told[d.ID] = true
		}
	}
	delete(w.flying, id)
	if o.Kind == delivery.Delivered && !w.seen[id] {
		c := w.change(id)
		w.seen[id] = true
		if before := w.first[c.Lane]; len(before) > 0 && before[len(before)-1] > c.Offset {
			w.t.Fatalf("%s is first delivered after offset %d", id, before[len(before)-1])
		}
		w.first[c.Lane] = append(w.first[c.Lane], c.Offset)
	}
	o.ID = id
	w.m.Ack(w.now, o)
}

func (w *world) store(ws []lane.Write) {
	for _, wr := range ws {
		id := wr.Parked.ID
		switch wr.Kind {
		case lane.Park:
			w.parked[id] = wr.Parked
			if wr.Event != nil {
				w.bytes[id] = string(wr.Event.Data)
			}
		case lane.Unpark:
			delete(w.parked, id)
			delete(w.bytes, id)
		case lane.Dead:
			w.dead[id], w.gone[id] = true, true
		}
		w.m.Written(id)
	}
}

// check holds the promise: whatever lies below a stored or a storable mark is
// delivered, parked in the store, or dead.
func (w *world) check() {
	for _, st := range []lane.State{w.state, w.m.State()} {
		for p, c := range st.Cursors {
			for _, ch := range w.log[p][:c.Offset] {
				if ch.ID != "" && !w.seen[ch.ID] && !w.dead[ch.ID] && w.parked[ch.ID].ID == "" && !w.superseded(ch, w.m.Next(p)) && !w.superseded(ch, w.read[p]) {
					w.t.Fatalf("cursor of partition %d is at %d, but %s is nowhere", p, c.Offset, ch.ID)
				}
			}
			if c.Offset > 0 && c.ID != w.log[p][c.Offset-1].ID {
				w.t.Fatalf("cursor of partition %d at %d names %q, want %q", p, c.Offset, c.ID, w.log[p][c.Offset-1].ID)
			}
		}
	}
	if n := w.m.Counts(); n.Open > w.policy.Window || n.InFlight != len(w.flying) || n.Parked > w.policy.MaxParked+1 {
		w.t.Fatalf("the machine holds too much: %+v, in flight %d", n, len(w.flying))
	}
}

var outcomes = []delivery.Outcome{
	{Kind: delivery.Delivered},
	{Kind: delivery.Delivered},
	{Kind: delivery.Delivered},
	{Kind: delivery.Unknown},
	{Kind: delivery.Retry, Code: "http_500"},
	{Kind: delivery.Retry, Code: "http_500"},
	{Kind: delivery.Retry, Code: "http_429", After: time.Minute},
	{Kind: delivery.Retry, Scope: delivery.OfDestination, Code: "refused"},
	{Kind: delivery.Retry, Scope: delivery.OfPublisher, Code: "panic"},
	{Kind: delivery.Rejected, Code: "http_400"},
	{Kind: delivery.Rejected, Scope: delivery.OfDestination, Code: "http_410"},
}

func TestEveryChangeIsDeliveredParkedOrDeadWhateverHappens(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		t.Repeat(map[string]func(*rapid.T){
			"":     func(*rapid.T) { w.check() },
			"feed": func(*rapid.T) { w.feed() },
			"pick": func(t *rapid.T) { w.pick(rapid.IntRange(1, 4).Draw(t, "n")) },
			"answer": func(t *rapid.T) {
				if len(w.flying) == 0 {
					t.Skip("nothing is in flight: rapid draws another step")
				}
				id := rapid.SampledFrom(slices.Sorted(maps.Keys(w.flying))).Draw(t, "id")
				w.answer(id, rapid.SampledFrom(outcomes).Draw(t, "outcome"))
			},
			"unavailable": func(*rapid.T) {
				w.m.Unavailable(w.now, slices.Collect(maps.Keys(w.flying)))
				clear(w.flying)
			},
			"hand out writes": func(*rapid.T) { w.writes = append(w.writes, w.m.Writes(3)...) },
			"store": func(t *rapid.T) {
				ws := rapid.Permutation(w.writes).Draw(t, "order")
				n := rapid.IntRange(0, len(ws)).Draw(t, "n")
				w.store(ws[:n])
				w.writes = ws[n:]
			},
			"save the cursors": func(*rapid.T) { w.state = w.m.State() },
			"wait": func(t *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.Int64Range(0, int64(2*time.Hour)).Draw(t, "d")))
				w.m.Tick(w.now)
			},
			"resume": func(*rapid.T) { w.m.Resume() },
			"pause":  func(*rapid.T) { w.m.Pause(w.now, "") },
			"hurry": func(t *rapid.T) {
				if ds := w.m.Deliveries(); len(ds) > 0 {
					slices.SortFunc(ds, func(a, b lane.Held) int { return strings.Compare(a.ID, b.ID) })
					w.m.Hurry(rapid.SampledFrom(ds).Draw(t, "hurried").ID)
				}
			},
			"crash": func(*rapid.T) { w.restart() },
		})
		w.drain()
	})
}

// drain lets everything succeed and expects nothing to be left over.
func (w *world) drain() {
	if w.m.Suspended() {
		w.m.Resume()
	}
	for {
		fed := w.feed()
		w.pick(100)
		idle := len(w.flying) == 0
		for _, id := range slices.Sorted(maps.Keys(w.flying)) {
			w.answer(id, delivery.Outcome{Kind: delivery.Delivered})
		}
		ws := append(w.writes, w.m.Writes(100)...)
		w.writes = nil
		w.store(ws)
		w.check()
		if at, ok := w.m.Wake(); ok && at.After(w.now) {
			w.now = at
			continue
		}
		if idle && !fed && len(ws) == 0 {
			break
		}
	}
	for p, log := range w.log {
		for _, c := range log {
			if c.ID != "" && !w.seen[c.ID] && !w.dead[c.ID] && !w.superseded(c, int64(len(log))) {
				w.t.Errorf("%s was never delivered: %+v", c.ID, w.m.Counts())
			}
		}
		if got := w.m.State().Cursors[p].Offset; got != int64(len(log)) && len(log) > 0 {
			w.t.Errorf("cursor of partition %d ends at %d of %d", p, got, len(log))
		}
	}
	if n := w.m.Counts(); n.Open+n.InFlight+n.Parked+n.Lanes != 0 || len(w.parked) != 0 {
		w.t.Errorf("left over: %+v and %d parked", n, len(w.parked))
	}
}
