package wire

import (
	"encoding/json"
	"errors"
	"strconv"
	"time"
	"unicode/utf8"
)

// maxDepth bounds nesting, as encoding/json does but lower: nothing of ours is deep.
const maxDepth = 1000

var (
	errDepth  = errors.New("nested too deep")
	errSyntax = errors.New("no JSON of the expected form")
)

// Reader reads one JSON value. After the first error it gives zero values, and Close
// tells.
type Reader struct {
	b      []byte
	i      int
	err    error
	strict bool // white space is an error
}

// NewReader reads b, which must not change before Close.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Close tells whether all of the input was one value of the expected form.
func (r *Reader) Close() error {
	r.space()
	if r.err == nil && r.i < len(r.b) {
		return errors.New("bytes after the end")
	}
	return r.err
}

// Fail makes err the reader's error, if there is none yet.
func (r *Reader) Fail(err error) {
	if r.err == nil && err != nil {
		r.err = err
	}
}

func (r *Reader) syntax() { r.Fail(errSyntax) }

func (r *Reader) space() {
	if r.strict {
		return
	}
	for r.i < len(r.b) && (r.b[r.i] == ' ' || r.b[r.i] == '\n' || r.b[r.i] == '\t' || r.b[r.i] == '\r') {
		r.i++
	}
}

// peek is the next byte that is no white space; 0 at the end.
func (r *Reader) peek() byte {
	r.space()
	if r.err != nil || r.i >= len(r.b) {
		return 0
	}
	return r.b[r.i]
}

// take takes the byte if it is next.
func (r *Reader) take(c byte) bool {
	if r.peek() != c {
		return false
	}
	r.i++
	return true
}

func (r *Reader) want(c byte) {
	if !r.take(c) {
		r.syntax()
	}
}

// Object reads an object; member reads the value of each name, or answers false if
// it does not know the name, which is an error.
func (r *Reader) Object(member func(name string) bool) {
	r.want('{')
	if r.take('}') {
		return
	}
	for r.err == nil {
		name := r.String()
		r.want(':')
		if r.err == nil && !member(name) {
			r.Fail(errors.New("unknown member " + strconv.Quote(name)))
		}
		if r.take(',') {
			continue
		}
		r.want('}')
		return
	}
}

// Array reads an array; element reads each element.
func (r *Reader) Array(element func()) {
	r.want('[')
	if r.take(']') {
		return
	}
	for r.err == nil {
		element()
		if r.take(',') {
			continue
		}
		r.want(']')
		return
	}
}

// String reads a string.
func (r *Reader) String() string {
	r.space()
	itself, from := r.quoted()
	if r.err != nil {
		return ""
	}
	token := r.b[from:r.i]
	if itself {
		return string(token[1 : len(token)-1])
	}
	var s string
	r.Fail(json.Unmarshal(token, &s))
	return s
}

// quoted passes a string and tells where it began and whether its bytes stand for
// themselves.
func (r *Reader) quoted() (itself bool, from int) {
	from = r.i
	if r.err != nil || r.i >= len(r.b) || r.b[r.i] != '"' {
		r.syntax()
		return false, from
	}
	itself, ascii := true, true
	for i := plain(r.b, r.i+1); i < len(r.b); i++ {
		switch c := r.b[i]; {
		case c == '"':
			r.i = i + 1
			return itself && (ascii || utf8.Valid(r.b[from:r.i])), from
		case c == '\\':
			itself = false
			if i++; !escape(r.b[i:]) {
				r.syntax()
				return false, from
			}
		case c < ' ':
			r.syntax()
			return false, from
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	r.syntax()
	return false, from
}

// escape reports whether b begins with what may follow a backslash.
func escape(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	switch b[0] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		if len(b) < 5 {
			return false
		}
		for _, c := range b[1:5] {
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
				return false
			}
		}
		return true
	}
	return false
}

// Int reads a whole number.
func (r *Reader) Int() int64 {
	r.space()
	from := r.i
	r.number()
	if r.err != nil {
		return 0
	}
	n, err := strconv.ParseInt(string(r.b[from:r.i]), 10, 64)
	r.Fail(err)
	return n
}

