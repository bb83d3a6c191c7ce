package resource_test

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fresnel-search/fresnel/indexer/resource"
)

func TestRenderNestsDottedNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		fields map[string]json.RawMessage
		want   string
	}{
		{"nothing", nil, `{}`},
		{"names without dots stand as they are", map[string]json.RawMessage{"OS-EXT-STS:vm_state": raw(`"active"`), "name": raw(`"a"`)}, `{"OS-EXT-STS:vm_state":"active","name":"a"}`},
		{"a dotted name is a member", map[string]json.RawMessage{"flavor.id": raw(`1`), "flavor.name": raw(`"m1"`), "flavor-x": raw(`2`)}, `{"flavor-x":2,"flavor":{"id":1,"name":"m1"}}`},
		{"deep", map[string]json.RawMessage{"a.b.c": raw(`1`), "a.b.d": raw(`2`), "a.x": raw(`3`)}, `{"a":{"b":{"c":1,"d":2},"x":3}}`},
		{"other nests once", map[string]json.RawMessage{"other.x.y": raw(`1`), "other.z": raw(`{"q":[1]}`)}, `{"other":{"x.y":1,"z":{"q":[1]}}}`},
		{"a field keeps its name", map[string]json.RawMessage{"a": raw(`1`), "a.b": raw(`2`)}, `{"a":1,"a.b":2}`},
		{"names are escaped", map[string]json.RawMessage{"a\"\n<": raw(`1`)}, `{"a\"\n<":1}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := string(resource.Render(tt.fields)); got != tt.want {
				t.Errorf("Render = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestRenderIsJSONThatLosesNoField(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfDistinct(rapid.StringMatching(`(other\.)?[a-c.]{1,6}`), func(s string) string { return s }).Draw(t, "names")
		fields := map[string]json.RawMessage{}
		for _, n := range names {
			fields[n] = raw(`"` + n + `"`)
		}
		out := resource.Render(fields)
		var v any
		if err := json.Unmarshal(out, &v); err != nil {
			t.Fatalf("Render gave %s: %v", out, err)
		}
		leaves := 0
		var walk func(path string, v any)
		walk = func(path string, v any) {
			switch v := v.(type) {
			case map[string]any:
				for k, m := range v {
					walk(path+"."+k, m)
				}
			case string:
				leaves++
				if strings.TrimPrefix(path, ".") != v {
					t.Fatalf("value of %s stands at %s in %s", v, path, out)
				}
			}
		}
		walk("", v)
		if leaves != len(fields) {
			t.Fatalf("%d leaves of %d fields in %s", leaves, len(fields), out)
		}
	})
}

func TestCanonicalKeepsNumbersAndTags(t *testing.T) {
	t.Parallel()
	got, err := resource.Canonical(map[string]any{"b": json.Number("1.50"), "a": "<&>", "c": []any{nil, true}})
	if want := `{"a":"<&>","b":1.50,"c":[null,true]}`; err != nil || string(got) != want {
		t.Errorf("Canonical = %s, %v, want %s", got, err, want)
	}
}

func TestNamesAreEscapedAsCanonicalDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s") + rapid.SampledFrom([]string{"", "\u2028", "\u2029", "\b\f", "\x7f", "\xff", "\xe2\x80"}).Draw(t, "odd")
		if strings.Contains(s, ".") {
			return
		}
		want, err := resource.Canonical(map[string]any{s: 1})
		if err != nil {
			t.Fatal(err)
		}
		if got := resource.Render(map[string]json.RawMessage{s: raw(`1`)}); string(got) != string(want) {
			t.Fatalf("Render = %s, want %s", got, want)
		}
	})
}

func BenchmarkRender(b *testing.B) {
	fields := map[string]json.RawMessage{}
	for i := range 40 {
		fields["field_"+strings.Repeat("x", i%7)+string(rune('a'+i%26))+string(rune('a'+i/26))] = raw(`"some value of a field"`)
	}
	b.ReportAllocs()
	for b.Loop() {
		resource.Render(fields)
	}
}

func BenchmarkMutationCodec(b *testing.B) {
	m := sampleMutation()
	for i := range 40 {
		m.Fields["field_"+string(rune('a'+i%26))+string(rune('a'+i/26))] = raw(`"some value of a field"`)
	}
	enc := resource.EncodeMutation(m)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			resource.EncodeMutation(m)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := resource.DecodeMutation(enc); err != nil {
				b.Fatal(err)
			}
		}
	})
}
