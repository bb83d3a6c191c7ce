package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/test/harness"
)

// owner is the project of made-up resources.
const owner = "0123456789abcdef0123456789abcdef"

// notify is a notification in oslo's envelope. All have one key, so that they share
// a partition.
func notify(topic, event string, at time.Time, payload map[string]any) stream.Record {
	message, err := json.Marshal(map[string]any{
		"message_id": fmt.Sprintf("%s-%s-%d", payload["id"], event, at.UnixNano()), "publisher_id": "test", "event_type": event,
		"priority": "INFO", "timestamp": at.UTC().Format("2006-01-02 15:04:05.000000"), "payload": payload, "_context": map[string]any{},
	})
	if err != nil {
		panic(err)
	}
	return stream.Record{Topic: topic, Partition: -1, Key: []byte("one partition"), Value: envelope(string(message))}
}

func envelope(message string) []byte {
	text, err := json.Marshal(message)
	if err != nil {
		panic(err)
	}
	return []byte(`{"oslo.version": "2.0", "oslo.message": ` + string(text) + `}`)
}

// image is what Glance says of an image.
func image(id, name string, more map[string]any) map[string]any {
	p := map[string]any{"id": id, "name": name, "status": "active", "visibility": "private", "owner": owner, "properties": map[string]any{}, "tags": []string{}}
	maps.Copy(p, more)
	return p
}

// largeTags are n different tags of 32 000 bytes each.
func largeTags(c string, n int) []string {
	tags := make([]string, n)
	for i := range tags {
		tags[i] = fmt.Sprintf("%02d", i) + strings.Repeat(c, 31_998)
	}
	return tags
}

// toxic is one kind of poison, and what a dead letter says of it.
type toxic struct {
	name, reason string
	value        []byte
}

// poisons are all of peers.md F16 and some more, raw and inside of an envelope.
func poisons() []toxic {
	in := func(payload string) string {
		return `{"message_id": "m", "publisher_id": "p", "event_type": "image.create", "priority": "INFO",` +
			` "timestamp": "2026-11-20 10:00:04.163610", "payload": {"id": "poison", "owner": "` + owner + `", ` + payload + `}}`
	}
	var fields strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&fields, `"f%d": %d, `, i, i)
	}
	deep := strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000)
	inner := []struct{ name, reason, message string }{
		{"invalid JSON", "bad_json", `{"event_type": image}`},
		{"truncated JSON", "bad_json", in(`"name": "x"`)[:120]},
		{"10 000 fields", "too_many_keys", in(fields.String() + `"name": "x"`)},
		{"depth 1 000", "too_deep", in(`"name": ` + deep)},
		{"depth 1 000 of lists", "too_deep", strings.Repeat("[", 1000) + strings.Repeat("]", 1000)},
		{"NaN", "not_a_number", in(`"size": NaN`)},
		{"Infinity", "not_a_number", in(`"size": -Infinity`)},
		{"escaped NUL", "nul_character", in(`"name": "a\u0000b"`)},
		{"half a surrogate", "bad_utf8", in(`"name": "\ud800"`)},
		{"huge integer", "number_out_of_range", in(`"size": 1` + strings.Repeat("0", 400))},
		{"integer of 64 bits and a bit", "number_out_of_range", in(`"size": 9223372036854775808`)},
		{"huge exponent", "number_out_of_range", in(`"size": 1e999`)},
		{"duplicate keys", "duplicate_key", in(`"name": "a", "name": "b"`)},
		{"two messages", "trailing_data", in(`"name": "a"`) + in(`"name": "b"`)},
		{"a list", "not_an_object", `[1, 2]`},
		{"no event type", "missing_event_type", `{"message_id": "m", "payload": {}}`},
		{"no id in the payload", "missing_id", strings.Replace(in(`"name": "x"`), `"id"`, `"not_id"`, 1)},
	}
	var all []toxic
	for _, p := range inner {
		all = append(all, toxic{p.name + ", bare", p.reason, []byte(p.message)}, toxic{p.name + ", enveloped", p.reason, envelope(p.message)})
	}
	return append(all,
		toxic{"bad UTF-8", "bad_utf8", []byte(in("\"name\": \"\xff\xfe\""))},
		toxic{"a raw NUL", "nul_character", []byte(in("\"name\": \"a\x00b\""))},
		toxic{"random bytes", "bad_json", []byte{0x00, 0xff, 0x1f, 0x8b, 0x08}},
		toxic{"an empty value", "empty", []byte{}},
		toxic{"no value", "empty", nil},
		toxic{"a truncated envelope", "bad_json", envelope(in(`"name": "x"`))[:150]},
		toxic{"an envelope without message", "bad_envelope", []byte(`{"oslo.version": "2.0"}`)},
		toxic{"an envelope of version 3", "unsupported_version", []byte(`{"oslo.version": "3.0", "oslo.message": "{}"}`)},
		toxic{"too large for the mutation log", "too_large", []byte(in(`"tags": ["` + strings.Join(largeTags("n", 30), `","`) + `"]`))},
		toxic{"10 MB", "too_large", envelope(in(`"name": "` + strings.Repeat("n", 10<<20) + `"`))},
	)
}

// letter is a dead letter as the CLI shows it.
type letter struct {
	record.DeadLetter
	Text string `json:"text"`
	Size int    `json:"size"`
}

// showLetter is one dead letter, by deadletters show.
func showLetter(t *testing.T, s *harness.Server, id string) (l letter) {
	t.Helper()
	if err := json.Unmarshal([]byte(s.MustRun("deadletters", "show", id)), &l); err != nil {
		t.Fatal(err)
	}
	return l
}

