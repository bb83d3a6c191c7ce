package searchapi

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestAnswerIsWhatEncodingJSONMakesOfIt(t *testing.T) {
	t.Parallel()
	score, small, revision := 1.5, 1e-9, int64(7)
	full := hit{
		Index: indexName, Type: "OS::Neutron::Port", ID: "a\"b\u2028<é", Score: &score, Version: &revision,
		Source: json.RawMessage(`{"id":"a","n":1.0,"s":"<&>"}`), Sort: []json.RawMessage{[]byte(`"x"`), []byte(`null`), []byte(`3`)},
	}
	for name, a := range map[string]answered{
		"nothing found": {Took: 3, Shards: shards{Total: 1, Successful: 1}, Hits: hits{Hits: []hit{}}},
		"out of time":   {TimedOut: true, Partial: "the search ran out of time after 1s", Shards: shards{1, 0, 1}, Hits: hits{Hits: []hit{}}},
		"hits":          {Took: 12, Hits: hits{Total: 2, MaxScore: &small, Hits: []hit{full, {Type: "T", ID: "1"}}}},
	} {
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(a); err != nil {
			t.Fatal(err)
		}
		if got, err := a.encode(); err != nil || string(got) != want.String() {
			t.Errorf("%s: encode() = %s, %v, want %s", name, got, err, want.String())
		}
	}
}
