package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"gopkg.in/yaml.v3"
)

// Schema is a JSON Schema 2020-12 that compiles; its zero value says nothing and
// accepts everything.
type Schema struct {
	doc      any // as encoding/json decodes it
	compiled *jsonschema.Schema
}

// NewSchema compiles a schema; no bytes are no schema. References lead nowhere but
// into the schema itself: nothing is fetched or read.
func NewSchema(text []byte) (Schema, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return Schema{}, nil
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return Schema{}, fmt.Errorf("is not JSON: %w", err)
	}
	const name = "urn:fresnel:schema"
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(nowhere{})
	if err := c.AddResource(name, doc); err != nil {
		return Schema{}, fmt.Errorf("is no JSON Schema: %w", err)
	}
	compiled, err := c.Compile(name)
	if err != nil {
		return Schema{}, fmt.Errorf("is no JSON Schema: %s", strings.ReplaceAll(err.Error(), "\n", " "))
	}
	return Schema{doc: doc, compiled: compiled}, nil
}

// nowhere refuses references to other documents.
type nowhere struct{}

func (nowhere) Load(string) (any, error) {
	return nil, errors.New("a schema may refer to nothing outside of itself")
}

// Empty reports whether there is no schema.
func (s Schema) Empty() bool { return s.compiled == nil }

// IsZero is Empty, for encoders.
func (s Schema) IsZero() bool { return s.Empty() }

// MarshalJSON returns the schema itself.
func (s Schema) MarshalJSON() ([]byte, error) { return json.Marshal(s.doc) }

// MarshalYAML returns the schema itself.
func (s Schema) MarshalYAML() (any, error) {
	b, err := json.Marshal(s.doc) // numbers are json.Number, which YAML would quote
	if err != nil {
		return nil, err
	}
	var n yaml.Node
	err = yaml.Unmarshal(b, &n)
	block(&n)
	return n.Content[0], err
}

// block has a node that was JSON written as people write YAML.
func block(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		block(c)
	}
}

// UnmarshalYAML reads a schema that stands in a manifest.
func (s *Schema) UnmarshalYAML(n *yaml.Node) error {
	var doc any
	if err := n.Decode(&doc); err != nil {
		return err
	}
	text, err := json.Marshal(doc)
	if err == nil {
		*s, err = NewSchema(text)
	}
	if err != nil {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %s", n.Line, strings.TrimPrefix(err.Error(), "json: "))}}
	}
	return nil
}

// equals reports whether a text is the same schema.
func (s Schema) equals(text []byte) bool {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	return err == nil && reflect.DeepEqual(doc, s.doc)
}

// Properties are the names that the schema has for an object's members, sorted.
func (s Schema) Properties() []string {
	names := make([]string, 0, 4)
	for name := range s.properties() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Secret reports whether a member is write-only: its value is for nobody to see.
func (s Schema) Secret(name string) bool {
	p := s.properties()[name]
	return p != nil && p.WriteOnly
}

func (s Schema) properties() map[string]*jsonschema.Schema {
	if s.compiled == nil {
		return nil
	}
	return s.compiled.Properties
}

// Check returns what is wrong with a value, as encoding/json would encode it: each
// problem with the key it is about, as in a.b[2]. No text of the value is part of an
// error.
func (s Schema) Check(value any) []error {
	if s.compiled == nil {
		return nil
	}
	text, err := json.Marshal(value)
	if err != nil {
		return []error{fmt.Errorf("cannot be JSON: %w", err)}
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return []error{err}
	}
	var wrong *jsonschema.ValidationError
	if err := s.compiled.Validate(doc); errors.As(err, &wrong) {
		return s.problems(wrong)
	} else if err != nil {
		return []error{err}
	}
	return nil
}

// CheckOptions is Check of a destination's options, which are all strings: one that
// is to be something else is its JSON form.
func (s Schema) CheckOptions(options map[string]string) []error {
	members := make(map[string]any, len(options))
	for name, value := range options {
		members[name] = value
		if p := s.properties()[name]; p != nil && !mayBeText(p) && json.Valid([]byte(value)) {
			members[name] = json.RawMessage(value)
		}
	}
	return s.Check(members)
}

func mayBeText(p *jsonschema.Schema) bool {
	return p.Types == nil || slices.Contains(p.Types.ToStrings(), "string")
}

// problems puts the leaves of a validation error into words.
func (s Schema) problems(e *jsonschema.ValidationError) (errs []error) {
	if len(e.Causes) > 0 {
		for _, c := range e.Causes {
			errs = append(errs, s.problems(c)...)
		}
		slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
		return errs
	}
	at := func(more ...string) string { return key(append(slices.Clone(e.InstanceLocation), more...)) }
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			text := "is not a known key"
			if names := s.Properties(); len(e.InstanceLocation) == 0 && len(names) > 0 {
				text += "; known are " + strings.Join(names, ", ")
			}
			errs = append(errs, fmt.Errorf("%s: %s", at(name), text))
		}
	case *kind.Required:
		for _, name := range k.Missing {
			errs = append(errs, fmt.Errorf("%s: required", at(name)))
		}
	case *kind.Pattern:
		errs = append(errs, fmt.Errorf("%s: does not match %s", at(), k.Want))
	case *kind.Format:
		errs = append(errs, fmt.Errorf("%s: is not of the format %s", at(), k.Want))
	default:
		// The library's words begin with the place.
		_, text, _ := strings.Cut(e.Error(), "': ")
		errs = append(errs, fmt.Errorf("%s: %s", at(), text))
	}
	return errs
}

// key is a place in a document as configuration names it.
func key(location []string) string {
	var b strings.Builder
	for i, part := range location {
		switch {
		case part != "" && strings.Trim(part, "0123456789") == "":
			b.WriteString("[" + part + "]")
		case i > 0:
			b.WriteString("." + part)
		default:
			b.WriteString(part)
		}
	}
	return b.String()
}
