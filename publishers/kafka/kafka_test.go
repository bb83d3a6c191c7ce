package kafka_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fresnel-search/fresnel/plugins/client"
	"github.com/fresnel-search/fresnel/plugins/publishertest"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/publishers/kafka"
)

// publish makes one attempt at changes with the ids; the last letter of an id is that
// of its resource.
func publish(t *testing.T, c *client.Publisher, to *publisherv1.Destination, priority string, ids ...string) map[string]string {
	t.Helper()
	var ds []*publisherv1.Delivery
	for _, id := range ids {
		ds = append(ds, change(id, priority))
	}
	return publishertest.Publish(t, c, to, ds...)
}

func change(id, priority string) *publisherv1.Delivery {
	return &publisherv1.Delivery{DeliveryId: id, Attempt: 1, Event: &publisherv1.Event{
		Id: id, Subject: "T/" + id[len(id)-1:], ContentType: "application/json", Attributes: map[string]string{"missed": "L:1-2"},
		Data: fmt.Appendf(nil, `{"id":%q,"action":"updated","resource":{"type":"T"},"cause":{"priority":%q},"document":{"pad":"%s"}}`,
			id, priority, strings.Repeat("x", 100)),
	}}
}

func cluster(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	k, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.AllowAutoTopicCreation(), kfake.DefaultNumPartitions(3)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// read reads n records of topics.
func read(t *testing.T, k *kfake.Cluster, n int, topics ...string) []*kgo.Record {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(k.ListenAddrs()...), kgo.ConsumeTopics(topics...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var rs []*kgo.Record
	for len(rs) < n && ctx.Err() == nil {
		rs = append(rs, cl.PollFetches(ctx).Records()...)
	}
	return rs
}

func TestEachPriorityIsATopicAndEachResourceAKey(t *testing.T) {
	k := cluster(t)
	c := publishertest.Open(t, kafka.Publisher, publishertest.Local)
	to := &publisherv1.Destination{Uri: "kafka://" + k.ListenAddrs()[0], Fingerprint: "1", Options: map[string]string{"topic": "fresnel.out", "compression": "lz4"}}
	var ids []string
	for i := range 60 {
		ids = append(ids, fmt.Sprintf("%02d-%c", i, 'a'+i%7))
	}
	for _, r := range publish(t, c, to, "", ids...) {
		if r != "delivered" {
			t.Fatal(r)
		}
	}
	publish(t, c, to, "CRITICAL", "z")
	last := map[string]string{}
	for _, r := range read(t, k, 61, "fresnel.out.info", "fresnel.out.critical") {
		var envelope struct {
			Message string `json:"oslo.message"`
		}
		var m struct {
			ID      string            `json:"message_id"`
			Context map[string]string `json:"_context"`
		}
		if json.Unmarshal(r.Value, &envelope) != nil || json.Unmarshal([]byte(envelope.Message), &m) != nil {
			t.Fatalf("record %s", r.Value)
		}
		if m.Context["missed"] != "L:1-2" {
			t.Errorf("context %v", m.Context)
		}
		if (m.ID == "z") != (r.Topic == "fresnel.out.critical") || string(r.Key) != "T/"+m.ID[len(m.ID)-1:] {
			t.Errorf("%s is in %s with key %s", m.ID, r.Topic, r.Key)
		}
		if m.ID < last[string(r.Key)] {
			t.Errorf("%s comes after %s", m.ID, last[string(r.Key)])
		}
		last[string(r.Key)] = m.ID
	}
	if len(last) != 8 {
		t.Errorf("%d resources, want 8", len(last))
	}
}

// refusing is the address of a broker that answers every produce with an error.
func refusing(t *testing.T, code *kerr.Error) string {
	t.Helper()
	k := cluster(t)
	k.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		k.KeepControl()
		return refusal(req.(*kmsg.ProduceRequest), code), nil, true
	})
	return k.ListenAddrs()[0]
}

// refusal answers for everything in a request with an error.
func refusal(p *kmsg.ProduceRequest, code *kerr.Error) kmsg.Response {
	resp := p.ResponseKind().(*kmsg.ProduceResponse)
	for _, rt := range p.Topics {
		st := kmsg.NewProduceResponseTopic()
		st.Topic = rt.Topic
		for _, rp := range rt.Partitions {
			sp := kmsg.NewProduceResponseTopicPartition()
			sp.Partition, sp.ErrorCode = rp.Partition, code.Code
			st.Partitions = append(st.Partitions, sp)
		}
		resp.Topics = append(resp.Topics, st)
	}
	return resp
}

func TestWhatABrokerRefusesIsNotDelivered(t *testing.T) {
	for code, want := range map[*kerr.Error]string{
		kerr.MessageTooLarge:          "rejected too_large SCOPE_DELIVERY",
		kerr.TopicAuthorizationFailed: "retry access_refused SCOPE_DELIVERY",
		kerr.NotEnoughReplicas:        "retry not_enough_replicas SCOPE_DESTINATION",
		kerr.KafkaStorageError:        "retry broker SCOPE_DELIVERY",
	} {
		got := publish(t, publishertest.Open(t, kafka.Publisher, publishertest.Local), &publisherv1.Destination{Uri: "kafka://" + refusing(t, code)}, "", "1")["1"]
		if got != want {
			t.Errorf("%s: %s, want %s", code.Message, got, want)
		}
	}
}

