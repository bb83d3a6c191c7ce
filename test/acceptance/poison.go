package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/test/harness"
)

// toxic is one kind of poison, and what a dead letter says of it.
type toxic struct {
	name, reason string
	value        []byte
}

// poisons are all of peers.md F16 and some more, raw and inside of an envelope.
func poisons() []toxic {
	in := func(payload string) string {
		return `{"message_id": "m", "publisher_id": "p", "event_type": "image.create", "priority": "INFO",` +
			` "timestamp": "2026-11-20 10:00:04.163610", "payload": {"id": "poison", "owner": "` + Owner + `", ` + payload + `}}`
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
		all = append(all, toxic{p.name + ", bare", p.reason, []byte(p.message)}, toxic{p.name + ", enveloped", p.reason, Envelope(p.message)})
	}
	return append(all,
		toxic{"bad UTF-8", "bad_utf8", []byte(in("\"name\": \"\xff\xfe\""))},
		toxic{"a raw NUL", "nul_character", []byte(in("\"name\": \"a\x00b\""))},
		toxic{"random bytes", "bad_json", []byte{0x00, 0xff, 0x1f, 0x8b, 0x08}},
		toxic{"an empty value", "empty", []byte{}},
		toxic{"no value", "empty", nil},
		toxic{"a truncated envelope", "bad_json", Envelope(in(`"name": "x"`))[:150]},
		toxic{"an envelope without message", "bad_envelope", []byte(`{"oslo.version": "2.0"}`)},
		toxic{"an envelope of version 3", "unsupported_version", []byte(`{"oslo.version": "3.0", "oslo.message": "{}"}`)},
		toxic{"too large for the mutation log", "too_large", []byte(in(`"tags": ["` + strings.Join(LargeTags("n", 30), `","`) + `"]`))},
		toxic{"10 MB", "too_large", Envelope(in(`"name": "` + strings.Repeat("n", 10<<20) + `"`))},
	)
}

// Letter is a dead letter as the CLI shows it.
type Letter struct {
	record.DeadLetter
	Text string `json:"text"`
	Size int    `json:"size"`
}

// ShowLetter is one dead letter, by deadletters show.
func ShowLetter(t testing.TB, s *harness.Server, id string) (l Letter) {
	t.Helper()
	if err := json.Unmarshal([]byte(s.MustRun("deadletters", "show", id)), &l); err != nil {
		t.Fatal(err)
	}
	return l
}

// Poison sends every kind of it among good records, and checks that each becomes a
// dead letter with its reason, and that nothing waits for it.
func Poison(t testing.TB, e *harness.Engines) {
	t.Helper()
	s := e.New(t, Admin).Start()
	const topic = "notifications.info"
	at := time.Now()
	var all []stream.Record
	kinds := poisons()
	for i, p := range kinds {
		good := Notify(topic, "image.create", at, Image(fmt.Sprintf("good-%d", i), "between poison", nil))
		all = append(all, good, stream.Record{Topic: topic, Partition: -1, Key: good.Key, Value: p.value})
	}
	all = append(all, Notify(topic, "image.create", at, Image("good-last", "after all poison", nil)))
	partition := produceCompressed(t, s, all)
	begin := time.Now()
	s.Eventually("the last good record is searchable", func() error { _, err := One(s, ImageType, "good-last"); return err })
	took := time.Since(begin)
	t.Logf("%d records, half of them poison, took %s", len(all), took.Round(time.Millisecond))
	if took > 10*time.Second {
		t.Errorf("poison stalled its partition for %s", took)
	}
	b := Settled(t, s, len(all), "")
	s.Refresh()
	for i, p := range kinds {
		if _, err := One(s, ImageType, fmt.Sprintf("good-%d", i)); err != nil {
			t.Errorf("the good record before %s: %v", p.name, err)
		}
		offset := int64(2*i + 1)
		l := ShowLetter(t, s, fmt.Sprintf("notification/%s/%d/%d", topic, partition, offset))
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
	if ids := DeadLetters(t, s); len(ids) != len(kinds) {
		t.Errorf("%d dead letters for %d poison records", len(ids), len(kinds))
	}
	if n := b.Books["listener"].Outcomes["dead"]; n != int64(len(kinds)) {
		t.Errorf("books have %d dead records of %d", n, len(kinds))
	}
}

// produceCompressed produces the records with a client that packs them, so that 10 MB
// pass a broker that takes 1 MiB. It returns the partition that got them all.
func produceCompressed(t testing.TB, s *harness.Server, all []stream.Record) int32 {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(s.Kafka, ",")...), kgo.AllowAutoTopicCreation(), kgo.ProducerBatchMaxBytes(16<<20),
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

// DeadLetters are the ids of all dead letters, by deadletters list.
func DeadLetters(t testing.TB, s *harness.Server) (ids []string) {
	t.Helper()
	var l struct {
		DeadLetters []struct{ ID string } `json:"dead_letters"`
	}
	if err := json.Unmarshal([]byte(s.MustRun("deadletters", "list", "--json")), &l); err != nil {
		t.Fatal(err)
	}
	for _, d := range l.DeadLetters {
		ids = append(ids, d.ID)
	}
	return ids
}
