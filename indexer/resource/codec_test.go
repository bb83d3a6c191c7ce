package resource_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
)

func raw(s string) json.RawMessage { return json.RawMessage(s) }

func sampleMutation() *resource.Mutation {
	return &resource.Mutation{
		Ref:   resource.Ref{Type: "OS::Nova::Server", ID: "a/b"},
		Kind:  resource.Full,
		Stamp: resource.Stamp{Time: 1_700_000_000_000_001, Version: 7, Message: `m"<1>`},
		Fields: map[string]json.RawMessage{
			"name": raw(`"<web> & co"`), "size": raw(`12345678901234567890`), "gone": raw(`null`),
		},
		Sets:     map[string]map[string]json.RawMessage{"tags": {"a": raw(`"a"`)}, "none": {}},
		Elements: map[string]map[string]json.RawMessage{"rules": {"r1": raw(`{"id":"r1"}`), "r2": raw(`null`)}},
		Revives:  true,
		Cause: change.Cause{
			Kind: change.ByNotification, EventType: "compute.instance.update",
			Timestamp: time.UnixMicro(1_700_000_000_000_001).UTC(), MessageID: "m1",
		},
	}
}

func TestMutationCodecKeepsEveryByte(t *testing.T) {
	t.Parallel()
	m := sampleMutation()
	b := resource.EncodeMutation(m)
	got, err := resource.DecodeMutation(b)
	if err != nil {
		t.Fatalf("DecodeMutation(%s): %v", b, err)
	}
	if d := cmp.Diff(m, got); d != "" {
		t.Errorf("decoded mutation differs (-want +got):\n%s", d)
	}
	if again := resource.EncodeMutation(got); !bytes.Equal(b, again) {
		t.Errorf("encoding again gives\n%s, want\n%s", again, b)
	}
	if !bytes.HasPrefix(b, []byte(`{"v":1,`)) || !bytes.Contains(b, []byte(`"stamp":[1700000000000001,7,"m\"<1>"]`)) {
		t.Errorf("unexpected form: %s", b)
	}
}

func TestDecodeMutationRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	good := `{"v":1,"ref":{"type":"T","id":"1"},"kind":"full","stamp":[1,0,"m"],"cause":{"kind":"notification"}}`
	if _, err := resource.DecodeMutation([]byte(good)); err != nil {
		t.Fatalf("good mutation: %v", err)
	}
	for name, bad := range map[string]string{
		"nothing":              ``,
		"another version":      strings.Replace(good, `"v":1`, `"v":2`, 1),
		"no version":           strings.Replace(good, `"v":1,`, ``, 1),
		"an unknown member":    strings.Replace(good, `"v":1`, `"v":1,"x":1`, 1),
		"an unknown kind":      strings.Replace(good, `"full"`, `"fold"`, 1),
		"no id":                strings.Replace(good, `"id":"1"`, `"id":""`, 1),
		"a slash in the type":  strings.Replace(good, `"type":"T"`, `"type":"T/U"`, 1),
		"bytes after the end":  good + `{}`,
		"a zero stamp":         strings.Replace(good, `[1,0,"m"]`, `[0,0,""]`, 1),
		"a short stamp":        strings.Replace(good, `[1,0,"m"]`, `[1,0]`, 1),
		"inherit of nothing":   strings.Replace(good, `"full"`, `"inherit"`, 1),
		"a page without kind":  strings.Replace(good, `"v":1`, `"v":1,"cascade":{}`, 1),
		"more than the limit":  good + strings.Repeat(" ", resource.MaxMutation),
		"a null for a mapping": strings.Replace(good, `"v":1`, `"v":1,"fields":7`, 1),
	} {
		if _, err := resource.DecodeMutation([]byte(bad)); !errors.Is(err, resource.ErrMalformed) {
			t.Errorf("%s: error %v, want ErrMalformed", name, err)
		}
	}
}

