package query

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
)

// options reads the members of an object by name and type. It keeps the first
// error; done tells it, or which members nobody asked for. A null member counts as
// absent.
type options struct {
	path  string
	obj   object
	what  string   // what an unknown member is called
	known []string // in the order asked for
	err   error
}

func readOptions(path string, v any) *options {
	o, ok := v.(object)
	r := &options{path: path, obj: o, what: "option"}
	if !ok {
		r.err = errorAt(path, "must be an object, is %s", kind(v))
	}
	return r
}

func (o *options) fail(err error) {
	if o.err == nil {
		o.err = err
	}
}

// value returns a member; ok is false if it is absent or null.
func (o *options) value(key string) (v any, ok bool) {
	o.known = append(o.known, key)
	for _, m := range o.obj {
		if m.key == key {
			return m.value, m.value != nil
		}
	}
	return nil, false
}

// has reports whether the member is there, without making it known.
func (o *options) has(key string) bool {
	for _, m := range o.obj {
		if m.key == key && m.value != nil {
			return true
		}
	}
	return false
}

func (o *options) text(key string) string {
	v, ok := o.value(key)
	if !ok {
		return ""
	}
	s, ok := v.(string)
	if !ok {
		o.fail(errorAt(join(o.path, key), "must be a string, is %s", kind(v)))
	}
	return s
}

// required is text that must be there.
func (o *options) required(key string) string {
	if !o.has(key) {
		o.fail(errorAt(join(o.path, key), "is required"))
	}
	return o.text(key)
}

// choice is a word out of a few, in any case; it returns them as given here.
func (o *options) choice(key string, allowed ...string) string {
	s := o.text(key)
	if s == "" {
		return ""
	}
	for _, a := range allowed {
		if strings.EqualFold(a, s) {
			return a
		}
	}
	o.fail(errorAt(join(o.path, key), "must be one of %s, is %s", strings.Join(allowed, ", "), quote(s)))
	return ""
}

func (o *options) flag(key string, absent bool) bool {
	v, ok := o.value(key)
	if !ok {
		return absent
	}
	b, ok := v.(bool)
	if !ok {
		o.fail(errorAt(join(o.path, key), "must be true or false, is %s", kind(v)))
	}
	return b
}

// count is a whole number from 0 to most; a string of digits is taken as well.
func (o *options) count(key string, absent, most int) int {
	v, ok := o.value(key)
	if !ok {
		return absent
	}
	n, err := wholeNumber(v)
	if err != nil || n < 0 || n > most {
		o.fail(errorAt(join(o.path, key), "must be a whole number from 0 to %d", most))
		return absent
	}
	return n
}

func wholeNumber(v any) (int, error) {
	switch v := v.(type) {
	case json.Number:
		return strconv.Atoi(v.String())
	case string:
		return strconv.Atoi(v)
	}
	return 0, strconv.ErrSyntax
}

// boost is a clause's weight; 0 if there is none.
func (o *options) boost() float64 {
	v, ok := o.value("boost")
	if !ok {
		return 0
	}
	var f float64
	n, ok := v.(json.Number)
	if ok {
		var err error
		f, err = n.Float64()
		ok = err == nil
	}
	if !ok || !goodBoost(f) {
		o.fail(errorAt(join(o.path, "boost"), "must be a number above 0"))
		return 0
	}
	return f
}

func goodBoost(f float64) bool { return f > 0 && f <= math.MaxFloat32 }

// scalar is a value to compare with: a string, number or boolean.
func (o *options) scalar(key string) Value {
	v, ok := o.value(key)
	if !ok {
		return nil
	}
	s, err := asValue(join(o.path, key), v)
	if err != nil {
		o.fail(err)
	}
	return s
}

func asValue(path string, v any) (Value, error) {
	switch v := v.(type) {
	case string, json.Number, bool:
		return v, nil
	}
	return nil, errorAt(path, "must be a string, number or boolean, is %s", kind(v))
}

// list is a string or an array of strings.
func (o *options) list(key string) []string {
	v, ok := o.value(key)
	if !ok {
		return nil
	}
	l, err := asStrings(join(o.path, key), v)
	if err != nil {
		o.fail(err)
	}
	return l
}

func asStrings(path string, v any) ([]string, error) {
	if s, ok := v.(string); ok {
		return []string{s}, nil
	}
	l, ok := v.([]any)
	if !ok {
		return nil, errorAt(path, "must be a string or an array of strings, is %s", kind(v))
	}
	out := make([]string, 0, len(l))
	for i, e := range l {
		s, ok := e.(string)
		if !ok {
			return nil, errorAt(path+"["+strconv.Itoa(i)+"]", "must be a string, is %s", kind(e))
		}
		out = append(out, s)
	}
	return out, nil
}

// minimum is a minimum_should_match.
func (o *options) minimum() string {
	v, ok := o.value("minimum_should_match")
	if !ok {
		return ""
	}
	var spec string
	switch v := v.(type) {
	case string:
		spec = strings.TrimSpace(v)
	case json.Number:
		spec = v.String()
	}
	if _, ok := minimumShould(spec, 1); !ok {
		o.fail(errorAt(join(o.path, "minimum_should_match"), "must be like 2, -1, 75%%, -25%% or 2<75%%"))
	}
	return spec
}

// done returns the first error, or the first member that nobody asked for.
func (o *options) done() error {
	if o.err != nil {
		return o.err
	}
	for _, m := range o.obj {
		if !slices.Contains(o.known, m.key) {
			return unknown(o.path, m.key, o.what, o.known)
		}
	}
	return nil
}
