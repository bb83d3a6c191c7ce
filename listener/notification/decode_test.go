package notification_test

import (
	"bufio"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/listener/notification"
	"github.com/fresnel-search/fresnel/listener/stream"
)

const inner = `{"message_id":"m-1","publisher_id":"network.vm","event_type":"network.create.end","priority":"INFO",` +
	`"payload":{"network":{"id":"n1"}},"timestamp":"2026-11-21 12:14:04.021044","_context":{"request_id":"req-1",` +
	`"user_id":"u1","project_id":"p1","auth_token":"secret","roles":["member"],"is_admin":false}}`

func envelope(message string) string {
	quoted, err := json.Marshal(message)
	if err != nil {
		panic(err)
	}
	return `{"oslo.version":"2.0","oslo.message":` + string(quoted) + `}`
}

func decode(t *testing.T, rec stream.Record) *notification.Notification {
	t.Helper()
	n, err := notification.Decode(rec, notification.DefaultLimits())
	if err != nil {
		t.Fatalf("Decode(%.200s) = %v", rec.Value, err)
	}
	return n
}

func TestDecodeTakesEveryEnvelope(t *testing.T) {
	t.Parallel()
	want := &notification.Notification{
		MessageID: "m-1", PublisherID: "network.vm", EventType: "network.create.end", Priority: "INFO",
		Timestamp: time.Date(2026, 11, 21, 12, 14, 4, 21044000, time.UTC),
		Payload:   map[string]any{"network": map[string]any{"id": "n1"}},
		Context:   notification.Context{RequestID: "req-1", UserID: "u1", ProjectID: "p1", Roles: []string{"member"}},
	}
	bare := *want
	bare.Context = notification.Context{}
	flat := strings.Replace(inner, `"_context":{"request_id":"req-1","user_id":"u1","project_id":"p1","auth_token":"secret",`+
		`"roles":["member"],"is_admin":false}`,
		`"_context_request_id":"req-1","_context_user":"u1","_context_tenant":"p1","_context_roles":["member"],`+
			`"_context_auth_token":"secret","_unique_id":"x"`, 1)
	event := `{"specversion":"1.0","id":"m-1","source":"/network.vm","type":"org.openstack.network.create.end",` +
		`"time":"2026-11-21T12:14:04.021044Z","subject":"n1","data":{"network":{"id":"n1"}}}`
	base64Event := strings.Replace(event, `"data":{"network":{"id":"n1"}}`,
		`"data_base64":"`+base64.StdEncoding.EncodeToString([]byte(`{"network":{"id":"n1"}}`))+`"`, 1)
	headers := []stream.Header{
		{Key: "ce_specversion", Value: []byte("1.0")},
		{Key: "CE_id", Value: []byte("m-1")},
		{Key: "ce_source", Value: []byte("network.vm")},
		{Key: "ce_type", Value: []byte("network.create.end")},
		{Key: "ce_time", Value: []byte("2026-11-21T13:14:04.021044+01:00")},
		{Key: "content-type", Value: []byte("application/json")},
	}
	tests := map[string]struct {
		rec  stream.Record
		want *notification.Notification
	}{
		"oslo envelope":          {stream.Record{Value: []byte(envelope(inner))}, want},
		"oslo envelope 2.1":      {stream.Record{Value: []byte(strings.Replace(envelope(inner), `"2.0"`, `"2.1"`, 1))}, want},
		"bare oslo message":      {stream.Record{Value: []byte(inner)}, want},
		"flattened context":      {stream.Record{Value: []byte(envelope(flat))}, want},
		"structured CloudEvent":  {stream.Record{Value: []byte(event)}, &bare},
		"CloudEvent with base64": {stream.Record{Value: []byte(base64Event)}, &bare},
		"binary CloudEvent":      {stream.Record{Value: []byte(`{"network":{"id":"n1"}}`), Headers: headers}, &bare},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, decode(t, tt.rec)); diff != "" {
				t.Errorf("Decode differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeDerivesTheIdOfNovasFirstRecord(t *testing.T) {
	t.Parallel()
	const mail = `{"publisher_id":"compute.host1","timestamp":"2010-12-28 13:47:59","event_type":"compute.instance.create",` +
		`"payload":{"instance_id":12}}`
	rec := stream.Record{Topic: "notifications.warn.vhost", Value: []byte(mail)}
	a, b := decode(t, rec), decode(t, rec)
	if a.MessageID == "" || a.MessageID != b.MessageID {
		t.Errorf("message ids %q and %q, want one and the same", a.MessageID, b.MessageID)
	}
	rec.Value = []byte(strings.Replace(mail, "12}", "13}", 1))
	if c := decode(t, rec); c.MessageID == a.MessageID {
		t.Error("other bytes have the same message id")
	}
	if a.Priority != "WARN" {
		t.Errorf("priority %q, want the topic's", a.Priority)
	}
}

func TestDecodeUnwrapsVersionedObjectsAtAnyDepth(t *testing.T) {
	t.Parallel()
	const payload = `{"nova_object.name":"P","nova_object.version":"1.0","nova_object.namespace":"nova","nova_object.data":` +
		`{"uuid":"u","flavor":{"nova_object.data":{"flavorid":"1"},"nova_object.name":"F"},` +
		`"ip_addresses":[{"nova_object.name":"I","nova_object.data":{"address":"10.0.0.1","version":4}}]}}`
	for _, prefix := range []string{"nova", "ironic"} {
		text := strings.Replace(inner, `{"network":{"id":"n1"}}`, strings.ReplaceAll(payload, "nova_object", prefix+"_object"), 1)
		n := decode(t, stream.Record{Value: []byte(envelope(text))})
		want := map[string]any{
			"uuid": "u", "flavor": map[string]any{"flavorid": "1"},
			"ip_addresses": []any{map[string]any{"address": "10.0.0.1", "version": json.Number("4")}},
		}
		if diff := cmp.Diff(want, n.Payload); diff != "" || !n.Versioned {
			t.Errorf("%s: versioned %v, payload differs:\n%s", prefix, n.Versioned, diff)
		}
	}
	inside := strings.Replace(inner, `{"network":{"id":"n1"}}`, `{"x":{"nova_object.data":{"a":1}}}`, 1)
	if n := decode(t, stream.Record{Value: []byte(inside)}); n.Versioned {
		t.Error("a payload that only holds a versioned object counts as one")
	}
}

func TestDecodeDatesByKafkaWhatHasNoTimestamp(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6789, time.UTC)
	for _, stamp := range []string{`"timestamp":"yesterday"`, `"timestamp":17`, `"x":1`} {
		text := strings.Replace(inner, `"timestamp":"2026-11-21 12:14:04.021044"`, stamp, 1)
		if n := decode(t, stream.Record{Value: []byte(text), Time: at}); !n.Timestamp.Equal(at.Truncate(time.Microsecond)) {
			t.Errorf("%s: timestamp %v, want %v", stamp, n.Timestamp, at)
		}
		wantReason(t, stream.Record{Value: []byte(text)}, notification.BadTimestamp)
	}
}

func wantReason(t *testing.T, rec stream.Record, reason string) {
	t.Helper()
	n, err := notification.Decode(rec, notification.DefaultLimits())
	var poison *notification.Error
	if !errors.As(err, &poison) || poison.Reason != reason {
		t.Errorf("Decode(%.120q) = %v, %v, want reason %s", rec.Value, n, err, reason)
	}
}

// poison is every kind of bad record, with the reason that it must get.
func poison() map[string][2]string {
	payload := func(p string) string { return strings.Replace(inner, `{"network":{"id":"n1"}}`, p, 1) }
	var fields strings.Builder
	for i := range 10_000 {
		fields.WriteString(`"k` + string(rune('a'+i%26)) + strings.Repeat("x", i/26) + `":1,`)
	}
	return map[string][2]string{
		"nothing":             {"", notification.Empty},
		"invalid JSON":        {`{"event_type": "x"`, notification.BadJSON},
		"text":                {`hello`, notification.BadJSON},
		"bad inner JSON":      {envelope(`{"event_type`), notification.BadJSON},
		"ten megabytes":       {payload(`"` + strings.Repeat("x", 10<<20) + `"`), notification.TooLarge},
		"ten thousand fields": {payload(`{` + fields.String()[:600_000] + `"}`), notification.TooManyKeys},
		"depth 1000":          {payload(strings.Repeat(`[`, 1000) + strings.Repeat(`]`, 1000)), notification.TooDeep},
		"depth in envelope":   {envelope(payload(strings.Repeat(`{"a":`, 1000) + `1` + strings.Repeat(`}`, 1000))), notification.TooDeep},
		"NaN":                 {envelope(payload(`{"x": NaN}`)), notification.NotANumber},
		"Infinity":            {payload(`{"x": -Infinity}`), notification.NotANumber},
		"NUL byte":            {payload("\"a\x00b\""), notification.NULCharacter},
		"NUL escape":          {envelope(payload(`{"x":"a\u0000b"}`)), notification.NULCharacter},
		"bad UTF-8":           {payload("\"\xff\xfe\""), notification.BadUTF8},
		"bad UTF-8 escaped":   {payload("\"\\n\xc3\x28\""), notification.BadUTF8},
		"lone surrogate":      {payload(`"\ud800"`), notification.BadUTF8},
		"huge int":            {payload(`{"x":123456789012345678901234567890}`), notification.NumberRange},
		"huge exponent":       {payload(`{"x":1e999999999}`), notification.NumberRange},
		"long number":         {payload(`{"x":0.` + strings.Repeat("1", 100) + `}`), notification.NumberRange},
		"duplicate keys":      {payload(`{"id":"a","id":"b"}`), notification.DuplicateKey},
		"trailing garbage":    {inner + "x", notification.TrailingData},
		"two values":          {envelope(inner + inner), notification.TrailingData},
		"control character":   {payload("\"a\nb\""), notification.BadJSON},
		"leading zero":        {payload(`{"x":01}`), notification.BadJSON},
		"trailing comma":      {payload(`[1,]`), notification.BadJSON},
		"array":               {`[1]`, notification.NotAnObject},
		"string":              {`"x"`, notification.NotAnObject},
		"inner array":         {envelope(`[]`), notification.NotAnObject},
		"envelope 3.0":        {strings.Replace(envelope(inner), `"2.0"`, `"3.0"`, 1), notification.BadVersion},
		"envelope no message": {`{"oslo.version":"2.0"}`, notification.BadEnvelope},
		"message no version":  {`{"oslo.message":"{}"}`, notification.BadEnvelope},
		"message no string":   {`{"oslo.version":"2.0","oslo.message":{}}`, notification.BadEnvelope},
		"no event type":       {strings.Replace(inner, `"event_type":"network.create.end",`, "", 1), notification.MissingType},
		"event type a number": {strings.Replace(inner, `"network.create.end"`, "1", 1), notification.BadField},
		"CloudEvent 0.3":      {`{"specversion":"0.3","id":"1","source":"s","type":"t"}`, notification.BadVersion},
		"CloudEvent no id":    {`{"specversion":"1.0","source":"s","type":"t"}`, notification.BadEnvelope},
		"CloudEvent bad data": {`{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"%"}`, notification.BadField},
	}
}

func TestDecodeNamesTheReasonOfPoison(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, r := range notification.Reasons() {
		known[r] = true
	}
	for name, p := range poison() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantReason(t, stream.Record{Value: []byte(p[0]), Time: time.Unix(1, 0)}, p[1])
			if !known[p[1]] {
				t.Errorf("Reasons() lacks %s", p[1])
			}
		})
	}
}

