package rabbitmq_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/plugins/client"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/publishers/rabbitmq"
)

const local = `{"outbound":{"allow":["127.0.0.0/8"]}}`

func open(t *testing.T, config string) *client.Publisher {
	t.Helper()
	server, err := rabbitmq.Publisher("1.0.0").Server()
	if err != nil {
		t.Fatal(err)
	}
	c, stop, err := client.InProcess(server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	if _, err := c.Configure(t.Context(), []byte(config)); err != nil {
		t.Fatal(err)
	}
	return c
}

func publish(t *testing.T, c *client.Publisher, to *publisherv1.Destination) (outcome, message string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err := c.Publish(ctx, &publisherv1.PublishRequest{
		Destinations: []*publisherv1.Destination{to},
		Deliveries: []*publisherv1.Delivery{{DeliveryId: "1", Attempt: 1, Event: &publisherv1.Event{
			Id: "1", Data: []byte(`{"id":"1","action":"created"}`),
		}}},
	}, func(r *publisherv1.DeliveryResult) {
		switch {
		case r.GetDelivered() != nil:
			outcome = "delivered"
		case r.GetRetry() != nil:
			outcome, message = "retry "+r.GetRetry().GetCode()+" "+r.GetRetry().GetScope().String(), r.GetRetry().GetMessage()
		default:
			outcome, message = "rejected "+r.GetRejected().GetCode()+" "+r.GetRejected().GetScope().String(), r.GetRejected().GetMessage()
		}
	})
	if err != nil || outcome == "" {
		t.Fatalf("no answer: %v", err)
	}
	return outcome, message
}

// serves answers each connection as f says and returns where.
func serves(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f(c)
		}
	}()
	return l.Addr().String()
}

func TestDestinationsThatCannotWorkSaySo(t *testing.T) {
	c := open(t, local)
	silent := serves(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	garbage := serves(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.0 400 no\r\n\r\n"); _ = c.Close() })
	for uri, want := range map[string]string{
		"amqp:///v":                      "rejected bad_destination SCOPE_DESTINATION",
		"amqp://u:canary@h/":             "rejected bad_destination SCOPE_DESTINATION",
		"amqp://h/?heartbeat=1":          "rejected bad_destination SCOPE_DESTINATION",
		"amqp://" + silent + "/":         "retry no_connection SCOPE_DESTINATION",
		"amqp://127.0.0.1:1,127.0.0.1:1": "retry transport SCOPE_DESTINATION",
	} {
		got, message := publish(t, c, &publisherv1.Destination{Uri: uri, Fingerprint: uri})
		if got != want || strings.Contains(message, "canary") {
			t.Errorf("%s: %s: %s, want %s", uri, got, message, want)
		}
	}
	if got, _ := publish(t, c, &publisherv1.Destination{Uri: "amqp://" + garbage}); !strings.HasPrefix(got, "retry ") {
		t.Errorf("who is no broker: %s", got)
	}
	if got, _ := publish(t, open(t, `{}`), &publisherv1.Destination{Uri: "amqp://127.0.0.1"}); got != "retry address_refused SCOPE_DESTINATION" {
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
