package changelog_test

import (
	"bytes"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/fresnel-search/fresnel/indexer/changelog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/plugins/change"
)

// schema is the compiled schema of a change; it is as constant as its text.
var schema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(change.Schema))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(change.DataSchema, doc); err != nil {
		return nil, err
	}
	return c.Compile(change.DataSchema)
})

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// validate holds a change against the schema that receivers are given, and its bytes
// against encoding/json.
func validate(t fataler, ch change.Change) {
	t.Helper()
	s, err := schema()
	if err != nil {
		t.Fatalf("compile schema: %v", err)
	}
	b, err := changelog.EncodeChange(&ch)
	if err != nil {
		t.Fatalf("encode change: %v", err)
	}
	if want, err := resource.Canonical(ch); err != nil || !bytes.Equal(b, want) {
		t.Fatalf("EncodeChange:\n%s, want (%v)\n%s", b, err, want)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("decode change: %v", err)
	}
	if err := s.Validate(v); err != nil {
		t.Fatalf("%s is no change by the schema: %v", b, err)
	}
}

func TestEveryFormOfAChangeFitsTheSchema(t *testing.T) {
	t.Parallel()
	for _, a := range []changelog.Audience{{All: true}, {All: true, Hidden: true}} {
		for _, e := range []*changelog.Entry{sampleEntry(), changelog.Truncate(sampleEntry()), exampleEntry()} {
			ch, ok := changelog.Project(e, a, testType(), href)
			if !ok {
				t.Fatalf("%+v is shown nothing of %s", a, e.ID)
			}
			validate(t, ch)
		}
	}
}

func TestSchemaRefusesWhatIsNoChange(t *testing.T) {
	t.Parallel()
	s, err := schema()
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{`{}`, `[]`, `{"id":"1","action":"renamed","resource":{"type":"T","id":"1","href":"/"},"time":"2026-01-02T03:04:05Z","cause":{"kind":"sync"}}`} {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(bad)))
		if err != nil {
			t.Fatal(err)
		}
		if s.Validate(v) == nil {
			t.Errorf("the schema takes %s", bad)
		}
	}
}
