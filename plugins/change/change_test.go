package change_test

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/plugins/change"
)

func decode(t *testing.T, b []byte) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// The baseline is the schema as first published. It is never edited: what has been
// promised to receivers is in it.
func TestSchemaOnlyGrows(t *testing.T) {
	t.Parallel()
	baseline, now := decode(t, published(t)), decode(t, change.Schema)
	for _, p := range lost("", baseline, now) {
		t.Error(p)
	}
	if now["$id"] != change.DataSchema {
		t.Errorf("schema is called %v, deliveries name %s", now["$id"], change.DataSchema)
	}
}

func TestLostMembersAreFound(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(properties map[string]any){
		"a member removed":  func(p map[string]any) { delete(p, "late") },
		"a type changed":    func(p map[string]any) { p["late"].(map[string]any)["type"] = "string" },
		"an action removed": func(p map[string]any) { p["action"] = map[string]any{"enum": []any{"created"}} },
		"a limit added":     func(p map[string]any) { p["id"].(map[string]any)["maxLength"] = 3.0 },
	} {
		baseline, now := decode(t, published(t)), decode(t, published(t))
		edit(now["properties"].(map[string]any))
		if len(lost("", baseline, now)) == 0 {
			t.Errorf("%s is not noticed", name)
		}
	}
}

func published(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/schema-1.json")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// prose may be rewritten.
var prose = []string{"title", "description", "examples"}

// lost tells what the baseline promises and now does not. New properties are
// welcome; a new constraint on an old one is not.
func lost(path string, baseline, now any) (problems []string) {
	switch b := baseline.(type) {
	case map[string]any:
		n, ok := now.(map[string]any)
		if !ok {
			return []string{path + ": no object any more"}
		}
		for key, v := range b {
			if !slices.Contains(prose, key) || strings.HasSuffix(path, "/properties") {
				problems = append(problems, lost(path+"/"+key, v, n[key])...)
			}
		}
		for key := range n {
			if _, ok := b[key]; !ok && !strings.HasSuffix(path, "/properties") && !slices.Contains(prose, key) {
				problems = append(problems, path+"/"+key+": a new constraint")
			}
		}
	case []any:
		n, ok := now.([]any)
		if !ok {
			return []string{path + ": no list any more"}
		}
		for _, v := range b {
			if !slices.Contains(n, v) {
				problems = append(problems, fmt.Sprintf("%s: %v is gone", path, v))
			}
		}
	default:
		if baseline != now {
			problems = append(problems, fmt.Sprintf("%s: %v became %v", path, baseline, now))
		}
	}
	return problems
}

func TestSchemaDescribesTheStruct(t *testing.T) {
	t.Parallel()
	describes(t, "change", reflect.TypeFor[change.Change](), decode(t, change.Schema))
}

// describes checks that the schema and the struct have the same members, and that
// exactly those that are never left out are required.
func describes(t *testing.T, name string, typ reflect.Type, schema map[string]any) {
	t.Helper()
	properties, ok := schema["properties"].(map[string]any)
	if !ok {
		t.Fatalf("%s: the schema has no properties", name)
	}
	required, _ := schema["required"].([]any)
	seen := map[string]bool{}
	for f := range typ.Fields() {
		member, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		seen[member] = true
		property, ok := properties[member].(map[string]any)
		if !ok {
			t.Errorf("%s: the schema lacks %s", name, member)
			continue
		}
		if always := options == ""; always != slices.Contains(required, any(member)) {
			t.Errorf("%s: %s is always there: %v; the schema says otherwise", name, member, always)
		}
		if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[time.Time]() {
			describes(t, name+"."+member, f.Type, property)
		}
	}
	for member := range properties {
		if !seen[member] {
			t.Errorf("%s: the schema has %s, the struct has not", name, member)
		}
	}
}
