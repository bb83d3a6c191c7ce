package resource_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fresnel-search/fresnel/indexer/resource"
)

func hidesX(path string) bool {
	return path[strings.LastIndexByte(path, '.')+1:] == "x"
}

// stripped is Strip by way of decoded values.
func stripped(path string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, m := range v {
			if hidesX(path + "." + k) {
				delete(v, k)
			} else {
				v[k] = stripped(path+"."+k, m)
			}
		}
	case []any:
		for i := range v {
			v[i] = stripped(path, v[i])
		}
	}
	return v
}

func genValue(t *rapid.T, depth int) any {
	kind := rapid.IntRange(0, 6).Draw(t, "kind")
	if depth == 0 {
		kind %= 4
	}
	switch kind {
	case 0:
		return nil
	case 1:
		return rapid.Float64().Draw(t, "number")
	case 2:
		return rapid.String().Draw(t, "string")
	case 3:
		return rapid.Bool().Draw(t, "bool")
	case 4:
		a := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "length") {
			a = append(a, genValue(t, depth-1))
		}
		return a
	}
	o := map[string]any{}
	for range rapid.IntRange(0, 4).Draw(t, "members") {
		o[rapid.SampledFrom([]string{"a", "w", "x", "y", "z", `"`, `\`, "x.x", "é"}).Draw(t, "name")] = genValue(t, depth-1)
	}
	return o
}

func TestStripLeavesExactlyWhatIsNotHidden(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := genValue(t, 4)
		in, err := resource.Canonical(v)
		if err != nil {
			t.Fatal(err)
		}
		keep := bytes.Clone(in)
		got, ok := resource.Strip("f", in, hidesX)
		want, err := resource.Canonical(stripped("f", v))
		if err != nil {
			t.Fatal(err)
		}
		if !ok || !bytes.Equal(got, want) {
			t.Fatalf("Strip(%s) = %s, %v, want %s", in, got, ok, want)
		}
		if !bytes.Equal(in, keep) {
			t.Fatalf("Strip wrote into its argument: %s, was %s", in, keep)
		}
	})
}

func TestStripHidesTheFieldItself(t *testing.T) {
	t.Parallel()
	if got, ok := resource.Strip("x", raw(`1`), hidesX); ok || got != nil {
		t.Errorf("Strip of a hidden field = %s, %v, want nothing", got, ok)
	}
	if got, ok := resource.Strip("x", raw(`1`), nil); !ok || string(got) != `1` {
		t.Errorf("Strip without rules = %s, %v, want 1", got, ok)
	}
}

func FuzzStrip(f *testing.F) {
	f.Add([]byte(`{"a":[{"x":1,"y":{"x":"\""}}],"x":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := resource.Strip("f", b, hidesX)
		if ok && json.Valid(b) && !json.Valid(got) {
			t.Fatalf("Strip(%s) = %s, which is no JSON", b, got)
		}
	})
}
