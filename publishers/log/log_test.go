package log_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fresnel-search/fresnel/plugins/publishertest"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/publishers/log"
)

func publish(t *testing.T, uri string, ids ...string) map[string]*publisherv1.DeliveryResult {
	t.Helper()
	var ds []*publisherv1.Delivery
	for _, id := range ids {
		ds = append(ds, &publisherv1.Delivery{DeliveryId: id, Attempt: 1, Event: &publisherv1.Event{
			Id: "e" + id, Type: "t", Source: "/s", ContentType: "application/json", Data: []byte("{\n\"n\": 1\n}"),
			Attributes: map[string]string{"missed": "L:1-2"},
		}})
	}
	return publishertest.Results(t.Context(), t, publishertest.Open(t, log.Publisher, ""), &publisherv1.Destination{Id: "sub", Uri: uri}, ds...)
}

func TestEachDeliveryIsOneLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	for _, ids := range [][]string{{"1", "2"}, {"3"}} {
		for _, r := range publish(t, "file://"+path, ids...) {
			if r.GetDelivered() == nil {
				t.Errorf("result = %v", r)
			}
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines: %s", len(lines), b)
	}
	for i, line := range lines {
		var l log.Line
		if err := json.Unmarshal([]byte(line), &l); err != nil || l.DeliveryID != fmt.Sprint(i+1) || l.Subscription != "sub" {
			t.Errorf("line %s: %+v, %v", line, l, err)
		}
		var ev struct {
			ID, Missed string
			Data       struct{ N int }
		}
		if err := json.Unmarshal(l.Event, &ev); err != nil || ev.Data.N != 1 || ev.Missed != "L:1-2" || ev.ID != "e"+l.DeliveryID {
			t.Errorf("event %s: %v", l.Event, err)
		}
	}
}

func TestOwnLogNamesWhatWasMissed(t *testing.T) {
	var b strings.Builder
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&b, nil)))
	defer slog.SetDefault(before)
	publish(t, "log:", "1")
	if !strings.Contains(b.String(), "id=e1") || !strings.Contains(b.String(), "missed=L:1-2") {
		t.Errorf("log %s", b.String())
	}
}

func TestLineThatWasTornSpoilsNoOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	if err := os.WriteFile(path, []byte(`{"delivery_id":"torn by a full di`), 0o600); err != nil {
		t.Fatal(err)
	}
	publish(t, "file://"+path, "1")
	publish(t, "file://"+path, "2")
	b, err := os.ReadFile(path)
	if lines := strings.Split(string(b), "\n"); err != nil || len(lines) != 4 || !json.Valid([]byte(lines[1])) || !json.Valid([]byte(lines[2])) {
		t.Errorf("%s, %v", b, err)
	}
}

func TestPipeThatNobodyReadsHoldsNothingUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := publish(t, "file://"+path, "1")["1"]; r.GetRetry().GetCode() != "destination" {
		t.Errorf("result = %v", r)
	}
}

func TestDestinationsThatCannotWorkSaySo(t *testing.T) {
	for uri, want := range map[string]string{
		"http://x":             "rejected",
		"file://elsewhere/x":   "rejected",
		"file:relative":        "rejected",
		"file:///nowhere/at/x": "retry",
		"log:":                 "delivered",
	} {
		r := publish(t, uri, "1")["1"]
		got := map[bool]string{r.GetRejected() != nil: "rejected", r.GetRetry() != nil: "retry", r.GetDelivered() != nil: "delivered"}[true]
		if got != want {
			t.Errorf("%s: %v, want %s", uri, r, want)
		}
	}
}
