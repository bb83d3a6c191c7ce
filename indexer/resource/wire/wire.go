// Package wire writes and reads the JSON of our own logs, a few times faster than
// encoding/json, which took a fifth of the indexer's time.
//
// It is no general JSON library: names are matched exactly, a member that nobody
// knows is an error, and there is no reflection. Its invariants: what a Writer makes is
// what encoding/json makes of the same values, without HTML escapes; and a Reader
// accepts nothing that is not JSON.
package wire

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// errInvalid says that a value to be written is no JSON.
var errInvalid = errors.New("a value is no JSON")

// Writer appends a JSON value. After an error it goes on, and Bytes tells.
type Writer struct {
	b   []byte
	err error
}

// NewWriter makes a writer with room for size bytes.
func NewWriter(size int) *Writer { return &Writer{b: make([]byte, 0, size)} }

// Bytes returns what was written, or the first error.
func (w *Writer) Bytes() ([]byte, error) { return w.b, w.err }

// Begin opens an object.
func (w *Writer) Begin() { w.b = append(w.b, '{') }

// End closes an object.
func (w *Writer) End() { w.b = append(w.b, '}') }

// next separates from what was written before, if there was something.
func (w *Writer) next() {
	if n := len(w.b); n > 0 && w.b[n-1] != '{' && w.b[n-1] != '[' && w.b[n-1] != ':' {
		w.b = append(w.b, ',')
	}
}

// Key begins a member whose name needs no escapes.
func (w *Writer) Key(name string) {
	w.next()
	w.b = append(append(append(w.b, '"'), name...), '"', ':')
}

// String writes a member.
func (w *Writer) String(key, s string) {
	w.Key(key)
	w.b = AppendString(w.b, s)
}

// Text writes a member unless it is empty.
func (w *Writer) Text(key, s string) {
	if s != "" {
		w.String(key, s)
	}
}

// Int writes a member.
func (w *Writer) Int(key string, n int64) {
	w.Key(key)
	w.b = strconv.AppendInt(w.b, n, 10)
}

// Count writes a member unless it is zero.
func (w *Writer) Count(key string, n int64) {
	if n != 0 {
		w.Int(key, n)
	}
}

// True writes a member if it is true.
func (w *Writer) True(key string, v bool) {
	if v {
		w.Key(key)
		w.b = append(w.b, "true"...)
	}
}

// Time writes a member.
func (w *Writer) Time(key string, t time.Time) {
	w.Key(key)
	w.b = append(w.b, '"')
	b, err := t.AppendText(w.b)
	if err != nil {
		w.fail(err)
		return
	}
	w.b = append(b, '"')
}

// Append writes a member by a function that appends its value.
func (w *Writer) Append(key string, value func([]byte) []byte) {
	w.Key(key)
	w.b = value(w.b)
}

// Values writes a map of values, sorted by name.
func (w *Writer) Values(key string, m map[string]json.RawMessage) {
	w.Key(key)
	w.Begin()
	for _, name := range Keys(m) {
		w.next()
		w.b = append(AppendString(w.b, name), ':')
		w.Raw(m[name])
	}
	w.End()
}

// Sets writes a map of maps of values, sorted by name.
func (w *Writer) Sets(key string, m map[string]map[string]json.RawMessage) {
	w.Key(key)
	w.Begin()
	for _, name := range Keys(m) {
		if m[name] == nil {
			w.next()
			w.b = append(AppendString(w.b, name), ":null"...)
			continue
		}
		w.next()
		w.b = AppendString(w.b, name)
		w.b = append(w.b, ':', '{')
		for _, k := range Keys(m[name]) {
			w.next()
			w.b = append(AppendString(w.b, k), ':')
			w.Raw(m[name][k])
		}
		w.End()
	}
	w.End()
}

// List writes a list of n elements, each by a call.
func (w *Writer) List(key string, n int, element func(i int)) {
	w.Key(key)
	w.b = append(w.b, '[')
	for i := range n {
		w.next()
		element(i)
	}
	w.b = append(w.b, ']')
}

// Strings writes a list unless it is empty.
func Strings[S ~string](w *Writer, key string, list []S) {
	if len(list) == 0 {
		return
	}
	w.Key(key)
	w.b = append(w.b, '[')
	for _, s := range list {
		w.next()
		w.b = AppendString(w.b, string(s))
	}
	w.b = append(w.b, ']')
}

// Raw writes a value as it is; one that is not there is null.
func (w *Writer) Raw(v json.RawMessage) {
	if len(v) == 0 {
		w.b = append(w.b, "null"...)
		if v != nil {
			w.fail(errInvalid)
		}
		return
	}
	if !Compact(v) {
		w.fail(errInvalid)
	}
	w.b = append(w.b, v...)
}

func (w *Writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// Keys are the keys of a map, sorted; slices.Sorted grows them step by step.
func Keys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Compact reports whether b is one JSON value without white space around its parts.
func Compact(b []byte) bool {
	r := Reader{b: b, strict: true}
	r.skip(0)
	return r.err == nil && r.i == len(b)
}

// Valid reports whether b is one JSON value.
func Valid(b []byte) bool {
	r := Reader{b: b}
	r.skip(0)
	return r.Close() == nil
}

// plain passes whole words of bytes from i on that stand for themselves in a JSON string:
// ASCII, no quote, no backslash, no control character.
func plain[T string | []byte](s T, i int) int {
	const ones = 0x0101010101010101
	rest := s[i:]
	for len(rest) >= 8 {
		x := uint64(rest[0]) | uint64(rest[1])<<8 | uint64(rest[2])<<16 | uint64(rest[3])<<24 |
			uint64(rest[4])<<32 | uint64(rest[5])<<40 | uint64(rest[6])<<48 | uint64(rest[7])<<56
		// The top bit of a byte: set in it, or by what is taken from it going below zero.
		if (x|(x-' '*ones)|((x^'"'*ones)-ones)|((x^'\\'*ones)-ones))&(0x80*ones) != 0 {
			break
		}
		rest = rest[8:]
	}
	return len(s) - len(rest)
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string without HTML escapes.
func AppendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := plain(s, 0); i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && n == 1:
				b = append(append(b, s[start:i]...), `\ufffd`...)
				start = i + n
			case r == '\u2028' || r == '\u2029':
				b = append(append(b, s[start:i]...), `\u202`...)
				b = append(b, hexDigits[r&15])
				start = i + n
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i = plain(s, i+1)
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, '\\', 'b')
		case '\f':
			b = append(b, '\\', 'f')
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}
