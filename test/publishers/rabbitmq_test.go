//go:build real

package publishers_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/fresnel-search/fresnel/plugins/client"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/publishers/rabbitmq"
	"github.com/fresnel-search/fresnel/test/harness"
)

func toRabbit(t testing.TB, options ...string) *publisherv1.Destination {
	t.Helper()
	d := &publisherv1.Destination{
		Id: "mq", Uri: "amqp://fresnel@" + harness.Need(t, "FRESNEL_TEST_RABBITMQ") + "/",
		Secrets: map[string][]byte{"secret": []byte("fresnel-pass")}, Options: map[string]string{},
	}
	for i := 0; i+1 < len(options); i += 2 {
		d.Options[options[i]] = options[i+1]
	}
	d.Fingerprint = fmt.Sprint(t.Name(), options)
	return d
}

func openRabbit(t testing.TB) *client.Publisher {
	t.Helper()
	server, err := rabbitmq.Publisher("1.0.0").Server()
	return inProcess(t, server, err)
}

// channel is one of a client of the test's own.
func channel(t testing.TB) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial("amqp://fresnel:fresnel-pass@" + harness.Need(t, "FRESNEL_TEST_RABBITMQ") + "/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// drained empties a queue and returns the message ids in it.
func drained(t testing.TB, queue string) (ids []string) {
	t.Helper()
	ch := channel(t)
	for {
		m, ok, err := ch.Get(queue, true)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return ids
		}
		ids = append(ids, m.MessageId)
	}
}

func TestRabbitMQHasAQueueForEachPriority(t *testing.T) {
	c, to := openRabbit(t), toRabbit(t, "topic", "each", "exchange", "each.exchange", "declare", "durable")
	for _, p := range []string{"AUDIT", "DEBUG", "INFO", "WARN", "ERROR", "CRITICAL", "SAMPLE"} {
		if got := attempt(t, c, batch(t, to, p, "id-"+p))["id-"+p]; got != "delivered" {
			t.Fatalf("%s: %s", p, got)
		}
		if ids := drained(t, "each."+strings.ToLower(p)); !slices.Equal(ids, []string{"id-" + p}) {
			t.Errorf("queue of %s has %v", p, ids)
		}
	}
}

func TestWhatNoQueueTakesIsNotDeliveredInRabbitMQ(t *testing.T) {
	c, ch := openRabbit(t), channel(t)
	for _, left := range []string{"unheard.info", "odd.info", "full.info"} {
		if _, err := ch.QueueDelete(left, false, false, false); err != nil {
			t.Fatal(err)
		}
	}
	if got := once(t, c, toRabbit(t, "exchange", "nowhere"), "1"); got != "retry not_found SCOPE_DESTINATION" {
		t.Errorf("no exchange: %s", got)
	}
	to := toRabbit(t, "exchange", "amq.topic", "topic", "unheard")
	ids := []string{"1", "2", "3"}
	for id, got := range attempt(t, c, batch(t, to, "info", ids...)) {
		if got != "retry unroutable SCOPE_DELIVERY" {
			t.Errorf("%s without a queue: %s", id, got)
		}
	}
	if _, err := ch.QueueDeclare("unheard.info", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind("unheard.info", "unheard.info", "amq.topic", false, nil); err != nil {
		t.Fatal(err)
	}
	for id, got := range attempt(t, c, batch(t, to, "info", ids...)) {
		if got != "delivered" {
			t.Errorf("%s with a queue: %s", id, got)
		}
	}
	if got := drained(t, "unheard.info"); !slices.Equal(got, ids) {
		t.Errorf("the queue has %v", got)
	}
	// Queues that are there with other properties are left as they are.
	quorum := amqp.Table{"x-queue-type": "quorum"}
	if _, err := ch.QueueDeclare("odd.info", true, false, false, false, quorum); err != nil {
		t.Fatal(err)
	}
	if got := once(t, c, toRabbit(t, "exchange", "odd", "topic", "odd", "declare", "transient"), "1"); got != "delivered" {
		t.Errorf("a queue that somebody else made: %s", got)
	}
	if got := once(t, c, toRabbit(t, "exchange", "", "topic", "odd"), "2"); got != "delivered" {
		t.Errorf("the default exchange: %s", got)
	}
	if got := drained(t, "odd.info"); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("the queue has %v", got)
	}
	full := amqp.Table{"x-max-length": 1, "x-overflow": "reject-publish"}
	if _, err := ch.QueueDeclare("full.info", true, false, false, false, full); err != nil {
		t.Fatal(err)
	}
	to = toRabbit(t, "exchange", "", "topic", "full")
	if got := once(t, c, to, "1"); got != "delivered" {
		t.Errorf("into a queue with room: %s", got)
	}
	if got := once(t, c, to, "2"); got != "retry nacked SCOPE_DELIVERY" {
		t.Errorf("into a full queue: %s", got)
	}
}

