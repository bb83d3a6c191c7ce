//go:build real

package publishers_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fresnel-search/fresnel/plugins/client"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/publishers/kafka"
	"github.com/fresnel-search/fresnel/test/harness"
)

func openKafka(t testing.TB) *client.Publisher {
	t.Helper()
	server, err := kafka.Publisher("1.0.0").Server()
	return inProcess(t, server, err)
}

func TestKafkaIsReachedByTLSAndEveryLogIn(t *testing.T) {
	c := openKafka(t)
	local := func(variable string) string {
		return strings.ReplaceAll(harness.Need(t, variable), "127.0.0.1", "localhost")
	}
	ca := file(t, harness.Need(t, "FRESNEL_TEST_KAFKA_CA"))
	cert, key := file(t, harness.Need(t, "FRESNEL_TEST_KAFKA_CLIENT_CERT")), file(t, harness.Need(t, "FRESNEL_TEST_KAFKA_CLIENT_KEY"))
	password := func(p string) map[string][]byte { return map[string][]byte{"ca": ca, "secret": []byte(p)} }
	for i, x := range []struct {
		uri, sasl, want string
		secrets         map[string][]byte
	}{
		{"kafka://" + harness.Need(t, "FRESNEL_TEST_KAFKA"), "", "delivered", nil},
		{"kafkas://fresnel@" + local("FRESNEL_TEST_KAFKA_SASL_SSL"), "", "delivered", password("fresnel-pass")},
		{"kafkas://fresnel@" + local("FRESNEL_TEST_KAFKA_SASL_SSL"), "scram-sha-256", "delivered", password("fresnel-pass")},
		{"kafkas://fresnel@" + local("FRESNEL_TEST_KAFKA_SASL_SSL"), "plain", "delivered", password("fresnel-pass")},
		{"kafkas://fresnel@" + local("FRESNEL_TEST_KAFKA_SASL_SSL"), "plain", "retry access_refused SCOPE_DESTINATION", password("canary-pass")},
		{"kafkas://fresnel@" + local("FRESNEL_TEST_KAFKA_SASL_SSL"), "", "retry access_refused SCOPE_DESTINATION", password("canary-pass")},
		{"kafkas://" + local("FRESNEL_TEST_KAFKA_SSL"), "", "delivered", map[string][]byte{"ca": ca, "client_cert": cert, "client_key": key}},
		{"kafkas://" + local("FRESNEL_TEST_KAFKA_SSL"), "", "retry tls SCOPE_DESTINATION", map[string][]byte{"client_cert": cert, "client_key": key}},
	} {
		to := &publisherv1.Destination{Id: "k", Uri: x.uri, Secrets: x.secrets, Fingerprint: fmt.Sprint(i), Options: map[string]string{"topic": "tls.test", "sasl": x.sasl}}
		if x.want == "delivered" {
			again(t, c, to, "1") // the topic may have to be made
			continue
		}
		if got := once(t, c, to, "1"); got != x.want {
			t.Errorf("%s %s: %s, want %s", x.uri, x.sasl, got, x.want)
		}
	}
}

func TestNothingAcknowledgedIsLostWhenBrokersAreKilled(t *testing.T) {
	brokers := harness.Need(t, "FRESNEL_TEST_KAFKA")
	lab := harness.SharedLab(t)
	n := strings.Count(brokers, ",") + 1
	c := openKafka(t)
	topic := fmt.Sprintf("killed.%d", time.Now().UnixNano())
	to := &publisherv1.Destination{Id: "k", Uri: "kafka://" + brokers, Options: map[string]string{"topic": topic, "compression": "zstd"}}
	again(t, c, to, "first")
	want := map[string]bool{"first": true}
	send := func(count int) {
		for range count {
			var ids []string
			for range 50 {
				ids = append(ids, fmt.Sprintf("%05d", len(want)+len(ids)))
			}
			for id, got := range attempt(t, c, batch(t, to, "info", ids...)) {
				if got == "delivered" {
					want[id] = true
				}
			}
		}
	}
	send(10)
	for i := range n {
		broker := fmt.Sprint(i + 1)
		lab.Run(t, nil, "kafka.sh", "kill9", broker)
		if n > 1 {
			again(t, c, to, "without "+broker)
			want["without "+broker] = true
		} else if got := once(t, c, to, "away"); !strings.HasPrefix(got, "retry ") {
			t.Errorf("while it is away: %s", got)
		}
		lab.Run(t, nil, "kafka.sh", "restart", broker)
		again(t, c, to, "with "+broker)
		want["with "+broker] = true
		send(10)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(brokers, ",")...), kgo.ConsumeTopics(topic+".info"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	missing := len(want)
	for missing > 0 && ctx.Err() == nil {
		for _, r := range cl.PollFetches(ctx).Records() {
			for _, field := range strings.Split(string(r.Value), `\"message_id\":\"`)[1:] {
				id, _, _ := strings.Cut(field, `\"`)
				if want[id] {
					want[id] = false
					missing--
				}
			}
		}
	}
	for id, lost := range want {
		if lost {
			t.Errorf("%s was acknowledged and is lost", id)
		}
	}
}