func TestMessagesThatAreTooLargeTogetherGoOneByOne(t *testing.T) {
	t.Parallel()
	const most = 3000
	k := cluster(t, kfake.DefaultNumPartitions(1))
	k.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		k.KeepControl()
		for _, rt := range req.(*kmsg.ProduceRequest).Topics {
			for _, rp := range rt.Partitions {
				if len(rp.Records) > most {
					return refusal(req.(*kmsg.ProduceRequest), kerr.MessageTooLarge), nil, true
				}
			}
		}
		return nil, nil, false
	})
	large := change("large-z", "")
	large.Event.Data = fmt.Appendf(nil, `{"id":"large-z","action":"updated","document":{"pad":%q}}`, strings.Repeat("x", most))
	ds := []*publisherv1.Delivery{large}
	for i := range 20 {
		ds = append(ds, change(fmt.Sprintf("%02d-%c", i, 'a'+i%7), ""))
	}
	c := publishertest.Open(t, kafka.Publisher, publishertest.Local)
	for id, got := range publishertest.Publish(t, c, &publisherv1.Destination{Uri: "kafka://" + k.ListenAddrs()[0]}, ds...) {
		want := "delivered"
		if id == "large-z" {
			want = "rejected too_large SCOPE_DELIVERY"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
	if n := len(read(t, k, 20, "notifications.info")); n != 20 {
		t.Errorf("%d messages, want 20", n)
	}
}

func TestTopicThatIsForbiddenSpoilsNoOther(t *testing.T) {
	t.Parallel()
	k := cluster(t)
	k.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		k.KeepControl()
		if p := req.(*kmsg.ProduceRequest); p.Topics[0].Topic == "notifications.critical" {
			return refusal(p, kerr.TopicAuthorizationFailed), nil, true
		}
		return nil, nil, false
	})
	c := publishertest.Open(t, kafka.Publisher, publishertest.Local)
	got := publishertest.Publish(t, c, &publisherv1.Destination{Uri: "kafka://" + k.ListenAddrs()[0]},
		change("1", "info"), change("2", "critical"), change("3", "warn"))
	if got["1"] != "delivered" || got["2"] != "retry access_refused SCOPE_DELIVERY" || got["3"] != "delivered" {
		t.Error(got)
	}
}

func TestAttemptThatIsGivenUpLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	left := make(chan struct{}, 100)
	silent := publishertest.Serve(t, func(c net.Conn) {
		_, _ = io.Copy(io.Discard, c)
		left <- struct{}{}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	to := &publisherv1.Destination{Uri: "kafka://" + silent}
	r := publishertest.Results(ctx, t, publishertest.Open(t, kafka.Publisher, publishertest.Local), to, change("1", ""))["1"]
	if got := publishertest.Outcome(r); !strings.HasPrefix(got, "retry ") {
		t.Error(got)
	}
	const before = 2 * time.Second // the client's own time is over
	select {
	case <-left:
	case <-time.After(before):
		t.Errorf("%s after the attempt it still holds a connection", before)
	}
}

func TestDestinationsThatCannotWorkSaySo(t *testing.T) {
	c := publishertest.Open(t, kafka.Publisher, publishertest.Local)
	nobody := publishertest.Nobody(t)
	for uri, want := range map[string]string{
		"kafka://" + nobody:                "retry transport SCOPE_DESTINATION",
		"kafka:///":                        "rejected bad_destination SCOPE_DESTINATION",
		"kafka://u:canary@h:9092":          "rejected bad_destination SCOPE_DESTINATION",
		"kafka://h:9092/path":              "rejected bad_destination SCOPE_DESTINATION",
		"kafka://user@" + nobody + "?sasl": "rejected bad_destination SCOPE_DESTINATION",
	} {
		if got := publish(t, c, &publisherv1.Destination{Uri: uri, Fingerprint: uri}, "", "1")["1"]; got != want {
			t.Errorf("%s: %s, want %s", uri, got, want)
		}
	}
	if got := publish(t, publishertest.Open(t, kafka.Publisher, `{}`), &publisherv1.Destination{Uri: "kafka://127.0.0.1:9"}, "", "1")["1"]; got != "retry address_refused SCOPE_DESTINATION" {
		t.Errorf("private address: %s", got)
	}
	for option, value := range map[string]string{"topic": "a b", "sasl": "gssapi", "compression": "rar", "unknown": "x"} {
		to := &publisherv1.Destination{Uri: "kafka://h", Options: map[string]string{option: value}}
		if got := publish(t, c, to, "", "1")["1"]; got != "rejected bad_options SCOPE_DESTINATION" {
			t.Errorf("%s: %s", option, got)
		}
	}
	plain := &publisherv1.Destination{Uri: "kafka://user@" + nobody, Options: map[string]string{"sasl": "plain"}}
	if got := publish(t, c, plain, "", "1")["1"]; got != "rejected bad_destination SCOPE_DESTINATION" {
		t.Errorf("a password in the clear: %s", got)
	}
}
