//go:build real

package publishers_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/publishers/log"
	"github.com/fresnel-search/fresnel/test/acceptance"
	"github.com/fresnel-search/fresnel/test/harness"
)

const toBoth = acceptance.Admin + `
publishers:
  outbound: {allow: ["127.0.0.0/8"]}
  subscriptions:
    - {name: truth, destination: "file://FILE"}
    - {name: mq, destination: "amqp://fresnel@QUEUES/", secret: fresnel-pass, options: {topic: TOPIC}}
    - {name: bus, destination: "kafka://BROKERS", options: {topic: TOPIC, compression: lz4}}
`

// told is a change as it was published, in order.
type told struct {
	change change.Change
	raw    json.RawMessage
}

// truths are the changes that the publisher log has written.
func truths(t *testing.T, path string) (all []told) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var l log.Line
		var event struct{ Data json.RawMessage }
		var c change.Change
		if json.Unmarshal(lines.Bytes(), &l) != nil || json.Unmarshal(l.Event, &event) != nil || json.Unmarshal(event.Data, &c) != nil {
			t.Fatalf("line %s", lines.Text())
		}
		all = append(all, told{c, event.Data})
	}
	return all
}

// TestUnmodifiedListenersReadBothBrokers plays what services have said and compares,
// change by change, what listeners of oslo.messaging were told with what was written
// into a file.
func TestUnmodifiedListenersReadBothBrokers(t *testing.T) {
	rabbit, brokers := harness.Need(t, "FRESNEL_TEST_RABBITMQ"), harness.Need(t, "FRESNEL_TEST_KAFKA")
	topic := fmt.Sprintf("fresnel-%d", time.Now().UnixNano())
	listeners := map[string]*listener{
		"RabbitMQ": listen(t, "rabbit://fresnel:fresnel-pass@"+rabbit+"/", topic),
		"Kafka":    listen(t, "kafka://"+brokers+"/", topic),
	}
	path := filepath.Join(t.TempDir(), "truth.jsonl")
	s := harness.New(t, strings.NewReplacer("FILE", path, "QUEUES", rabbit, "BROKERS", brokers, "TOPIC", topic).Replace(toBoth)).Start()
	recordings := []string{"notifications/nova.jsonl.gz", "notifications/neutron.jsonl.gz", "notifications/keystone-cadf.jsonl.gz"}
	n := 0
	for _, r := range recordings {
		s.Play(r)
		n += acceptance.Count(t, harness.Testdata(t, r))
	}
	acceptance.Settled(t, s, n, "")
	var want []told
	harness.Eventually(t, "all are told", func() error {
		want = truths(t, path)
		for name, l := range listeners {
			if got := len(l.all()); len(want) == 0 || got < len(want) {
				return fmt.Errorf("%s: %d of %d", name, got, len(want))
			}
		}
		return nil
	})
	for name, l := range listeners {
		compare(t, name, want, l.all())
	}
}

// compare reports what a listener was told otherwise.
func compare(t *testing.T, name string, want []told, got []notification) {
	t.Helper()
	byID := map[string]notification{}
	for _, n := range got {
		byID[n.MessageID] = n
	}
	if len(byID) != len(want) {
		t.Errorf("%s: %d notifications of %d changes", name, len(byID), len(want))
	}
	priorities := map[string]int{}
	for _, w := range want {
		n, ok := byID[w.change.ID]
		if !ok {
			t.Errorf("%s: %s is missing", name, w.raw)
			continue
		}
		priorities[n.Priority]++
		payload, event, publisher := w.raw, w.change.Resource.Type+"."+string(w.change.Action), "fresnel"
		if w.change.Action == change.Event {
			payload, event, publisher = w.change.Document, w.change.Cause.EventType, w.change.Cause.PublisherID
		}
		if n.EventType != event || n.PublisherID != publisher || n.Timestamp == "" {
			t.Errorf("%s: %s of %s by %s, want %s by %s", name, n.EventType, n.Timestamp, n.PublisherID, event, publisher)
		}
		if cause := strings.ToLower(w.change.Cause.Priority); cause != "" && n.Priority != cause {
			t.Errorf("%s: %s came by %s", name, w.raw, n.Priority)
		}
		if d := cmp.Diff(object(t, payload), object(t, n.Payload)); d != "" {
			t.Errorf("%s: payload (-written +told):\n%s", name, d)
		}
	}
	if len(priorities) < 2 {
		t.Errorf("%s: all came by %v", name, priorities)
	}
	inOrder(t, name, want, got)
}

func object(t *testing.T, raw json.RawMessage) (v any) {
	t.Helper()
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return v
}

// inOrder reports notifications of one resource and one priority, which is a queue,
// that came in another order than they happened in.
func inOrder(t *testing.T, name string, want []told, got []notification) {
	t.Helper()
	place, queue := map[string]int{}, map[string]string{}
	for i, w := range want {
		place[w.change.ID], queue[w.change.ID] = i, w.change.Resource.Type+"/"+w.change.Resource.ID
	}
	last, seen := map[string]int{}, map[string]bool{}
	for _, n := range got {
		if seen[n.MessageID] {
			continue // told twice, which may happen
		}
		seen[n.MessageID] = true
		key := queue[n.MessageID] + " " + n.Priority
		if at, ok := last[key]; ok && place[n.MessageID] < at {
			t.Errorf("%s: %s %s came after a later one", name, key, n.MessageID)
		}
		last[key] = place[n.MessageID]
	}
}
