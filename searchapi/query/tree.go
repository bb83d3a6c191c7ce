package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// object is a JSON object with its members in the order they were sent. All other
// values are as encoding/json gives them with UseNumber.
type object []member

type member struct {
	key   string
	value any
}

// decode reads one JSON value, nested at most depth levels, and nothing after it.
func decode(body []byte, depth int) (any, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	v, err := decodeValue(d, depth)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is more after the JSON value")
		}
	}
	var own *Error
	switch {
	case err == nil:
		return v, nil
	case errors.As(err, &own):
		return nil, own
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("it ends too early")
	}
	return nil, &Error{Path: "body", Detail: fmt.Sprintf("malformed JSON near byte %d: %v", d.InputOffset(), err)}
}

func decodeValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth == 0 {
		return nil, &Error{Path: "body", Detail: "nested too deeply"}
	}
	if delim == '{' {
		return decodeObject(d, depth-1)
	}
	list := []any{}
	for d.More() {
		v, err := decodeValue(d, depth-1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err = d.Token()
	return list, err
}

func decodeObject(d *json.Decoder, depth int) (any, error) {
	o, seen := object{}, map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, ok := t.(string)
		if !ok {
			return nil, errors.New("a key that is no string")
		}
		if seen[key] {
			return nil, &Error{Path: "body", Detail: fmt.Sprintf("key %s stands twice in one object", quote(key))}
		}
		seen[key] = true
		v, err := decodeValue(d, depth)
		if err != nil {
			return nil, err
		}
		o = append(o, member{key, v})
	}
	_, err := d.Token()
	return o, err
}

// kind names the JSON type of a decoded value, for messages.
func kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "an array"
	default:
		return "an object"
	}
}

// quote shows what a caller wrote, shortened, in quotes.
func quote(s string) string {
	const most = 64
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return strconv.Quote(s)
}

// errorAt makes an Error.
func errorAt(path, format string, args ...any) error {
	return &Error{Path: path, Detail: fmt.Sprintf(format, args...)}
}