func TestParseTimeReadsEveryForm(t *testing.T) {
	t.Parallel()
	want := func(nanos int) time.Time { return time.Date(2026, 11, 20, 9, 33, 17, nanos, time.UTC) }
	for text, nanos := range map[string]int{
		"2026-11-20 09:33:17.124233":      124233000,
		"2026-11-20 09:33:17":             0,
		"2026-11-20T09:33:17Z":            0,
		"2026-11-20T09:33:17.000000":      0,
		"2026-11-20T09:33:17+00:00":       0,
		"2026-11-20 09:33:17+00:00":       0,
		"2026-11-20T09:33:17.839467+0000": 839467000,
		"2026-11-20T10:33:17.5+01:00":     500000000,
		"2026-11-20T09:33:17.1234567Z":    123456000,
	} {
		if got, ok := notification.ParseTime(text); !ok || !got.Equal(want(nanos)) {
			t.Errorf("ParseTime(%q) = %v, %v, want %v", text, got, ok, want(nanos))
		}
	}
	for _, text := range []string{
		"", "now", "2026-11-20", "2026-13-20 09:33:17", "2026-02-30 09:33:17", "2026-11-20 25:33:17", "2026-11-20T09:33:17.Z",
		"2026-11-20T09:33:17+1", "1969-12-31T23:59:59Z", "2026-11-20T09:33:17 banana", "٢٠٢٦-11-20T09:33:17Z", "0000-00-00 00:00:00",
	} {
		if got, ok := notification.ParseTime(text); ok {
			t.Errorf("ParseTime(%q) = %v, want none", text, got)
		}
	}
}

