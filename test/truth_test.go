package test

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"testing"
)

// truth is what the services themselves listed at the end of the recorded day.
func truth(t *testing.T) map[string][]map[string]any {
	t.Helper()
	f, err := os.Open("day/truth.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string]json.RawMessage
	if err := json.NewDecoder(z).Decode(&raw); err != nil {
		t.Fatal(err)
	}
	delete(raw, "taken_at")
	all := map[string][]map[string]any{}
	for typ, b := range raw {
		var objects []map[string]any
		if err := json.Unmarshal(b, &objects); err == nil {
			all[typ] = objects
		}
	}
	return all
}
