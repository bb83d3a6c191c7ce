package listener_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/listener"
	"github.com/fresnel-search/fresnel/listener/notification"
	"github.com/fresnel-search/fresnel/listener/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const topic = "notifications.info"

// meaning is a catalogue of one rule: a thing.* event is a mutation for each id in
// its payload, "panic" and "bad" are defects, all else is unknown.
type meaning struct{}

func (meaning) Mutations(n *notification.Notification) catalog.Result {
	payload, _ := n.Payload.(map[string]any)
	switch n.EventType {
	case "panic":
		panic("a defect")
	case "bad":
		return catalog.Result{Err: &notification.Error{Reason: "missing_id", Detail: "id"}}
	case "thing.update":
	default:
		return catalog.Result{Ignored: "unknown_event"}
	}
	var ms []resource.Mutation
	for _, id := range payload["ids"].([]any) {
		m := resource.Mutation{
			Ref: resource.Ref{Type: "Thing", ID: id.(string)}, Kind: resource.Full,
			Stamp:  resource.Stamp{Time: n.Timestamp.UnixMicro(), Message: n.MessageID},
			Fields: map[string]json.RawMessage{"size": json.RawMessage("1")},
		}
		if size, ok := payload["size"].(string); ok {
			m.Fields["size"] = json.RawMessage(`"` + strings.Repeat("x", len(size)*900) + `"`)
		}
		ms = append(ms, m)
	}
	return catalog.Result{Mutations: ms}
}

// world holds what the listener leaves behind, and fails on demand.
type world struct {
	log       []stream.Record
	letters   map[string]record.DeadLetter
	produce   func([]stream.Record) error // asked before records are appended
	saveError error
}

func (w *world) Produce(_ context.Context, recs []stream.Record) error {
	if w.produce != nil {
		if err := w.produce(recs); err != nil {
			return err
		}
	}
	w.log = append(w.log, recs...)
	return nil
}

func (w *world) Save(_ context.Context, recs []record.Record) ([]record.Saved, error) {
	if w.saveError != nil {
		return nil, w.saveError
	}
	for _, r := range recs {
		var d record.DeadLetter
		if err := json.Unmarshal(r.Value, &d); err != nil {
			return nil, err
		}
		w.letters[r.Key] = d
	}
	return make([]record.Saved, len(recs)), nil
}

func (w *world) Read(context.Context, string, string) (record.Record, error) {
	return record.Record{}, errors.New("not read")
}

func (w *world) Scan(context.Context, string, string, int) ([]record.Record, error) {
	return nil, errors.New("not scanned")
}

func newListener(t *testing.T, lag func() int64) (*listener.Listener, *world) {
	t.Helper()
	w := &world{letters: make(map[string]record.DeadLetter)}
	l, err := listener.New(listener.DefaultConfig(), listener.Deps{Catalog: meaning{}, Producer: w, Records: w, MutationLag: lag})
	if err != nil {
		t.Fatal(err)
	}
	return l, w
}

func note(event, payload string) string {
	return fmt.Sprintf(`{"message_id":"m-%s","publisher_id":"p","event_type":%q,"priority":"INFO",`+
		`"timestamp":"2026-01-02 03:04:05.000006","payload":%s}`, event, event, payload)
}

func batch(offset int64, values ...string) stream.Batch {
	b := stream.Batch{Partition: stream.Partition{Topic: topic}}
	for i, v := range values {
		b.Records = append(b.Records, stream.Record{
			Topic: topic, Offset: offset + int64(i), Value: []byte(v), Time: time.Unix(1700000000, 0),
			Headers: []stream.Header{{Key: "h", Value: []byte("v")}},
		})
	}
	b.HighWater = offset + int64(len(values))
	return b
}

func assigned(l *listener.Listener, offset int64, metadata string) stream.Handler {
	return l.NewHandler(stream.Assignment{Partition: stream.Partition{Topic: topic}, Offset: offset, Metadata: metadata})
}

func tallyOf(t *testing.T, metadata string) listener.Tally {
	t.Helper()
	var tally listener.Tally
	if err := json.Unmarshal([]byte(metadata), &tally); err != nil {
		t.Fatalf("metadata %q: %v", metadata, err)
	}
	if !tally.Balanced() {
		t.Errorf("books do not add up: %s", metadata)
	}
	return tally
}

