package publishers_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/publishers"
	"github.com/fresnel-search/fresnel/publishers/delivery"
)

// crashRuns may be raised to search longer; each run has a seed of its own.
var crashRuns = flag.Int("crashes", 25, "how many histories with crashes are tried")

// observer is a receiver that sees every attempt and remembers what succeeded.
type observer struct {
	t     *testing.T
	seed  uint64
	rnd   *rand.Rand
	calm  bool              // everything succeeds
	bytes map[string]string // by delivery id
	first map[string]int64  // the last revision that was delivered for the first time, by server
	done  map[string]bool
	// witness sees what is accepted; nil where the subscription does not want all.
	witness *change.Witness
}

var moods = []delivery.Outcome{
	{Kind: delivery.Unknown},
	{Kind: delivery.Rejected, Code: "http_400"},
	{Kind: delivery.Retry, Code: "http_500"},
	{Kind: delivery.Retry, Code: "http_500"},
	{Kind: delivery.Retry, Code: "http_429", After: 20 * time.Second},
	{Kind: delivery.Retry, Scope: delivery.OfDestination, Code: "refused"},
	{Kind: delivery.Retry, Scope: delivery.OfPublisher, Code: "panic"},
}

func (o *observer) answer(d delivery.Delivery) delivery.Outcome {
	same := d.Event
	same.Attributes = maps.Clone(same.Attributes)
	delete(same.Attributes, change.MissedAttribute)
	data := fmt.Sprintf("%+v %s", same, d.Event.Data)
	if was, ok := o.bytes[d.ID]; ok && was != data {
		o.t.Errorf("%s has other bytes than before:\n%s\n%s", d.ID, was, data)
	}
	o.bytes[d.ID] = data
	if !o.calm && o.rnd.IntN(3) == 0 {
		return moods[o.rnd.IntN(len(moods))]
	}
	var ch change.Change
	if err := json.Unmarshal(d.Event.Data, &ch); err != nil {
		o.t.Error(err)
	}
	missed, err := change.ParseMissed(d.Event.Attributes[change.MissedAttribute])
	if err != nil {
		o.t.Error(err)
	}
	if ch.Revision == 1 {
		ch.Action = change.Created
	}
	if o.witness != nil {
		for _, loss := range o.witness.See(ch, missed) {
			o.t.Errorf("seed %d: %s shows a loss: %s", o.seed, d.ID, loss)
		}
	}
	if !o.done[d.ID] {
		o.done[d.ID] = true
		if ch.Revision < o.first[ch.Resource.ID] {
			o.t.Errorf("seed %d: %s is delivered for the first time after revision %d", o.seed, d.ID, o.first[ch.Resource.ID])
		}
		o.first[ch.Resource.ID] = ch.Revision
	}
	return delivery.Outcome{Kind: delivery.Delivered}
}

func TestCrashesLoseNothingAndKeepOrderAndBytes(t *testing.T) {
	for seed := range *crashRuns {
		synctest.Test(t, func(t *testing.T) { crashes(t, uint64(seed)) })
	}
}

func crashes(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	o := &observer{t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 3)), bytes: map[string]string{}, first: map[string]int64{}, done: map[string]bool{}}
	sub := all
	switch seed % 3 {
	case 0:
		o.witness = &change.Witness{FromStart: true}
	case 1:
		sub.WhenBehind = publishers.Latest
	case 2:
		sub.MessageTTL = time.Duration(1+rnd.IntN(60)) * time.Second
		o.witness = &change.Witness{FromStart: true}
	}
	c := newCloud(t, sub)
	c.config.Window, c.config.Parked.Max = 1+rnd.IntN(60), 1+rnd.IntN(20)
	c.config.Retry.Schedule = []time.Duration{0, time.Second, 10 * time.Second, time.Minute}
	c.config.DrainTimeout = 0
	c.start()
	pass(time.Second)
	var ids []string
	for range 1 + rnd.IntN(4) {
		c.to.set(o.answer)
		c.store.slop(rnd)
		for range rnd.IntN(120) {
			server := string(rune('a' + rnd.IntN(6)))
			ids = append(ids, c.change(server))
			if again := c.counts[server] - int64(rnd.IntN(4)); rnd.IntN(5) == 0 && again > 0 {
				for r := again; r <= c.counts[server]; r++ {
					c.put(server, r)
				}
			}
			if rnd.IntN(4) == 0 {
				pass(time.Duration(rnd.Int64N(int64(2 * time.Second))))
			}
		}
		pass(time.Duration(rnd.Int64N(int64(40 * time.Second))))
		c.kill()
		c.start()
	}
	c.store.slop(nil)
	c.to.set(func(d delivery.Delivery) delivery.Outcome {
		o.calm = true
		return o.answer(d)
	})
	pass(time.Second)
	c.settle()
	dead := map[string]bool{}
	for _, id := range c.store.table(record.DeadLetters) {
		dead[id] = true
	}
	c.stop()
	later := map[string]bool{} // servers of which a later state is accounted for
	for _, id := range slices.Backward(ids) {
		server, _, _ := strings.Cut(id, "@")
		accounted := o.done[id] || dead["delivery/all/"+id]
		superseded := later[server] && sub.WhenBehind == publishers.Latest
		if !accounted && !superseded {
			t.Errorf("seed %d: %s was not delivered", seed, id)
		}
		later[server] = later[server] || accounted
	}
}

// slop makes the store sloppy, or sound again.
func (m *memStore) slop(rnd *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sloppy, m.cut = nil, false
	if rnd != nil {
		m.sloppy = rand.New(rand.NewPCG(rnd.Uint64(), 2))
	}
}

// kill ends the engine as kill -9 does: from now on nothing it does has an effect.
func (c *cloud) kill() {
	c.store.mu.Lock()
	c.store.cut = true
	c.store.mu.Unlock()
	c.to.mu.Lock()
	c.to.err = delivery.ErrUnavailable
	c.to.mu.Unlock()
	c.stop()
	c.to.mu.Lock()
	c.to.err = nil
	c.to.mu.Unlock()
	c.store.slop(nil)
}

// settle waits until the subscription has read everything and nothing waits.
func (c *cloud) settle() {
	c.t.Helper()
	if err := c.engine.Resume(c.t.Context(), "all"); err != nil {
		c.t.Fatal(err)
	}
	for range 100_000 {
		st := c.status("all")
		if c.engine.Ready() == nil && st.Lag == 0 && st.Open == 0 && st.Parked == 0 && c.parked() == 0 {
			return
		}
		pass(time.Second)
	}
	c.t.Fatalf("not settled: %+v", c.status("all"))
}

func TestCursorIsAtTheEndWhenAllIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t, all)
		c.start()
		for range 250 {
			c.change("a")
			c.change("b")
		}
		synctest.Wait()
		pass(cursorPace)
		c.kill()
		c.to.forget()
		c.start()
		defer c.stop()
		c.wantIDs("all")
		_, end, err := c.log.Bounds(t.Context(), stream.Partition{ID: 1})
		if got := c.status("all").Cursors[1]; err != nil || got != end {
			t.Errorf("cursor = %d, want %d (%v)", got, end, err)
		}
	})
}
