package rabbitmq_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/plugins/client"
	"github.com/fresnel-search/fresnel/plugins/publishertest"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/publishers/rabbitmq"
)

func publish(t *testing.T, c *client.Publisher, to *publisherv1.Destination) (outcome, message string) {
	t.Helper()
	const patience = 2 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r := publishertest.Results(ctx, t, c, to, created("1"))["1"]
	return publishertest.Outcome(r), r.GetRetry().GetMessage() + r.GetRejected().GetMessage()
}

func created(id string) *publisherv1.Delivery {
	return &publisherv1.Delivery{DeliveryId: id, Attempt: 1, Event: &publisherv1.Event{
		Id: id, Attributes: map[string]string{"missed": "L:1-2"}, Data: fmt.Appendf(nil, `{"id":%q,"action":"created"}`, id),
	}}
}

func TestOnlyWhatTheBrokerConfirmedIsDelivered(t *testing.T) {
	t.Parallel()
	for does, want := range map[answer]string{
		confirmed:  "delivered",
		refused:    "retry nacked SCOPE_DELIVERY",
		returned:   "retry unroutable SCOPE_DELIVERY",
		unanswered: "retry timeout SCOPE_DELIVERY",
		dropped:    "retry connection_lost SCOPE_DELIVERY",
		forbidden:  "retry access_refused SCOPE_DESTINATION",
		tooLarge:   "rejected too_large SCOPE_DELIVERY",
	} {
		b := newBroker(t, func(m message) answer {
			if strings.Contains(m.body, `\"odd\"`) {
				return does
			}
			return confirmed
		})
		c := publishertest.Open(t, rabbitmq.Publisher, publishertest.Local)
		to := &publisherv1.Destination{Uri: "amqp://" + b.addr}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		odd := created("odd")
		odd.Event.Data = fmt.Appendf(nil, `{"id":"odd","action":"created","document":{"pad":"%s"}}`, strings.Repeat("x", smallest))
		got := publishertest.Results(ctx, t, c, to, created("before"), odd)
		cancel()
		if before, is := publishertest.Outcome(got["before"]), publishertest.Outcome(got["odd"]); before != "delivered" || is != want {
			t.Errorf("answer %d: %s after %s, want %s", does, is, before, want)
		}
		if strings.Contains(got["odd"].String(), "canary") {
			t.Errorf("it repeats the broker's words: %v", got["odd"])
		}
		if again, message := publish(t, c, to); again != "delivered" {
			t.Errorf("after answer %d: %s: %s", does, again, message)
		}
	}
}

func TestMessageIsANotificationWithWhatWasMissed(t *testing.T) {
	t.Parallel()
	b := newBroker(t, nil)
	c := publishertest.Open(t, rabbitmq.Publisher, publishertest.Local)
	for range 2 {
		if got, message := publish(t, c, &publisherv1.Destination{Uri: "amqp://" + b.addr, Options: map[string]string{"declare": "durable"}}); got != "delivered" {
			t.Fatalf("%s: %s", got, message)
		}
	}
	ms := b.got()
	if len(ms) != 2 || ms[0] != ms[1] || ms[0].exchange != "openstack" || ms[0].key != "notifications.info" {
		t.Fatalf("messages %+v", ms)
	}
	for part, want := range map[string]string{
		ms[0].body: `\"_context_missed\":\"L:1-2\"`, ms[0].properties: "application/json", strings.Join(b.declared, " "): "openstack notifications.audit",
	} {
		if !strings.Contains(part, want) {
			t.Errorf("no %s in %q", want, part)
		}
	}
	if n := len(b.declared); n != 8 {
		t.Errorf("%d declarations, want one of an exchange and 7 queues", n)
	}
}

func TestQueuesThatWereDeletedAreDeclaredAgain(t *testing.T) {
	t.Parallel()
	deleted := true
	b := newBroker(t, func(message) answer {
		if deleted {
			deleted = false
			return returned
		}
		return confirmed
	})
	c := publishertest.Open(t, rabbitmq.Publisher, publishertest.Local)
	for i, want := range []struct {
		outcome  string
		declared int
	}{{"retry unroutable SCOPE_DELIVERY", 8}, {"delivered", 16}, {"delivered", 16}} {
		got, message := publish(t, c, &publisherv1.Destination{Uri: "amqp://" + b.addr, Options: map[string]string{"declare": "durable"}})
		b.mu.Lock()
		if got != want.outcome || len(b.declared) != want.declared {
			t.Errorf("attempt %d: %s: %s after %d declarations, want %+v", i+1, got, message, len(b.declared), want)
		}
		b.mu.Unlock()
	}
}

func TestDestinationsThatCannotWorkSaySo(t *testing.T) {
	c := publishertest.Open(t, rabbitmq.Publisher, publishertest.Local)
	silent, nobody := publishertest.Silent(t), publishertest.Nobody(t)
	garbage := publishertest.Serve(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.0 400 no\r\n\r\n") })
	for uri, want := range map[string]string{
		"amqp:///v":                       "rejected bad_destination SCOPE_DESTINATION",
		"amqp://u:canary@h/":              "rejected bad_destination SCOPE_DESTINATION",
		"amqp://h/?heartbeat=1":           "rejected bad_destination SCOPE_DESTINATION",
		"amqp://" + silent + "/":          "retry no_connection SCOPE_DESTINATION",
		"amqp://" + nobody + "," + nobody: "retry transport SCOPE_DESTINATION",
	} {
		got, message := publish(t, c, &publisherv1.Destination{Uri: uri, Fingerprint: uri})
		if got != want || strings.Contains(message, "canary") {
			t.Errorf("%s: %s: %s, want %s", uri, got, message, want)
		}
	}
	if got, _ := publish(t, c, &publisherv1.Destination{Uri: "amqp://" + garbage}); !strings.HasPrefix(got, "retry ") {
		t.Errorf("who is no broker: %s", got)
	}
	if got, _ := publish(t, publishertest.Open(t, rabbitmq.Publisher, `{}`), &publisherv1.Destination{Uri: "amqp://127.0.0.1"}); got != "retry address_refused SCOPE_DESTINATION" {
		t.Errorf("private address: %s", got)
	}
	for option, value := range map[string]string{"topic": "a b", "declare": "perhaps", "exchange": strings.Repeat("x", 256), "unknown": "x"} {
		to := &publisherv1.Destination{Uri: "amqp://h", Options: map[string]string{option: value}}
		if got, _ := publish(t, c, to); got != "rejected bad_options SCOPE_DESTINATION" {
			t.Errorf("%s: %s", option, got)
		}
	}
	bad := &publisherv1.Destination{Uri: "amqps://h", Secrets: map[string][]byte{"ca": []byte("canary")}}
	if got, message := publish(t, c, bad); got != "rejected bad_secret SCOPE_DESTINATION" || strings.Contains(message, "canary") {
		t.Errorf("authorities that are none: %s: %s", got, message)
	}
}
