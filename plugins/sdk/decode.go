package sdk

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// validator is implemented by configurations and options that check themselves.
type validator interface{ Validate() error }

// decode fills a new T from a JSON document, or says what is wrong with it.
func decode[T any](s *schema, raw []byte) (*T, []problem) {
	if len(raw) == 0 {
		raw = []byte("{}")
	}
	if ps := s.check(raw, ""); len(ps) > 0 {
		return nil, ps
	}
	v := new(T)
	if err := json.Unmarshal(raw, v); err != nil {
		return nil, []problem{{"", err.Error()}}
	}
	if c, ok := any(v).(validator); ok {
		if err := c.Validate(); err != nil {
			return nil, []problem{{"", err.Error()}}
		}
	}
	return v, nil
}

// decodeOptions fills a new O from a destination's options, which are all strings:
// a field that is not a string takes its JSON form.
func decodeOptions[O any](s *schema, options map[string]string) (O, error) {
	var zero O
	if _, checked := any(&zero).(validator); !checked && len(options) == 0 && len(s.Required) == 0 {
		return zero, nil
	}
	members := make(map[string]json.RawMessage, len(options))
	for name, value := range options {
		quoted, err := json.Marshal(value)
		if err != nil {
			return zero, err
		}
		if p := s.Properties[name]; p != nil && p.Type != "string" && json.Valid([]byte(value)) {
			quoted = []byte(value)
		}
		members[name] = quoted
	}
	raw, err := json.Marshal(members)
	if err != nil {
		return zero, err
	}
	v, ps := decode[O](s, raw)
	if len(ps) > 0 {
		return zero, joined(ps)
	}
	return *v, nil
}

func joined(ps []problem) error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = fmt.Errorf("%s %s", strings.TrimPrefix(p.path, "/"), p.text)
	}
	return errors.Join(errs...)
}
