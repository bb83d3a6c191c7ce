package acceptance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/cmd/fresnel/play"
	"github.com/fresnel-search/fresnel/configs/resources"
	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/test/harness"
	"github.com/fresnel-search/fresnel/test/oracle"
)

// Delivering is a configuration that delivers everything to RECEIVER, retries soon,
// and keeps the logs whole for the oracle.
const Delivering = `
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

// History is what goes into one Fresnel and what comes out of it, for the oracle:
// recordings of more and more clouds, the two logs, the deliveries.
type History struct {
	t        testing.TB
	receiver *harness.Receiver
	recorded []stream.Record
	copies   int

	mutations, changes *harness.Tail
}

// NewHistory begins with nothing played. One delivery of five is refused at first, so
// that some are parked.
func NewHistory(t testing.TB) *History {
	t.Helper()
	recorded, err := play.Load(harness.Testdata(t, "notifications"))
	if err != nil {
		t.Fatal(err)
	}
	r := harness.NewReceiver(t)
	r.Answer(func(d harness.Delivery, before int) int {
		if before == 0 && len(d.ID) > 0 && d.ID[0]%5 == 0 {
			return http.StatusServiceUnavailable
		}
		return http.StatusNoContent
	})
	return &History{t: t, receiver: r, recorded: recorded}
}

// Config is Delivering to the receiver of this history.
func (h *History) Config() string { return Quote(Delivering, "RECEIVER", h.receiver.URL) }

// Begin waits until a process delivers, and begins to read the logs, from their start.
// A subscription begins at the end of the change log, when a process first delivers for
// it: what changes before is not delivered.
func (h *History) Begin(processes ...*harness.Server) {
	h.t.Helper()
	harness.Eventually(h.t, "a process delivers", func() error { return delivered(processes) })
	brokers := processes[0].Kafka
	h.mutations = harness.NewTail(h.t, brokers, "fresnel.mutations")
	h.changes = harness.NewTail(h.t, brokers, "fresnel.changes")
}

// Next is the recording of another cloud.
func (h *History) Next() []stream.Record {
	h.copies++
	all := slices.Collect(play.Options{Copies: h.copies}.Records(h.recorded))
	return all[(h.copies-1)*len(h.recorded):]
}

// Play produces the records a few at a time, so that they make many batches. After an
// error some were produced.
func (h *History) Play(ctx context.Context, brokers string, cloud []stream.Record) error {
	for part := range slices.Chunk(cloud, 40) {
		if err := harness.Produce(ctx, brokers, part); err != nil {
			return err
		}
	}
	return nil
}

// Rest waits until everything is folded and delivered, as the processes of the Fresnel
// say, and seen in the logs.
func (h *History) Rest(processes ...*harness.Server) {
	h.t.Helper()
	s := processes[0]
	topics := map[string]bool{}
	for _, r := range h.recorded {
		topics[r.Topic] = true
	}
	var records int64
	for topic := range topics {
		n, err := harness.Ends(s.Kafka, topic)
		if err != nil {
			h.t.Fatal(err)
		}
		records += n
	}
	settled(h.t, processes, records, "")
	harness.Patiently(h.t, "all is delivered", func() (int64, error) {
		return int64(h.receiver.Count()), delivered(processes)
	})
	for topic, tail := range map[string]*harness.Tail{"fresnel.mutations": h.mutations, "fresnel.changes": h.changes} {
		s.Eventually(topic+" is read to its end", func() error {
			n, err := harness.Ends(s.Kafka, topic)
			if err != nil || int64(tail.Count()) != n {
				return fmt.Errorf("%d of %d, %w", tail.Count(), n, err)
			}
			return nil
		})
	}
}

// delivered says what the subscription still has to do, by the process that delivers.
func delivered(processes []*harness.Server) error {
	errs := []error{errors.New("no process delivers")}
	for _, s := range processes {
		var a struct {
			Subscriptions []struct {
				Lag, Parked int64
				State       string
				Counters    map[string]int64
			}
		}
		if err := s.Get("/v1/admin/subscriptions", &a); err != nil {
			errs = append(errs, err)
			continue
		}
		if len(a.Subscriptions) != 1 || a.Subscriptions[0].State != "working" {
			errs = append(errs, fmt.Errorf("%+v", a))
			continue
		}
		if s := a.Subscriptions[0]; s.Lag != 0 || s.Parked != 0 || s.Counters["open"] != 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	}
	return errors.Join(errs...)
}

// Verify compares the change log with the oracle, and the deliveries and what is
// searchable with both. It is to be called after Rest.
func (h *History) Verify(s *harness.Server) {
	h.t.Helper()
	types, err := catalog.Load(resources.FS)
	if err != nil {
		h.t.Fatal(err)
	}
	said := oracle.Said(h.t, h.mutations.Entries())
	shown, ids := oracle.Firsts(h.t, h.changes.Entries())
	deleted := 0
	live := map[string]bool{}
	for ref, ms := range said {
		want := oracle.Transitions(&types.Type(ref.Type).Rules, ms)
		got := oracle.Visible(h.t, ref, shown[ref])
		if d := cmp.Diff(want, got); d != "" {
			h.t.Errorf("%s: transitions (-oracle +change log):\n%.3000s", ref, d)
		}
		if len(want) > 0 && want[len(want)-1].Action == change.Deleted {
			deleted++
		} else if len(want) > 0 {
			live[ref.Key()] = true
		}
	}
	if deleted == 0 || len(live) == 0 {
		h.t.Errorf("%d resources deleted and %d alive: nothing was tested", deleted, len(live))
	}
	searchable := map[string]bool{}
	for key := range Dump(h.t, s, "") {
		searchable[key] = true
	}
	if d := cmp.Diff(live, searchable); d != "" {
		h.t.Errorf("documents that are searchable (-oracle +api):\n%.2000s", d)
	}
	oracle.Delivered(h.t, h.receiver, ids)
	if errs := h.receiver.Errors(); len(errs) > 0 {
		h.t.Errorf("%d deliveries did not verify: %s", len(errs), errs[0])
	}
	h.t.Logf("%d clouds, %d resources alive and %d deleted, %d changes", h.copies, len(live), deleted, len(ids))
}