// one is a document by its id.
func one(s *harness.Server, typ, id string) (map[string]any, error) {
	var d struct{ Document map[string]any }
	err := s.Get("/v1/resources/"+url.PathEscape(typ)+"/"+url.PathEscape(id), &d)
	return d.Document, err
}

const imageType = "OS::Glance::Image"

func TestPoisonOfEveryKindBecomesADeadLetterAndStallsNothing(t *testing.T) {
	t.Parallel()
	s := harness.New(t, admin).Start()
	const topic = "notifications.info"
	at := time.Now()
	var all []stream.Record
	kinds := poisons()
	for i, p := range kinds {
		good := notify(topic, "image.create", at, image(fmt.Sprintf("good-%d", i), "between poison", nil))
		all = append(all, good, stream.Record{Topic: topic, Partition: -1, Key: good.Key, Value: p.value})
	}
	all = append(all, notify(topic, "image.create", at, image("good-last", "after all poison", nil)))
	partition := produceCompressed(t, s, all)
	begin := time.Now()
	s.Eventually("the last good record is searchable", func() error { _, err := one(s, imageType, "good-last"); return err })
	took := time.Since(begin)
	t.Logf("%d records, half of them poison, took %s", len(all), took.Round(time.Millisecond))
	if took > 10*time.Second {
		t.Errorf("poison stalled its partition for %s", took)
	}
	for i, p := range kinds {
		if _, err := one(s, imageType, fmt.Sprintf("good-%d", i)); err != nil {
			t.Errorf("the good record before %s: %v", p.name, err)
		}
		offset := int64(2*i + 1)
		l := showLetter(t, s, fmt.Sprintf("notification/%s/%d/%d", topic, partition, offset))
		if l.Topic != topic || l.Partition != int(partition) || l.Offset != offset || string(l.Key) != "one partition" {
			t.Errorf("%s: dead letter is of %s/%d/%d, key %q", p.name, l.Topic, l.Partition, l.Offset, l.Key)
		}
		if l.Reason != p.reason || l.Detail == "" {
			t.Errorf("%s: dead for %q (%s), want %q", p.name, l.Reason, l.Detail, p.reason)
		}
		whole := len(p.value) <= record.MaxDeadValue
		if !bytes.Equal(l.Value, p.value[:min(len(p.value), record.MaxDeadValue)]) || l.Oversize == whole {
			t.Errorf("%s: dead letter holds %d of %d bytes (oversize %t), or others", p.name, len(l.Value), len(p.value), l.Oversize)
		}
	}
	if ids := deadLetters(t, s); len(ids) != len(kinds) {
		t.Errorf("%d dead letters for %d poison records", len(ids), len(kinds))
	}
	b := settled(t, s, len(all), "")
	if n := b.Books["listener"].Outcomes["dead"]; n != int64(len(kinds)) {
		t.Errorf("books have %d dead records of %d", n, len(kinds))
	}
}

// produceCompressed produces the records with a client that packs them, so that 10 MB
// pass a broker that takes 1 MiB. It returns the partition that got them all.
func produceCompressed(t *testing.T, s *harness.Server, all []stream.Record) int32 {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.Kafka), kgo.AllowAutoTopicCreation(), kgo.ProducerBatchMaxBytes(16<<20),
		kgo.ProducerBatchCompression(kgo.ZstdCompression()), kgo.RecordDeliveryTimeout(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var partition int32
	for _, r := range all {
		res := cl.ProduceSync(context.Background(), &kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value})
		if err := res.FirstErr(); err != nil {
			t.Fatal(err)
		}
		partition = res[0].Record.Partition
	}
	return partition
}

func TestRecordLargerThanTheBrokerTakesIsRefusedAndHarmsNothing(t *testing.T) {
	t.Parallel()
	s := harness.New(t, admin).Start()
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
		return notify("notifications.info", event, at, image("huge", name, map[string]any{"tags": largeTags(name, tags)}))
	}
	for _, r := range []stream.Record{
		huge("image.create", at, "a", 7), huge("image.update", at.Add(time.Second), "b", 27), huge("image.update", at.Add(2*time.Second), "c", 7),
	} {
		if err := harness.Produce(t.Context(), s.Kafka, []stream.Record{r}); err != nil {
			t.Fatal(err)
		}
	}
	settled(t, s, 3, "")
	d, err := one(s, imageType, "huge")
	if tags, _ := d["tags"].([]any); err != nil || d["name"] != "c" || len(tags) != 7 {
		t.Errorf("the last good record is not folded: %v with %d tags, %v", d["name"], len(tags), err)
	}
	ids := deadLetters(t, s)
	if len(ids) != 1 || !strings.HasPrefix(ids[0], "mutation/fresnel.mutations/") || showLetter(t, s, ids[0]).Reason != "too_large" {
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
	rec := notify("notifications.info", "image.create", time.Now(), image("wide", "wide", map[string]any{"properties": many}))
	if err := harness.Produce(t.Context(), s.Kafka, []stream.Record{rec}); err != nil {
		t.Fatal(err)
	}
	var ids []string
	s.Eventually("the record with too many keys is a dead letter", func() error {
		if ids = deadLetters(t, s); len(ids) != 1 {
			return fmt.Errorf("dead letters %v", ids)
		}
		return nil
	})
	s.Kill()
	s.Configure(admin)
	s.Start()
	s.MustRun("deadletters", "replay", ids[0])
	s.Eventually("the replayed record is searchable", func() error { _, err := one(s, imageType, "wide"); return err })
	if ids := deadLetters(t, s); len(ids) != 0 {
		t.Errorf("dead letters after the replay: %v", ids)
	}
	settled(t, s, 2, "")
}
