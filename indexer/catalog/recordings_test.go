package catalog_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/listener/notification"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// decoded keeps the notifications of each recording: decoding them under the race
// detector takes longer than the tests. Nobody may write to them.
var decoded struct {
	sync.Mutex
	files map[string][]*notification.Notification
}

// recorded are the notifications of some recordings, in the order of the files.
func recorded(t testing.TB, glob string) (ns []*notification.Notification) {
	t.Helper()
	decoded.Lock()
	defer decoded.Unlock()
	if decoded.files == nil {
		decoded.files = map[string][]*notification.Notification{}
	}
	for _, file := range files(t, glob) {
		if decoded.files[file] == nil {
			for _, rec := range readRecords(t, file) {
				n, err := notification.Decode(rec, notification.DefaultLimits())
				if err != nil {
					t.Fatalf("%s: %v", file, err)
				}
				decoded.files[file] = append(decoded.files[file], n)
			}
		}
		ns = append(ns, decoded.files[file]...)
	}
	return ns
}

func files(t testing.TB, glob string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join("../../test", glob))
	if err != nil || len(found) == 0 {
		t.Fatalf("no recordings at %s: %v", glob, err)
	}
	return found
}

func readRecords(t testing.TB, file string) (recs []stream.Record) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var l struct {
			Topic, Value string
			Timestamp    int64 `json:"timestamp_ms"`
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		recs = append(recs, stream.Record{Topic: l.Topic, Value: []byte(l.Value), Time: time.UnixMilli(l.Timestamp)})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return recs
}

// everything is all recordings.
func everything(t testing.TB) []*notification.Notification {
	t.Helper()
	return append(recorded(t, "notifications/*.jsonl.gz"), recorded(t, "day/*.jsonl.gz")...)
}

// TestEveryRecordingBecomesSomething counts what became of each recorded event type:
// no poison, and nothing of our services unknown.
func TestEveryRecordingBecomesSomething(t *testing.T) {
	t.Parallel()
	c := builtin(t)
	fate := map[string]map[string]int{}
	total := map[string]int{}
	for _, n := range everything(t) {
		res := c.Mutations(n)
		what := "ignored: " + res.Ignored
		switch {
		case res.Err != nil:
			t.Errorf("%s is dead: %v", n.EventType, res.Err)
			what = "dead"
		case len(res.Mutations) > 0:
			what = "dispatched"
		}
		if fate[what] == nil {
			fate[what] = map[string]int{}
		}
		fate[what][n.EventType]++
		total[what]++
	}
	for what, events := range fate {
		t.Logf("%s %d: %v", what, total[what], events)
	}
	for event := range fate["ignored: unknown_event"] {
		for _, ours := range []string{
			"instance.", "compute.instance.", "flavor.", "network.", "subnet.", "port.", "security_group", "rbac_policy.", "tag.",
			"image.", "volume.", "volume_type", "dns.zone", "dns.domain",
		} {
			if strings.HasPrefix(event, ours) {
				t.Errorf("%s is unknown", event)
			}
		}
	}
	if len(fate["ignored: priority"]) > 0 {
		t.Errorf("refused for their priority: %v", fate["ignored: priority"])
	}
	if total["dispatched"] < 2500 {
		t.Errorf("%d dispatched, want 2500 at least", total["dispatched"])
	}
}
