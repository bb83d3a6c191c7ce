package kafka_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/fresnel-search/fresnel/listener/kafka"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// deleted removes a topic, as an operator would, and waits until the client sees it.
func deleted(t *testing.T, addr string, c *kafka.Client, topic string) {
	t.Helper()
	k := &kafkago.Client{Addr: kafkago.TCP(addr), Transport: &kafkago.Transport{}}
	defer k.Transport.(*kafkago.Transport).CloseIdleConnections()
	res, err := k.DeleteTopics(t.Context(), &kafkago.DeleteTopicsRequest{Topics: []string{topic}})
	if err == nil {
		err = res.Errors[topic]
	}
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the topic is gone", func() bool {
		_, err := c.Partitions(t.Context(), topic)
		return errors.Is(err, kafkago.UnknownTopicOrPartition)
	})
}

func TestOwnTopicThatIsGoneIsMadeAnewAsItWas(t *testing.T) {
	t.Parallel()
	b := startBroker(t, t.TempDir())
	c := newClient(t, b.Addr())
	ensure(t, c, "own", 5)
	deleted(t, b.Addr(), c, "own")
	produce(t, c, stream.Record{Topic: "own", Partition: -1, Value: []byte("x")})
	if n, err := c.Partitions(t.Context(), "own"); err != nil || n != 5 {
		t.Errorf("the topic made anew has %d partitions, %v; want 5, as it had", n, err)
	}
	if err := c.TopicWarnings(t.Context()); err != nil {
		t.Errorf("TopicWarnings = %v", err)
	}
}

func TestOwnTopicThatIsGoneIsToldInWords(t *testing.T) {
	t.Parallel()
	b := startBroker(t, t.TempDir())
	c := newClient(t, b.Addr(), func(c *kafka.Config) { c.CreateTopics = false })
	ensure(t, c, "own", 2)
	ensure(t, c, "other", 2)
	if err := c.TopicWarnings(t.Context()); err != nil {
		t.Fatal(err)
	}
	deleted(t, b.Addr(), c, "own")
	err := c.Produce(t.Context(), []stream.Record{{Topic: "own", Partition: -1, Value: []byte("x")}})
	if err == nil || !strings.Contains(err.Error(), "topic own is gone, and create_topics is false") {
		t.Errorf("Produce = %v, want it in words", err)
	}
	err = c.TopicWarnings(t.Context())
	if err == nil || !strings.Contains(err.Error(), "topic own is not there") || strings.Contains(err.Error(), "other") {
		t.Errorf("TopicWarnings = %v, want the one that is gone", err)
	}
	if err := c.Produce(t.Context(), []stream.Record{{Topic: "none", Partition: -1}}); !errors.Is(err, kafkago.UnknownTopicOrPartition) {
		t.Errorf("Produce to a topic that never was = %v", err)
	}
}