func TestRabbitMQIsReachedByTLSAndCertificate(t *testing.T) {
	c := openRabbit(t)
	host := strings.Replace(harness.Need(t, "FRESNEL_TEST_RABBITMQ_TLS"), "127.0.0.1", "localhost", 1)
	ca, cert, key := file(t, harness.Need(t, "FRESNEL_TEST_RABBITMQ_CA")), file(t, harness.Need(t, "FRESNEL_TEST_RABBITMQ_CLIENT_CERT")), file(t, harness.Need(t, "FRESNEL_TEST_RABBITMQ_CLIENT_KEY"))
	for _, x := range []struct {
		user, want string
		secrets    map[string][]byte
	}{
		{"fresnel@", "delivered", map[string][]byte{"ca": ca, "secret": []byte("fresnel-pass")}},
		{"", "delivered", map[string][]byte{"ca": ca, "client_cert": cert, "client_key": key}},
		{"fresnel@", "retry access_refused SCOPE_DESTINATION", map[string][]byte{"ca": ca, "secret": []byte("canary-pass")}},
		{"fresnel@", "retry tls SCOPE_DESTINATION", map[string][]byte{"secret": []byte("fresnel-pass")}},
	} {
		to := toRabbit(t, "topic", "tls", "declare", "transient")
		to.Uri, to.Secrets, to.Fingerprint = "amqps://"+x.user+host+"/", x.secrets, fmt.Sprint(x)
		if x.want == "delivered" {
			again(t, c, to, "1") // making the queues may take longer than an attempt has
			continue
		}
		if got := once(t, c, to, "1"); got != x.want {
			t.Errorf("%s with %d secrets: %s, want %s", x.user, len(x.secrets), got, x.want)
		}
	}
	to := toRabbit(t)
	to.Uri, to.Fingerprint = strings.TrimSuffix(to.Uri, "/")+"/elsewhere", "vhost"
	if got := once(t, c, to, "1"); got != "retry access_refused SCOPE_DESTINATION" {
		t.Errorf("a vhost that is not there: %s", got)
	}
}

func TestBrokerShortOfMemoryHoldsDeliveriesUp(t *testing.T) {
	lab := harness.SharedLab(t)
	c, to := openRabbit(t), toRabbit(t, "topic", "alarm", "declare", "durable")
	if got := once(t, c, to, "before"); got != "delivered" {
		t.Fatal(got)
	}
	lab.Run(t, nil, "rabbitmq.sh", "ctl", "set_vm_memory_high_watermark", "absolute", "1MB")
	defer lab.Run(t, nil, "rabbitmq.sh", "ctl", "set_vm_memory_high_watermark", "absolute", "512MB")
	begin := time.Now()
	if got := once(t, c, to, "during"); got != "retry blocked SCOPE_DESTINATION" {
		t.Errorf("during the alarm: %s", got)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %s to say so", took)
	}
	lab.Run(t, nil, "rabbitmq.sh", "ctl", "set_vm_memory_high_watermark", "absolute", "512MB")
	again(t, c, to, "during")
	if got := drained(t, "alarm.info"); !slices.Contains(got, "before") || !slices.Contains(got, "during") {
		t.Errorf("the queue has %v", got)
	}
}

// again attempts a delivery until it succeeds.
func again(t testing.TB, c *client.Publisher, to *publisherv1.Destination, id string) {
	t.Helper()
	harness.Eventually(t, "delivery of "+id, func() error {
		if got := once(t, c, to, id); got != "delivered" {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
}

func TestNothingConfirmedIsLostWhenRabbitMQIsKilled(t *testing.T) {
	lab := harness.SharedLab(t)
	c, to := openRabbit(t), toRabbit(t, "topic", "killed", "declare", "durable")
	var confirmed atomic.Int64
	sent := make(chan []string)
	go func() {
		var want []string
		for failed := false; !failed; {
			var ids []string
			for i := range 50 {
				ids = append(ids, fmt.Sprintf("%06d", len(want)+i))
			}
			for id, got := range attempt(t, c, batch(t, to, "info", ids...)) {
				if failed = failed || got != "delivered"; got == "delivered" {
					want = append(want, id)
				}
			}
			confirmed.Store(int64(len(want)))
		}
		sent <- want
	}()
	harness.Eventually(t, "messages are confirmed", func() error {
		if n := confirmed.Load(); n < 2000 {
			return fmt.Errorf("%d confirmed", n)
		}
		return nil
	})
	lab.Run(t, nil, "rabbitmq.sh", "kill9")
	want := <-sent
	if got := once(t, c, to, "away"); !strings.HasPrefix(got, "retry ") || !strings.HasSuffix(got, "SCOPE_DESTINATION") {
		t.Errorf("while it is away: %s", got)
	}
	lab.Run(t, nil, "rabbitmq.sh", "start")
	again(t, c, to, "back")
	there := map[string]bool{}
	for _, id := range drained(t, "killed.info") {
		there[id] = true
	}
	for _, id := range want {
		if !there[id] {
			t.Fatalf("%s of %d was confirmed and is lost", id, len(want))
		}
	}
	if t.Logf("%d were confirmed, %d are there", len(want), len(there)); !there["back"] {
		t.Error("the one after it is not there")
	}
}

func TestRabbitMQThatHangsIsLeftInTime(t *testing.T) {
	lab := harness.SharedLab(t)
	c, to := openRabbit(t), toRabbit(t, "topic", "hangs", "declare", "durable")
	if got := once(t, c, to, "before"); got != "delivered" {
		t.Fatal(got)
	}
	lab.Run(t, nil, "rabbitmq.sh", "pause")
	resume := func() { lab.Run(t, nil, "rabbitmq.sh", "resume") }
	defer resume()
	for _, id := range []string{"on the open connection", "on a new one"} {
		begin := time.Now()
		if got := once(t, c, to, id); !strings.HasPrefix(got, "retry ") {
			t.Errorf("%s: %s", id, got)
		}
		if took := time.Since(begin); took > 11*time.Second {
			t.Errorf("%s took %s", id, took)
		}
	}
	resume()
	again(t, c, to, "after")
}
