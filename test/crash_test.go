package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/cmd/fresnel/play"
	"github.com/fresnel-search/fresnel/configs/resources"
	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/test/harness"
	"github.com/fresnel-search/fresnel/test/oracle"
)

// crashing delivers everything to a receiver, retries soon, and keeps the logs whole
// for the oracle.
const crashing = `
searchapi: {listen: SEARCH_ADDR, identity: {mode: none}}
listener: {kafka: {embedded: {listen: KAFKA_ADDR, trim_interval: 1h}}}
publishers:
  outbound: {allow: ["127.0.0.0/8"]}
  retry: {schedule: [0s, 100ms, 200ms, 400ms, 800ms, 1s, 1s, 1s, 1s, 1s, 1s, 1s]}
  subscriptions:
    - name: all
      publisher: webhook
      destination: RECEIVER
      secret: ` + harness.Secret + `
      admin_fields: true
      filter: {projects: ["*"]}
`

// points are the named places where the process dies, each before the next thing
// that would have to happen.
var points = []string{
	"mutation-produce", "store-write", "change-produce", "handled", "commit", "cascade",
	"plugin-ack", "save-parked_deliveries", "save-subscriptions",
}

// crashes is a run of a server that dies again and again while recordings are
// played and deliveries go out.
type crashes struct {
	t        *testing.T
	s        *harness.Server
	r        *harness.Receiver
	recorded []stream.Record
	copies   int
}

func newCrashes(t *testing.T) *crashes {
	t.Helper()
	recorded, err := play.Load("notifications")
	if err != nil {
		t.Fatal(err)
	}
	r := harness.NewReceiver(t)
	r.Answer(func(d harness.Delivery, before int) int {
		if before == 0 && len(d.ID) > 0 && d.ID[0]%5 == 0 { // some fail at first, and are parked
			return http.StatusServiceUnavailable
		}
		return http.StatusNoContent
	})
	return &crashes{t: t, s: harness.New(t, replace(crashing, "RECEIVER", r.URL)), r: r, recorded: recorded}
}

// next is the recording of another cloud.
func (c *crashes) next() []stream.Record {
	c.copies++
	all := slices.Collect(play.Options{Copies: c.copies}.Records(c.recorded))
	return all[(c.copies-1)*len(c.recorded):]
}

// round plays one more cloud into a server that dies by itself, or is killed, and
// plays it again if it died too early.
func (c *crashes) round(crash string, after time.Duration) {
	c.t.Helper()
	cloud, begin := c.next(), time.Now()
	defer func() { c.t.Logf("%-26s %s", crash, time.Since(begin).Round(time.Millisecond)) }()
	c.s.Launch("FRESNEL_CRASH=" + crash)
	if err := c.answering(); err == nil {
		if c.play(cloud) == nil {
			cloud = nil
		}
	}
	select {
	case <-c.s.Ended():
	case <-time.After(after):
		if crash != "" {
			c.t.Fatalf("the server never came to %s", crash)
		}
		c.s.Kill()
	}
	if cloud != nil {
		c.s.Start()
		if err := c.play(cloud); err != nil {
			c.t.Fatal(err)
		}
		c.s.Kill()
	}
}

// play produces the records a few at a time, so that they make many batches.
// It gives up when the server has ended.
func (c *crashes) play(cloud []stream.Record) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := c.s.Ended()
	go func() {
		select {
		case <-ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	for part := range slices.Chunk(cloud, 40) {
		if err := harness.Produce(ctx, c.s.Kafka, part); err != nil {
			return err
		}
	}
	return nil
}

// answering waits until the server takes records, or has died.
func (c *crashes) answering() error {
	c.t.Helper()
	var err error
	late := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-c.s.Ended():
			return errors.New("ended")
		case <-late:
			c.t.Fatalf("the server is not ready: %v", err)
		case <-tick.C:
		}
		if err = c.s.Get("/readyz", nil); err == nil {
			return nil
		}
	}
}