// recordings are all recorded records.
func recordings(t testing.TB) (recs []stream.Record) {
	t.Helper()
	for _, glob := range []string{"../../test/notifications/*.jsonl.gz", "../../test/day/*.jsonl.gz"} {
		files, err := filepath.Glob(glob)
		if err != nil || len(files) == 0 {
			t.Fatalf("no recordings at %s: %v", glob, err)
		}
		for _, file := range files {
			recs = append(recs, read(t, file)...)
		}
	}
	return recs
}

func read(t testing.TB, file string) (recs []stream.Record) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var l struct{ Topic, Value string }
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		recs = append(recs, stream.Record{Topic: l.Topic, Value: []byte(l.Value)})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return recs
}

// TestDecodeAgreesWithEncodingJSON decodes every recorded record and compares it
// with what the standard library reads, wrappers and context aside.
func TestDecodeAgreesWithEncodingJSON(t *testing.T) {
	t.Parallel()
	recs := recordings(t)
	for _, rec := range recs {
		n := decode(t, rec)
		var env struct {
			Message string `json:"oslo.message"`
		}
		if err := json.Unmarshal(rec.Value, &env); err != nil {
			t.Fatal(err)
		}
		var m struct {
			MessageID string `json:"message_id"`
			EventType string `json:"event_type"`
			Payload   any
		}
		dec := json.NewDecoder(strings.NewReader(env.Message))
		dec.UseNumber()
		if err := dec.Decode(&m); err != nil {
			t.Fatal(err)
		}
		if m.MessageID != n.MessageID || m.EventType != n.EventType {
			t.Fatalf("got %s %s, want %s %s", n.MessageID, n.EventType, m.MessageID, m.EventType)
		}
		if diff := cmp.Diff(unwrap(m.Payload), n.Payload); diff != "" {
			t.Fatalf("%s: payload differs:\n%s", n.EventType, diff)
		}
		if got := strings.Contains(rec.Topic, "versioned"); got != n.Versioned {
			t.Errorf("%s on %s: versioned = %v", n.EventType, rec.Topic, n.Versioned)
		}
	}
	t.Logf("%d records", len(recs))
}

