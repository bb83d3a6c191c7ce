package sdk

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// schema is the part of JSON Schema 2020-12 that struct tags can express.
type schema struct {
	Dialect              string             `json:"$schema,omitempty"`
	Type                 string             `json:"type"`
	Description          string             `json:"description,omitempty"`
	Properties           map[string]*schema `json:"properties,omitempty"`
	Required             []string           `json:"required,omitempty"`
	AdditionalProperties any                `json:"additionalProperties,omitempty"` // false, or a *schema
	Items                *schema            `json:"items,omitempty"`
	WriteOnly            bool               `json:"writeOnly,omitempty"`
}

// schemaOf describes a struct type by its tags.
func schemaOf(t reflect.Type) (*schema, error) {
	s, err := describe(t)
	if err != nil {
		return nil, err
	}
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("%s is not a struct", t)
	}
	s.Dialect = "https://json-schema.org/draft/2020-12/schema"
	return s, nil
}

func describe(t reflect.Type) (*schema, error) {
	if t == reflect.TypeFor[Secret]() {
		return &schema{Type: "string", WriteOnly: true}, nil
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return &schema{Type: "string"}, nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		return describe(t.Elem())
	case reflect.String:
		return &schema{Type: "string"}, nil
	case reflect.Bool:
		return &schema{Type: "boolean"}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return &schema{Type: "integer"}, nil
	case reflect.Float32, reflect.Float64:
		return &schema{Type: "number"}, nil
	case reflect.Slice:
		items, err := describe(t.Elem())
		return &schema{Type: "array", Items: items}, err
	case reflect.Map:
		values, err := describe(t.Elem())
		return &schema{Type: "object", AdditionalProperties: values}, err
	case reflect.Struct:
		return describeStruct(t)
	default:
		return nil, fmt.Errorf("a field of type %s has no JSON schema", t)
	}
}

func describeStruct(t reflect.Type) (*schema, error) {
	s := &schema{Type: "object", Properties: map[string]*schema{}, AdditionalProperties: false}
	for _, f := range reflect.VisibleFields(t) {
		name, flags, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" || len(f.Index) > 1 {
			continue
		}
		if f.Anonymous && name == "" {
			return nil, fmt.Errorf("%s.%s: embedded fields are not supported; give it a name", t, f.Name)
		}
		if name == "" {
			name = f.Name
		}
		p, err := describe(f.Type)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", t, f.Name, err)
		}
		p.Description = f.Tag.Get("doc")
		s.Properties[name] = p
		if !strings.Contains(flags, "omitempty") && !strings.Contains(flags, "omitzero") {
			s.Required = append(s.Required, name)
		}
	}
	slices.Sort(s.Required)
	return s, nil
}

// problem is what is wrong with a document, at a JSON pointer.
type problem struct{ path, text string }

// check returns what is wrong with a document; nil if nothing is.
func (s *schema) check(raw json.RawMessage, path string) []problem {
	switch s.Type {
	case "object":
		return s.checkObject(raw, path)
	case "array":
		var items []json.RawMessage
		if json.Unmarshal(raw, &items) != nil {
			return []problem{{path, "must be an array"}}
		}
		var ps []problem
		for i, item := range items {
			ps = append(ps, s.Items.check(item, fmt.Sprintf("%s/%d", path, i))...)
		}
		return ps
	}
	into := map[string]any{"string": new(string), "boolean": new(bool), "integer": new(int64), "number": new(float64)}[s.Type]
	if string(raw) == "null" || json.Unmarshal(raw, into) != nil {
		return []problem{{path, "must be of type " + s.Type}}
	}
	return nil
}

func (s *schema) checkObject(raw json.RawMessage, path string) (ps []problem) {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil || members == nil {
		return []problem{{path, "must be an object"}}
	}
	values, open := s.AdditionalProperties.(*schema)
	for name, value := range members {
		at := path + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
		switch p := s.Properties[name]; {
		case p != nil:
			ps = append(ps, p.check(value, at)...)
		case open:
			ps = append(ps, values.check(value, at)...)
		default:
			ps = append(ps, problem{at, "is not a known key; known are " + strings.Join(s.names(), ", ")})
		}
	}
	for _, name := range s.Required {
		if _, ok := members[name]; !ok {
			ps = append(ps, problem{path + "/" + name, "is required"})
		}
	}
	slices.SortFunc(ps, func(a, b problem) int { return strings.Compare(a.path, b.path) })
	return ps
}

func (s *schema) names() []string {
	names := make([]string, 0, len(s.Properties))
	for name := range s.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
