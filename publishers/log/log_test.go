package log_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fresnel-search/fresnel/plugins/client"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/publishers/log"
)

func publish(t *testing.T, uri string, ids ...string) (results []*publisherv1.DeliveryResult) {
	t.Helper()
	server, err := log.Publisher("1.0.0").Server()
	if err != nil {
		t.Fatal(err)
	}
	c, stop, err := client.InProcess(server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := c.Configure(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	req := &publisherv1.PublishRequest{Destinations: []*publisherv1.Destination{{Id: "sub", Uri: uri}}}
	for _, id := range ids {
		req.Deliveries = append(req.Deliveries, &publisherv1.Delivery{DeliveryId: id, Attempt: 1, Event: &publisherv1.Event{
			Id: "e" + id, Type: "t", Source: "/s", ContentType: "application/json", Data: []byte("{\n\"n\": 1\n}"),
		}})
	}
	if err := c.Publish(t.Context(), req, func(r *publisherv1.DeliveryResult) { results = append(results, r) }); err != nil {
		t.Fatal(err)
	}
	return results
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
			ID   string
			Data struct{ N int }
		}
		if err := json.Unmarshal(l.Event, &ev); err != nil || ev.Data.N != 1 || ev.ID != "e"+l.DeliveryID {
			t.Errorf("event %s: %v", l.Event, err)
		}
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
		r := publish(t, uri, "1")[0]
		got := map[bool]string{r.GetRejected() != nil: "rejected", r.GetRetry() != nil: "retry", r.GetDelivered() != nil: "delivered"}[true]
		if got != want {
			t.Errorf("%s: %v, want %s", uri, r, want)
		}
	}
}