func FuzzDecodeMutation(f *testing.F) {
	f.Add(resource.EncodeMutation(sampleMutation()))
	f.Add([]byte(`{"v":1,"ref":{"type":"T","id":"1"},"kind":"inherit","stamp":[1,0,"m"],"inherit":{"parent":{"type":"N","id":"2"},"stamp":[1,2,"x"],"edition":3,"readers":["*"]},"cause":{"kind":"cascade"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := resource.DecodeMutation(b)
		if err != nil {
			return
		}
		once := resource.EncodeMutation(m)
		again, err := resource.DecodeMutation(once)
		if len(once) > resource.MaxMutation {
			return
		}
		if err != nil {
			t.Fatalf("DecodeMutation(%s): %v", once, err)
		}
		if twice := resource.EncodeMutation(again); !bytes.Equal(once, twice) {
			t.Fatalf("encoding is no fixed point:\n%s\n%s", once, twice)
		}
	})
}

func genStamp(t *rapid.T, label string) resource.Stamp {
	return resource.Stamp{
		Time:    rapid.Int64Range(-3, 5).Draw(t, label),
		Version: rapid.Int64Range(0, 2).Draw(t, label+" version"),
		Message: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, label+" message"),
	}
}

func genState(t *rapid.T) (resource.State, map[string]json.RawMessage) {
	s := resource.State{
		Named: rapid.Bool().Draw(t, "named"), Edition: rapid.Int64().Draw(t, "edition"),
		Deleted: genStamp(t, "deleted"), Revived: genStamp(t, "revived"), Horizon: genStamp(t, "horizon"),
		Latest: genStamp(t, "latest"), Shown: genStamp(t, "shown"),
		Fields: map[string]resource.Stamp{}, Sets: map[string]resource.Set{}, Heritage: map[string]resource.Heritage{},
	}
	fields := map[string]json.RawMessage{}
	for range rapid.IntRange(0, 3).Draw(t, "deletions") {
		s.Deletions = append(s.Deletions, genStamp(t, "deletion"))
	}
	for _, name := range rapid.SliceOfN(rapid.StringN(0, 5, -1), 0, 5).Draw(t, "fields") {
		s.Fields[name] = genStamp(t, "field")
	}
	for _, name := range []string{"set1", "set2"}[:rapid.IntRange(0, 2).Draw(t, "sets")] {
		set := resource.Set{Cleared: genStamp(t, "cleared"), Elements: map[string]resource.Element{}}
		array := []json.RawMessage{}
		for _, key := range []string{"a", "b", "c"}[:rapid.IntRange(0, 3).Draw(t, "elements")] {
			e := resource.Element{Put: genStamp(t, "put"), Drop: genStamp(t, "drop")}
			if e.Present(set.Cleared) {
				e.Value = raw(`{"key":"` + key + `"}`)
				array = append(array, e.Value)
			}
			set.Elements[key] = e
		}
		s.Sets[name] = set
		b, err := json.Marshal(array)
		if err != nil {
			t.Fatal(err)
		}
		fields[name] = b
	}
	for _, key := range []string{"N/1", "N/2"}[:rapid.IntRange(0, 2).Draw(t, "heritages")] {
		ref, _ := resource.ParseKey(key)
		s.Heritage[key] = resource.Heritage{
			Parent: ref, Stamp: genStamp(t, "heritage"), Edition: rapid.Int64().Draw(t, "edition"),
			Owner: rapid.String().Draw(t, "owner"), Deleted: genStamp(t, "gone"),
			Readers: []resource.Principal{resource.Everyone, resource.Project("p")},
		}
	}
	return s, fields
}

func TestStateCodecGivesBackTheState(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, fields := genState(t)
		b := resource.EncodeState(&s)
		got, err := resource.DecodeState(b, fields)
		if err != nil {
			t.Fatalf("DecodeState(%x): %v", b, err)
		}
		if d := cmp.Diff(s, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("decoded state differs (-want +got):\n%s", d)
		}
		if again := resource.EncodeState(&got); !bytes.Equal(b, again) {
			t.Fatalf("encoding again gives %x, want %x", again, b)
		}
	})
}

func TestStateOfOneStampIsCompact(t *testing.T) {
	t.Parallel()
	st := resource.Stamp{Time: 1_700_000_000_000_001, Message: "0a54b2cd-7dd3-4f4f-bc2b-4b2d3f1f4bd1"}
	s := resource.State{Named: true, Latest: st, Shown: st, Edition: 1, Fields: map[string]resource.Stamp{}}
	names := 0
	for c := range 40 {
		name := strings.Repeat("f", 1+c)
		s.Fields[name] = st
		names += len(name)
	}
	if got, limit := len(resource.EncodeState(&s)), names+40*2+100; got > limit {
		t.Errorf("40 fields of one stamp take %d bytes, want at most %d", got, limit)
	}
}

func FuzzDecodeState(f *testing.F) {
	s := resource.State{
		Named: true, Latest: resource.Stamp{Time: 5, Message: "m"},
		Fields: map[string]resource.Stamp{"a": {Time: 5, Message: "m"}},
		Sets:   map[string]resource.Set{"s": {Elements: map[string]resource.Element{"x": {Put: resource.Stamp{Time: 1}}}}},
	}
	f.Add(resource.EncodeState(&s), []byte(`[1]`))
	f.Fuzz(func(t *testing.T, b, array []byte) {
		fields := map[string]json.RawMessage{"s": array}
		s, err := resource.DecodeState(b, fields)
		if err != nil {
			return
		}
		once := resource.EncodeState(&s)
		again, err := resource.DecodeState(once, fields)
		if err != nil {
			t.Fatalf("DecodeState(%x): %v", once, err)
		}
		if twice := resource.EncodeState(&again); !bytes.Equal(once, twice) {
			t.Fatalf("encoding is no fixed point:\n%x\n%x", once, twice)
		}
	})
}

func sampleOutbox() []resource.Entry {
	return []resource.Entry{
		{
			At: resource.Position{Log: "l", Partition: 3, Offset: 9}, Action: change.Updated, Revision: 2, TenantRevision: 1,
			Time: time.UnixMicro(5).UTC(), Changed: []string{"a", "b"}, Before: map[string]json.RawMessage{"a": raw(`"<"`)},
			OwnerBefore: "p", ReadersBefore: []resource.Principal{"project:p"}, Cause: change.Cause{Kind: change.BySync},
		},
		{At: resource.Position{Log: "l", Offset: 10}, Revision: 2, WasDeleted: true, Time: time.UnixMicro(6).UTC(), Cause: change.Cause{Kind: change.ByCascade}},
	}
}

func TestOutboxCodecGivesBackTheEntries(t *testing.T) {
	t.Parallel()
	want := sampleOutbox()
	b := resource.EncodeOutbox(want)
	got, err := resource.DecodeOutbox(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("decoded outbox differs (-want +got):\n%s", d)
	}
	if b := resource.EncodeOutbox(nil); b != nil {
		t.Errorf("an empty outbox takes %d bytes, want none", len(b))
	}
	if got, err := resource.DecodeOutbox(nil); got != nil || err != nil {
		t.Errorf("DecodeOutbox(nil) = %v, %v, want nothing", got, err)
	}
	for _, bad := range []string{`{}`, `{"v":2,"entries":[]}`, `{"v":1,"more":1}`, `[]`, `{"v":1} 1`} {
		if _, err := resource.DecodeOutbox([]byte(bad)); !errors.Is(err, resource.ErrMalformed) {
			t.Errorf("DecodeOutbox(%s): error %v, want ErrMalformed", bad, err)
		}
	}
}

func FuzzDecodeOutbox(f *testing.F) {
	f.Add(resource.EncodeOutbox(sampleOutbox()))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := resource.DecodeOutbox(b)
		if err != nil {
			return
		}
		once := resource.EncodeOutbox(entries)
		again, err := resource.DecodeOutbox(once)
		if err != nil {
			t.Fatalf("DecodeOutbox(%s): %v", once, err)
		}
		if twice := resource.EncodeOutbox(again); !bytes.Equal(once, twice) {
			t.Fatalf("encoding is no fixed point:\n%s\n%s", once, twice)
		}
	})
}

func TestEncodingsAreThoseOfEncodingJSON(t *testing.T) {
	t.Parallel()
	m := sampleMutation()
	m.Inherit = &resource.Heritage{
		Parent: resource.Ref{Type: "P", ID: "1"}, Stamp: resource.Stamp{Time: 5, Message: "x"}, Edition: 3, Owner: "o",
		Readers: []resource.Principal{"*", "project:1"}, Deleted: resource.Stamp{Time: 6},
	}
	m.Cascade = &resource.CascadePage{Child: "C", After: "<9>"}
	m.Cause.Priority, m.Cause.PublisherID, m.Cause.RequestID = "INFO", "compute.é", "req-1"
	m.Cause.InitiatorUser, m.Cause.InitiatorProject = "u", "p"
	for name, c := range map[string]struct {
		got  []byte
		form any
	}{
		"mutation": {resource.EncodeMutation(m), struct {
			V int `json:"v"`
			*resource.Mutation
		}{1, m}},
		"outbox": {resource.EncodeOutbox(sampleOutbox()), struct {
			V       int              `json:"v"`
			Entries []resource.Entry `json:"entries"`
		}{1, sampleOutbox()}},
	} {
		want, err := resource.Canonical(c.form)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(c.got)); d != "" {
			t.Errorf("%s (-encoding/json +got):\n%s", name, d)
		}
	}
}
