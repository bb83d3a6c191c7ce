package oslo_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/plugins/oslo"
	"github.com/fresnel-search/fresnel/plugins/sdk"
)

func event(t testing.TB, c change.Change) *sdk.Event {
	t.Helper()
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return &sdk.Event{ID: c.ID, DeliveryID: "d-" + c.ID, Subject: "OS::Nova::Server/1", Data: data}
}

// read unpacks a body as oslo.messaging does: an envelope of two members, in which
// there is a string of JSON.
func read(t testing.TB, body []byte) map[string]any {
	t.Helper()
	var outer map[string]string
	if err := json.Unmarshal(body, &outer); err != nil || len(outer) != 2 || outer["oslo.version"] != "2.0" {
		t.Fatalf("envelope %s: %v", body, err)
	}
	var inner map[string]any
	if err := json.Unmarshal([]byte(outer["oslo.message"]), &inner); err != nil {
		t.Fatal(err)
	}
	return inner
}

var at = time.Date(2026, 11, 20, 8, 14, 2, 118204000, time.FixedZone("", 3600))

func TestChangeIsAnOsloNotification(t *testing.T) {
	c := change.Change{
		ID: "c1", Action: change.Updated, Resource: change.Resource{Type: "OS::Nova::Server", ID: "1", Href: "/v1/<&>"},
		Revision: 3, Time: at, Document: json.RawMessage(`{"name":"é <&>"}`),
		Cause: change.Cause{Kind: change.ByNotification, EventType: "compute.instance.update", Priority: "error"},
	}
	n, err := oslo.Encode(event(t, c), "<fresnel>", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if n.Priority != "error" || n.MessageID != "d-c1" || n.Subject != "OS::Nova::Server/1" {
		t.Errorf("%+v", n)
	}
	got := read(t, n.Body)
	payload, err := json.Marshal(got["payload"])
	if err != nil {
		t.Fatal(err)
	}
	var back change.Change
	if err := json.Unmarshal(payload, &back); err != nil || string(back.Document) != `{"name":"é <&>"}` && !strings.Contains(string(back.Document), "name") {
		t.Errorf("payload %s: %v", payload, err)
	}
	delete(got, "payload")
	want := map[string]any{
		"message_id": "c1", "publisher_id": "<fresnel>", "event_type": "OS::Nova::Server.updated", "priority": "ERROR",
		"timestamp": "2026-11-20 07:14:02.118204", "_unique_id": "d-c1", "_context": map[string]any{},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("message %v, want %v", got, want)
	}
	again, _ := oslo.Encode(event(t, c), "<fresnel>", 1<<20)
	if string(again.Body) != string(n.Body) {
		t.Error("two attempts differ")
	}
	if !strings.Contains(string(n.Body), "<fresnel>") {
		t.Errorf("escaped for HTML: %s", n.Body)
	}
}

func TestEventIsPassedOnInItsOwnWords(t *testing.T) {
	n, err := oslo.Encode(event(t, change.Change{
		ID: "c2", Action: change.Event, Resource: change.Resource{Type: "OS::Nova::Server"}, Time: at,
		Document: json.RawMessage(`{"usage":1}`),
		Cause: change.Cause{
			Kind: change.ByNotification, EventType: "compute.instance.exists", Priority: "INFO", PublisherID: "compute.cmp-1", Timestamp: at.Add(time.Second),
		},
	}), "fresnel", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"message_id": "c2", "publisher_id": "compute.cmp-1", "event_type": "compute.instance.exists", "priority": "INFO",
		"payload": map[string]any{"usage": 1.0}, "timestamp": "2026-11-20 07:14:03.118204", "_unique_id": "d-c2", "_context": map[string]any{},
	}
	if got := read(t, n.Body); !reflect.DeepEqual(got, want) {
		t.Errorf("message %v, want %v", got, want)
	}
}

func TestAttributesAreTheContextOfListeners(t *testing.T) {
	for action, schema := range map[change.Action]string{change.Updated: change.DataSchema, change.Event: ""} {
		ev := event(t, change.Change{
			ID: "c", Action: action, Document: json.RawMessage(`{"usage":"` + strings.Repeat("x", 3000) + `"}`), Cause: change.Cause{EventType: "a.exists"},
		})
		ev.Attributes = map[string]string{"missed": `1:2-4,event:"<x>`, "dataschema": change.DataSchema, `Bad "Name`: "x", "": "x"}
		for _, most := range []int{1 << 20, 2000} {
			n, err := oslo.Encode(ev, "p", most)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]any{"missed": `1:2-4,event:"<x>`}
			if schema != "" || most < 3000 { // then it is a change that is sent
				want["dataschema"] = change.DataSchema
			}
			got := read(t, n.Body)
			onRabbitMQ := map[string]any{} // as unpack_context of oslo.messaging makes it
			for name, value := range got {
				if name, ok := strings.CutPrefix(name, "_context_"); ok {
					onRabbitMQ[name] = value
				}
			}
			if !reflect.DeepEqual(got["_context"], any(want)) || !reflect.DeepEqual(onRabbitMQ, want) {
				t.Errorf("%s in %d bytes: context %v on Kafka, %v on RabbitMQ, want %v", action, most, got["_context"], onRabbitMQ, want)
			}
		}
	}
}

func TestPriorityIsOneThatListenersKnow(t *testing.T) {
	for given, want := range map[string]string{
		"": "info", "WARN": "warn", "warning": "warn", "Critical": "critical", "SAMPLE": "sample", "x.y": "info", "../../etc": "info",
	} {
		n, err := oslo.Encode(event(t, change.Change{ID: "c", Action: change.Created, Cause: change.Cause{Priority: given}}), "p", 1<<20)
		if err != nil || n.Priority != want || read(t, n.Body)["priority"] != strings.ToUpper(want) {
			t.Errorf("%q: %+v, %v; want %s", given, n, err, want)
		}
	}
}

func TestWhatIsTooLargeGoesWithoutTheResource(t *testing.T) {
	for _, action := range []change.Action{change.Updated, change.Event} {
		c := change.Change{
			ID: "c3", Action: action, Document: json.RawMessage(`{"x":"` + strings.Repeat("\\\"", 5000) + `"}`),
			Cause: change.Cause{EventType: "a.b"},
		}
		n, err := oslo.Encode(event(t, c), "p", 5000)
		if err != nil {
			t.Fatal(err)
		}
		payload, ok := read(t, n.Body)["payload"].(map[string]any)
		if !ok || len(n.Body) > 5000 || payload["truncated"] != true || payload["id"] != "c3" || payload["document"] != nil {
			t.Errorf("%s: %d bytes: %.300s", action, len(n.Body), n.Body)
		}
		if _, err := oslo.Encode(event(t, c), "p", 100); !errors.Is(err, oslo.ErrTooLarge) {
			t.Errorf("%s: %v", action, err)
		}
	}
	if _, err := oslo.Encode(&sdk.Event{Data: []byte("nothing")}, "p", 1<<20); err == nil {
		t.Error("no change is a notification")
	}
}

func FuzzEncode(f *testing.F) {
	f.Add([]byte(`{"action":"event","cause":{"priority":"x"},"document":[1]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := oslo.Encode(&sdk.Event{ID: "i", DeliveryID: "d", Data: data}, "p", 2000)
		if err != nil {
			return
		}
		if len(n.Body) > 2000 || read(t, n.Body)["message_id"] != "i" {
			t.Errorf("%s", n.Body)
		}
	})
}
