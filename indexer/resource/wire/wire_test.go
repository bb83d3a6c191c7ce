package wire_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/indexer/resource/wire"
)

// plain is encoding/json without HTML escapes.
func plain(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

type sample struct {
	Name    string                                `json:"name"`
	Empty   string                                `json:"empty,omitempty"`
	N       int64                                 `json:"n"`
	Zero    int64                                 `json:"zero,omitempty"`
	Yes     bool                                  `json:"yes,omitempty"`
	At      time.Time                             `json:"at"`
	List    []string                              `json:"list,omitempty"`
	Fields  map[string]json.RawMessage            `json:"fields"`
	Sets    map[string]map[string]json.RawMessage `json:"sets"`
	Objects []json.RawMessage                     `json:"-"`
}

func TestWriterWritesWhatEncodingJSONWrites(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 12, 0, 0, 5000, time.UTC)
	for _, s := range []sample{
		{At: at},
		{Name: "<a> & \"b\" \\ \n \u2028 \x01 \xff ü", N: -7, Yes: true, At: at.Truncate(time.Second), List: []string{"z", "a/b", ""}},
		{
			Name: "maps", At: at,
			Fields: map[string]json.RawMessage{"b": json.RawMessage(`{"x":[1,2.5e-3,null]}`), "a": json.RawMessage(`"<é>"`), "none": nil, "ü": json.RawMessage(`-0`)},
			Sets:   map[string]map[string]json.RawMessage{"tags": {"k\"": json.RawMessage(`true`)}, "empty": {}, "nil": nil},
		},
	} {
		if s.Fields == nil {
			s.Fields = map[string]json.RawMessage{}
		}
		if s.Sets == nil {
			s.Sets = map[string]map[string]json.RawMessage{}
		}
		w := wire.NewWriter(0)
		w.Begin()
		w.String("name", s.Name)
		w.Text("empty", s.Empty)
		w.Int("n", s.N)
		w.Count("zero", s.Zero)
		w.True("yes", s.Yes)
		w.Time("at", s.At)
		wire.Strings(w, "list", s.List)
		w.Values("fields", s.Fields)
		w.Sets("sets", s.Sets)
		w.End()
		got, err := w.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if want := plain(t, s); string(got) != want {
			t.Errorf("wrote\n%s, encoding/json\n%s", got, want)
		}
		back, want := read(t, got), sample{}
		if err := json.Unmarshal(got, &want); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, back); d != "" {
			t.Errorf("read back (-encoding/json +got):\n%s", d)
		}
	}
}

func read(t *testing.T, b []byte) (s sample) {
	t.Helper()
	r := wire.NewReader(b)
	r.Object(func(name string) bool {
		switch name {
		case "name":
			s.Name = r.String()
		case "n":
			s.N = r.Int()
		case "yes":
			s.Yes = r.Bool()
		case "at":
			s.At = r.Time()
		case "list":
			s.List = wire.List[string](r)
		case "fields":
			s.Fields = r.Values()
		case "sets":
			s.Sets = r.Sets()
		default:
			return false
		}
		return true
	})
	if err := r.Close(); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return s
}

func TestWriterRefusesWhatIsNoJSON(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"{", "tru", `"a`, "1 2", "[1,]", "01", "\x00", ""} {
		w := wire.NewWriter(0)
		w.Begin()
		w.Values("fields", map[string]json.RawMessage{"f": json.RawMessage(bad)})
		w.End()
		if b, err := w.Bytes(); err == nil {
			t.Errorf("%q was written: %s", bad, b)
		}
	}
}

// FuzzValue compares with encoding/json what is JSON, and what strings mean.
func FuzzValue(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,-2.5E+7,"\u00e9\n\ud83d\ude00",true,false,null,{}],"b":""}`, ` [ 1 , 2 ] `, `"\ud800"`, `-`, `1.`, `.5`, `00`, `1e`,
		`"\x"`, `"\u12g4"`, "\"\x1f\"", "\"\xff\"", `{"a"}`, `{"a":1,}`, `[,]`, `nul`, `"`, `{,}`, `[1 2]`, "", "\ufeff1", `[[]]]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.NewReader(b)
		raw := r.Raw()
		err := r.Close()
		if json.Valid(b) != (err == nil) && !bytes.Contains(b, bytes.Repeat([]byte("["), 500)) {
			t.Fatalf("%q: valid %t, error %v", b, json.Valid(b), err)
		}
		if err != nil {
			return
		}
		var value any
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.UseNumber()
		if err := dec.Decode(&value); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(value, wire.NewReader(b).Any()); d != "" || !wire.Valid(b) {
			t.Errorf("Any(%q): %s", b, d)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, b); err != nil {
			t.Fatal(err)
		}
		if wire.Compact(raw) != bytes.Equal(compact.Bytes(), raw) {
			t.Errorf("Compact(%q) = %t", raw, wire.Compact(raw))
		}
		var want string
		if raw[0] == '"' && json.Unmarshal(b, &want) == nil {
			r := wire.NewReader(b)
			if got := r.String(); got != want || r.Close() != nil {
				t.Errorf("String(%q) = %q, want %q", b, got, want)
			}
		}
	})
}

func TestStringsAreWrittenAndReadWhateverByteStandsWhere(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		for at := range 20 {
			b := []byte("abcdefghij~0123456789")
			b[at] = byte(c)
			s := string(b)
			var want bytes.Buffer
			enc := json.NewEncoder(&want)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(s); err != nil {
				t.Fatal(err)
			}
			got := wire.AppendString(nil, s)
			if string(got) != strings.TrimSuffix(want.String(), "\n") {
				t.Fatalf("AppendString(%q) = %s, want %s", s, got, want.String())
			}
			var back string
			if err := json.Unmarshal(got, &back); err != nil {
				t.Fatal(err)
			}
			r := wire.NewReader(got)
			if read, err := r.String(), r.Close(); read != back || err != nil {
				t.Fatalf("String of %s = %q, %v, want %q", got, read, err, back)
			}
			bare := append(append([]byte{'"'}, b...), '"')
			if wire.Valid(bare) != json.Valid(bare) {
				t.Fatalf("Valid(%q) = %v", bare, wire.Valid(bare))
			}
		}
	}
}
