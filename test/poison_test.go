package test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/test/acceptance"
	"github.com/fresnel-search/fresnel/test/harness"
)

func TestRecordLargerThanTheBrokerTakesIsRefusedAndHarmsNothing(t *testing.T) {
	t.Parallel()
	s := harness.New(t, acceptance.Admin).Start()
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.Kafka), kgo.AllowAutoTopicCreation(), kgo.ProducerBatchMaxBytes(16<<20),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RecordDeliveryTimeout(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	big := &kgo.Record{Topic: "notifications.info", Value: bytes.Repeat([]byte("x"), 10<<20)}
	if err := cl.ProduceSync(t.Context(), big).FirstErr(); err == nil || !strings.Contains(err.Error(), "MESSAGE_TOO_LARGE") {
		t.Errorf("10 MB unpacked: %v, want MESSAGE_TOO_LARGE", err)
	}
	at := time.Now()
	huge := func(event string, at time.Time, name string, tags int) stream.Record {
		return acceptance.Notify("notifications.info", event, at, acceptance.Image("huge", name, map[string]any{"tags": acceptance.LargeTags(name, tags)}))
	}
	for _, r := range []stream.Record{
		huge("image.create", at, "a", 7), huge("image.update", at.Add(time.Second), "b", 27), huge("image.update", at.Add(2*time.Second), "c", 7),
	} {
		if err := harness.Produce(t.Context(), s.Kafka, []stream.Record{r}); err != nil {
			t.Fatal(err)
		}
	}
	acceptance.Settled(t, s, 3, "")
	d, err := acceptance.One(s, acceptance.ImageType, "huge")
	if tags, _ := d["tags"].([]any); err != nil || d["name"] != "c" || len(tags) != 7 {
		t.Errorf("the last good record is not folded: %v with %d tags, %v", d["name"], len(tags), err)
	}
	ids := acceptance.DeadLetters(t, s)
	if len(ids) != 1 || !strings.HasPrefix(ids[0], "mutation/fresnel.mutations/") || acceptance.ShowLetter(t, s, ids[0]).Reason != "too_large" {
		t.Errorf("dead letters %v, want the mutation that makes the document too large", ids)
	}
}

func TestDeadLetterIsReplayedAfterItsReasonIsGone(t *testing.T) {
	t.Parallel()
	s := harness.New(t, `
searchapi: {listen: SEARCH_ADDR, identity: {mode: none}}
listener: {limits: {keys: 20}, kafka: {embedded: {listen: KAFKA_ADDR}}}
`).Start()
	many := map[string]any{}
	for i := range 30 {
		many[fmt.Sprintf("key_%d", i)] = "v"
	}
	rec := acceptance.Notify("notifications.info", "image.create", time.Now(), acceptance.Image("wide", "wide", map[string]any{"properties": many}))
	if err := harness.Produce(t.Context(), s.Kafka, []stream.Record{rec}); err != nil {
		t.Fatal(err)
	}
	var ids []string
	s.Eventually("the record with too many keys is a dead letter", func() error {
		if ids = acceptance.DeadLetters(t, s); len(ids) != 1 {
			return fmt.Errorf("dead letters %v", ids)
		}
		return nil
	})
	s.Kill()
	s.Configure(acceptance.Admin)
	s.Start()
	s.MustRun("deadletters", "replay", ids[0])
	s.Eventually("the replayed record is searchable", func() error { _, err := acceptance.One(s, acceptance.ImageType, "wide"); return err })
	if ids := acceptance.DeadLetters(t, s); len(ids) != 0 {
		t.Errorf("dead letters after the replay: %v", ids)
	}
	acceptance.Settled(t, s, 2, "")
}