func TestListenerAccountsForEveryRecord(t *testing.T) {
	l, w := newListener(t, nil)
	b := batch(40,
		note("thing.update", `{"ids":["a","b"]}`), `{"broken`, note("other", `{}`), note("bad", `{}`),
		note("panic", `{}`), note("thing.update", `{"ids":["a"]}`), note("thing.update", `{"ids":[]}`), "")
	b.Lost = 3
	metadata, err := assigned(l, 37, "").Handle(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	want := listener.Tally{
		Records: 8, Ignored: map[string]int64{"unknown_event": 1, "nothing_said": 1},
		Dead:       map[string]int64{"bad_json": 1, "missing_id": 1, "panic": 1, "empty": 1},
		Dispatched: 2, Mutations: 3, Lost: 3,
	}
	if diff := cmp.Diff(want, tallyOf(t, metadata)); diff != "" {
		t.Errorf("tally (-want +got):\n%s", diff)
	}
	var keys []string
	for _, r := range w.log {
		if r.Topic != listener.MutationsTopic || r.Partition != -1 {
			t.Errorf("mutation goes to %s/%d", r.Topic, r.Partition)
		}
		keys = append(keys, string(r.Key))
	}
	if diff := cmp.Diff([]string{"Thing/a", "Thing/b", "Thing/a"}, keys); diff != "" {
		t.Errorf("keys, in record order (-want +got):\n%s", diff)
	}
	d, ok := w.letters["notification/notifications.info/0/41"]
	if !ok || d.Reason != "bad_json" || string(d.Value) != `{"broken` || string(d.Headers["h"]) != "v" || d.Offset != 41 {
		t.Errorf("dead letter = %+v, %v", d, ok)
	}
	if len(w.letters) != 4 {
		t.Errorf("%d dead letters, want 4", len(w.letters))
	}
	if diff := cmp.Diff(want, l.Total()); diff != "" {
		t.Errorf("books (-want +got):\n%s", diff)
	}
}

func TestListenerCommitsOnlyHandledBatches(t *testing.T) {
	l, w := newListener(t, nil)
	h := assigned(l, 0, "")
	down := errors.New("broker is down")
	w.produce = func([]stream.Record) error { return down }
	good := batch(0, note("thing.update", `{"ids":["a"]}`), "{")
	if _, err := h.Handle(t.Context(), good); !errors.Is(err, down) {
		t.Fatalf("Handle = %v, want the producer's error", err)
	}
	if len(w.letters) != 1 {
		t.Error("the dead letter waits for the mutation log")
	}
	w.produce, w.saveError = nil, errors.New("store is down")
	if _, err := h.Handle(t.Context(), good); !errors.Is(err, w.saveError) {
		t.Fatalf("Handle = %v, want the store's error", err)
	}
	if len(w.log) != 0 {
		t.Error("mutations went out although the dead letter is not stored")
	}
	w.saveError = nil
	metadata, err := h.Handle(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	if got := tallyOf(t, metadata); got.Records != 2 || len(w.log) != 1 {
		t.Errorf("after two failures: %+v, %d mutations", got, len(w.log))
	}
}

func TestListenerCountsReplayedRecordsOnce(t *testing.T) {
	l, _ := newListener(t, nil)
	h := assigned(l, 0, "")
	one := batch(0, note("thing.update", `{"ids":["a"]}`), "{")
	first, err := h.Handle(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	two := batch(2, note("other", `{}`))
	if _, err := h.Handle(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	for name, h := range map[string]stream.Handler{
		"the same owner, whose commit failed": h,
		"the next owner, after a crash":       assigned(l, 2, first),
	} {
		metadata, err := h.Handle(t.Context(), two)
		if err != nil {
			t.Fatal(err)
		}
		if got := tallyOf(t, metadata); got.Records != 3 || got.Dispatched != 1 || got.Dead["bad_json"] != 1 {
			t.Errorf("%s counts %+v", name, got)
		}
	}
}

func TestListenerStartsCountingWhenTheTallyIsUnreadable(t *testing.T) {
	l, _ := newListener(t, nil)
	metadata, err := assigned(l, 5, "somebody else's").Handle(t.Context(), batch(5, note("other", `{}`)))
	if err != nil {
		t.Fatal(err)
	}
	if got := tallyOf(t, metadata); got.Records != 1 {
		t.Errorf("tally = %+v", got)
	}
}

func TestTallyStaysSmall(t *testing.T) {
	before := listener.Tally{Dead: map[string]int64{}}
	for i := range 200 {
		before.Dead[fmt.Sprintf("some_quite_long_reason_%d", i)] = int64(i + 1)
		before.Records += int64(i + 1)
	}
	old, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	l, _ := newListener(t, nil)
	metadata, err := assigned(l, 0, string(old)).Handle(t.Context(), batch(0, note("other", `{}`)))
	if err != nil {
		t.Fatal(err)
	}
	if len(metadata) > 1024 {
		t.Errorf("metadata has %d bytes", len(metadata))
	}
	if got := tallyOf(t, metadata); got.Records != before.Records+1 || got.Dead["some_quite_long_reason_199"] != 200 {
		t.Errorf("tally = %+v", got)
	}
}

func TestListenerBuriesOnlyTheRecordThatIsTooLarge(t *testing.T) {
	huge := note("thing.update", `{"ids":["b"],"size":"`+strings.Repeat("s", 1100)+`"}`)
	large := note("thing.update", `{"ids":["c"],"size":"`+strings.Repeat("s", 800)+`"}`)
	l, w := newListener(t, nil)
	w.produce = func(recs []stream.Record) error { // a broker with a lower limit than ours
		for _, r := range recs {
			if len(r.Value) > 500_000 {
				return fmt.Errorf("append: %w", stream.ErrTooLarge)
			}
		}
		return nil
	}
	b := batch(0, note("thing.update", `{"ids":["a"]}`), huge, large, note("thing.update", `{"ids":["d"]}`))
	metadata, err := assigned(l, 0, "").Handle(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if got := tallyOf(t, metadata); got.Dead["too_large"] != 2 || got.Dispatched != 2 {
		t.Errorf("tally = %+v", got)
	}
	if len(w.log) != 2 || len(w.letters) != 2 {
		t.Errorf("%d mutations, %d dead letters; want 2 and 2", len(w.log), len(w.letters))
	}
}

func TestDeadLettersKeepHalfAMegabyte(t *testing.T) {
	l, w := newListener(t, nil)
	value := strings.Repeat("{", 3<<20)
	if _, err := assigned(l, 0, "").Handle(t.Context(), batch(0, value)); err != nil {
		t.Fatal(err)
	}
	d := w.letters["notification/notifications.info/0/0"]
	if len(d.Value) != record.MaxDeadValue || !d.Oversize || d.Reason != "too_large" {
		t.Errorf("dead letter keeps %d bytes, oversize %v, reason %s", len(d.Value), d.Oversize, d.Reason)
	}
}

func TestOnlyLowPrioritiesWaitForMutations(t *testing.T) {
	var lag atomic.Int64
	l, w := newListener(t, lag.Load)
	hold := func(topic string) bool { return l.Hold(stream.Partition{Topic: topic}) }
	for name, want := range map[string]bool{
		"notifications.info": true, "notifications.debug.vhost": true, "custom": true, "error": true,
		"notifications.error": false, "versioned_notifications.critical": false, "notifications.warn.vhost": false,
	} {
		lag.Store(0)
		if hold(name) {
			t.Errorf("%s is held back without a backlog", name)
		}
		lag.Store(2001)
		if got := hold(name); got != want {
			t.Errorf("backlog holds %s: %v, want %v", name, got, want)
		}
	}
	lag.Store(2000)
	w.produce = func([]stream.Record) error {
		if !hold("notifications.info") {
			t.Error("records at hand are not counted as mutations to come")
		}
		return nil
	}
	if _, err := assigned(l, 0, "").Handle(t.Context(), batch(0, note("thing.update", `{"ids":["a"]}`))); err != nil {
		t.Fatal(err)
	}
	if hold("notifications.info") {
		t.Error("still held back when the batch is through")
	}
}

func TestDefaultPatternTakesAllPriorities(t *testing.T) {
	re := listener.DefaultConfig().Pattern()
	for _, base := range []string{"notifications", "versioned_notifications", "ironic_versioned_notifications"} {
		for _, p := range []string{"audit", "debug", "info", "warn", "error", "critical", "sample"} {
			for _, name := range []string{base + "." + p, base + "." + p + ".prod"} {
				if !re.MatchString(name) {
					t.Errorf("%s is not read", name)
				}
			}
		}
	}
	for _, name := range []string{"notifications", "notifications.infos", "my.notifications.info", "fresnel.mutations"} {
		if re.MatchString(name) {
			t.Errorf("%s is read", name)
		}
	}
}

func TestConfigNamesEveryProblem(t *testing.T) {
	err := listener.Config{TopicPattern: "(", Topics: []string{""}}.Validate()
	for _, key := range []string{"topics[0]", "topic_pattern", "limits.bytes", "limits.depth", "limits.keys", "throttle_above"} {
		if err == nil || !strings.Contains(err.Error(), key+": ") {
			t.Errorf("%s is not named in: %v", key, err)
		}
	}
	if err := listener.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}