func TestNothingIsLostOrInventedAtAnyCrash(t *testing.T) {
	t.Parallel()
	c := newCrashes(t)
	c.s.Start()
	mutations := harness.NewTail(t, c.s.Kafka, "fresnel.mutations")
	changes := harness.NewTail(t, c.s.Kafka, "fresnel.changes")
	c.s.Kill()
	for _, p := range points {
		for _, nth := range []int{1, 2, 4} {
			c.round(fmt.Sprintf("%s:%d", p, nth), 60*time.Second)
		}
	}
	for range 20 {
		c.round("", time.Duration(rand.IntN(1200))*time.Millisecond)
	}
	c.s.Start()
	if err := c.play(c.next()); err != nil {
		t.Fatal(err)
	}
	c.rest(mutations, changes)
	verify(t, c, mutations.Entries(), changes.Entries())
	if errs := c.r.Errors(); len(errs) > 0 {
		t.Errorf("%d deliveries did not verify: %s", len(errs), errs[0])
	}
}

// rest waits until everything is folded, delivered and seen by the tails.
func (c *crashes) rest(mutations, changes *harness.Tail) {
	c.t.Helper()
	topics := map[string]bool{}
	for _, r := range c.recorded {
		topics[r.Topic] = true
	}
	var records int64
	for topic := range topics {
		n, err := harness.Ends(c.s.Kafka, topic)
		if err != nil {
			c.t.Fatal(err)
		}
		records += n
	}
	settled(c.t, c.s, int(records), "")
	c.s.Eventually("all is delivered", func() error {
		var a struct {
			Subscriptions []struct {
				Lag, Parked int64
				State       string
				Counters    map[string]int64
			}
		}
		if err := c.s.Get("/v1/admin/subscriptions", &a); err != nil {
			return err
		}
		if s := a.Subscriptions[0]; s.Lag != 0 || s.Parked != 0 || s.Counters["open"] != 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	for topic, tail := range map[string]*harness.Tail{"fresnel.mutations": mutations, "fresnel.changes": changes} {
		c.s.Eventually(topic+" is read to its end", func() error {
			n, err := harness.Ends(c.s.Kafka, topic)
			if err != nil || int64(len(tail.Entries())) != n {
				return fmt.Errorf("%d of %d, %w", len(tail.Entries()), n, err)
			}
			return nil
		})
	}
}

// verify compares the change log with the oracle, and the deliveries with both.
func verify(t *testing.T, c *crashes, mutations, changes []harness.Entry) {
	t.Helper()
	types, err := catalog.Load(resources.FS)
	if err != nil {
		t.Fatal(err)
	}
	said := oracle.Said(t, mutations)
	shown, ids := oracle.Firsts(t, changes)
	deleted := 0
	live := map[string]bool{}
	for ref, ms := range said {
		want := oracle.Transitions(&types.Type(ref.Type).Rules, ms)
		got := oracle.Visible(t, ref, shown[ref])
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: transitions (-oracle +change log):\n%.3000s", ref, d)
		}
		if len(want) > 0 && want[len(want)-1].Action == change.Deleted {
			deleted++
		} else if len(want) > 0 {
			live[ref.Key()] = true
		}
	}
	if deleted == 0 || len(live) == 0 {
		t.Errorf("%d resources deleted and %d alive: nothing was tested", deleted, len(live))
	}
	if d := cmp.Diff(live, keysOf(dump(t, c.s, ""))); d != "" {
		t.Errorf("documents that are searchable (-oracle +api):\n%.2000s", d)
	}
	oracle.Delivered(t, c.r, ids)
}

func keysOf(docs map[string]document) map[string]bool {
	keys := map[string]bool{}
	for k := range docs {
		keys[k] = true
	}
	return keys
}

func replace(text, old, with string) string {
	b, err := json.Marshal(with)
	if err != nil {
		return text
	}
	return strings.ReplaceAll(text, old, string(b))
}