func unwrap(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			if strings.HasSuffix(k, "_object.data") {
				return unwrap(inner)
			}
		}
		for k := range v {
			v[k] = unwrap(v[k])
		}
	case []any:
		for i := range v {
			v[i] = unwrap(v[i])
		}
	}
	return v
}

func FuzzDecode(f *testing.F) {
	for i, rec := range recordings(f) {
		if i%100 == 0 {
			f.Add(rec.Value, "")
		}
	}
	for _, p := range poison() {
		if len(p[0]) < 1<<12 {
			f.Add([]byte(p[0]), "")
		}
	}
	f.Add([]byte(`{"id":1}`), "1.0")
	f.Fuzz(func(t *testing.T, value []byte, specversion string) {
		rec := stream.Record{Topic: "notifications.info", Value: value, Time: time.Unix(1e9, 0)}
		if specversion != "" {
			rec.Headers = []stream.Header{
				{Key: "ce_specversion", Value: []byte(specversion)},
				{Key: "ce_id", Value: []byte("1")},
				{Key: "ce_source", Value: []byte("s")},
				{Key: "ce_type", Value: []byte("t")},
			}
		}
		n, err := notification.Decode(rec, notification.Limits{Bytes: 1 << 16, Depth: 16, Keys: 200})
		var reason *notification.Error
		if (n == nil) == (err == nil) || err != nil && !errors.As(err, &reason) {
			t.Fatalf("Decode = %v, %v", n, err)
		}
		if err != nil {
			return
		}
		if n.MessageID == "" || n.EventType == "" || n.Priority == "" || n.Timestamp.IsZero() {
			t.Errorf("incomplete: %+v", n)
		}
		if _, err := json.Marshal(n.Payload); err != nil {
			t.Errorf("the payload is no JSON: %v", err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	recs := recordings(b)
	bytes := 0
	for _, r := range recs {
		bytes += len(r.Value)
	}
	b.SetBytes(int64(bytes / len(recs)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := notification.Decode(recs[i%len(recs)], notification.DefaultLimits()); err != nil {
			b.Fatal(err)
		}
	}
}