// Bool reads true or false.
func (r *Reader) Bool() bool {
	if r.peek() == 't' {
		r.word("true")
		return r.err == nil
	}
	r.word("false")
	return false
}

// Time reads a time in RFC 3339.
func (r *Reader) Time() (t time.Time) {
	if s := r.String(); r.err == nil {
		r.Fail(t.UnmarshalText([]byte(s)))
	}
	return t
}

// Raw reads any value and returns a copy of its bytes.
func (r *Reader) Raw() json.RawMessage {
	r.space()
	from := r.i
	r.skip(0)
	if r.err != nil {
		return nil
	}
	return append(make(json.RawMessage, 0, r.i-from), r.b[from:r.i]...)
}

// Skip passes any value.
func (r *Reader) Skip() { r.skip(0) }

// Any reads any value as encoding/json would, numbers as json.Number.
func (r *Reader) Any() any { return r.any(0) }

func (r *Reader) any(depth int) any {
	if depth > maxDepth {
		r.Fail(errDepth)
		return nil
	}
	switch r.peek() {
	case '"':
		return r.String()
	case '{':
		m := make(map[string]any)
		r.Object(func(name string) bool {
			m[name] = r.any(depth + 1)
			return true
		})
		return m
	case '[':
		list := []any{}
		r.Array(func() { list = append(list, r.any(depth+1)) })
		return list
	case 't', 'f':
		return r.Bool()
	case 'n':
		r.word("null")
		return nil
	}
	r.space()
	from := r.i
	r.number()
	if r.err != nil {
		return nil
	}
	return json.Number(r.b[from:r.i])
}

// Values reads a map of values; nil for null.
func (r *Reader) Values() map[string]json.RawMessage {
	if r.null() {
		return nil
	}
	m := make(map[string]json.RawMessage)
	r.Object(func(name string) bool {
		m[name] = r.Raw()
		return true
	})
	return m
}

// Sets reads a map of maps of values.
func (r *Reader) Sets() map[string]map[string]json.RawMessage {
	m := make(map[string]map[string]json.RawMessage)
	r.Object(func(name string) bool {
		m[name] = r.Values()
		return true
	})
	return m
}

// List reads a list of strings.
func List[S ~string](r *Reader) (list []S) {
	r.Array(func() { list = append(list, S(r.String())) })
	return list
}

func (r *Reader) null() bool {
	if r.peek() != 'n' {
		return false
	}
	r.word("null")
	return true
}

func (r *Reader) word(w string) {
	r.space()
	if r.err != nil || len(r.b)-r.i < len(w) || string(r.b[r.i:r.i+len(w)]) != w {
		r.syntax()
		return
	}
	r.i += len(w)
}

// skip passes any value.
func (r *Reader) skip(depth int) {
	if depth > maxDepth {
		r.Fail(errDepth)
		return
	}
	switch r.peek() {
	case '"':
		r.quoted()
	case '{':
		r.i++
		if r.take('}') {
			return
		}
		for r.err == nil {
			r.space()
			r.quoted()
			r.want(':')
			r.skip(depth + 1)
			if !r.take(',') {
				r.want('}')
				return
			}
		}
	case '[':
		r.i++
		if r.take(']') {
			return
		}
		for r.err == nil {
			r.skip(depth + 1)
			if !r.take(',') {
				r.want(']')
				return
			}
		}
	case 't':
		r.word("true")
	case 'f':
		r.word("false")
	case 'n':
		r.word("null")
	default:
		r.number()
	}
}

// number passes a number.
func (r *Reader) number() {
	if r.err != nil {
		return
	}
	digits := func() int {
		n := 0
		for r.i < len(r.b) && r.b[r.i] >= '0' && r.b[r.i] <= '9' {
			r.i, n = r.i+1, n+1
		}
		return n
	}
	at := func(chars string) bool {
		if r.i < len(r.b) {
			for k := range len(chars) {
				if r.b[r.i] == chars[k] {
					r.i++
					return true
				}
			}
		}
		return false
	}
	at("-")
	ok := at("0") || digits() > 0
	if at(".") {
		ok = ok && digits() > 0
	}
	if at("eE") {
		at("+-")
		ok = ok && digits() > 0
	}
	if !ok {
		r.syntax()
	}
}
