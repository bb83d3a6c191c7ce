package notification

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// parser reads one JSON text into maps, slices and json.Numbers. It is ours because
// it must refuse in one pass what encoding/json lets through (duplicate keys, bad
// UTF-8, any depth) and because strings without escapes share the input's memory.
type parser struct {
	src   string
	pos   int
	depth int // levels still allowed
	keys  int // members still allowed
	level int // levels open now
	// versioned says that the last value closed was a versioned object, body that the
	// payload or data of the outermost object was one.
	versioned, body bool
	members         []member // of the objects open now
}

// member is one of an object that is being read.
type member struct {
	key   string
	value any
}

// parse reads the whole of src, with what is left of the limits.
func (p *parser) parse(src string) (any, error) {
	p.src, p.pos = src, 0
	p.space()
	v, err := p.value()
	if err != nil {
		return nil, err
	}
	p.space()
	if p.pos < len(p.src) {
		return nil, p.fail(TrailingData, "something follows the JSON value")
	}
	return v, nil
}

func (p *parser) fail(reason, detail string) *Error {
	return &Error{Reason: reason, Detail: detail + " at byte " + strconv.Itoa(p.pos)}
}

func (p *parser) space() {
	for p.pos < len(p.src) {
		switch p.src[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

func (p *parser) value() (any, error) {
	if p.pos >= len(p.src) {
		return nil, p.fail(BadJSON, "the text ends early")
	}
	p.versioned = false
	switch c := p.src[p.pos]; c {
	case '{':
		return p.object()
	case '[':
		return p.array()
	case '"':
		return p.str()
	case 't':
		return true, p.word("true")
	case 'f':
		return false, p.word("false")
	case 'n':
		return nil, p.word("null")
	default:
		return p.number()
	}
}

func (p *parser) word(w string) error {
	if !strings.HasPrefix(p.src[p.pos:], w) {
		return p.fail(BadJSON, "no JSON value")
	}
	p.pos += len(w)
	return nil
}

func (p *parser) object() (any, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	from := len(p.members)
	data := "" // the member that holds a versioned object's fields
	for first := true; ; first = false {
		done, err := p.next('}', first)
		if err != nil {
			return nil, err
		}
		if done {
			break
		}
		key, v, err := p.member()
		if err != nil {
			return nil, err
		}
		p.members = append(p.members, member{key, v})
		if p.level == 1 && (key == "payload" || key == "data") {
			p.body = p.versioned
		}
		if strings.HasSuffix(key, "_object.data") {
			data = key
		}
	}
	m, err := p.gather(from)
	p.leave()
	p.versioned = data != ""
	if data != "" {
		return m[data], err
	}
	return m, err
}

// gather makes a map of the members from the given one on: of the right size at once,
// since growing it costs more than all else.
func (p *parser) gather(from int) (map[string]any, error) {
	m := make(map[string]any, len(p.members)-from)
	for i := range p.members[from:] {
		n := &p.members[from+i]
		m[n.key] = n.value
		n.value = nil
	}
	if len(m) < len(p.members)-from {
		return nil, p.fail(DuplicateKey, "a member comes twice")
	}
	p.members = p.members[:from]
	return m, nil
}

func (p *parser) member() (string, any, error) {
	if p.keys--; p.keys < 0 {
		return "", nil, p.fail(TooManyKeys, "more members than allowed")
	}
	if p.pos >= len(p.src) || p.src[p.pos] != '"' {
		return "", nil, p.fail(BadJSON, "no member name")
	}
	key, err := p.str()
	if err != nil {
		return "", nil, err
	}
	p.space()
	if p.pos >= len(p.src) || p.src[p.pos] != ':' {
		return "", nil, p.fail(BadJSON, "no colon after a member name")
	}
	p.pos++
	p.space()
	v, err := p.value()
	return key, v, err
}

func (p *parser) array() (any, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	list := []any{}
	for first := true; ; first = false {
		done, err := p.next(']', first)
		if err != nil || done {
			p.leave()
			p.versioned = false
			return list, err
		}
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
}

// enter goes one level deeper, past the opening bracket.
func (p *parser) enter() error {
	if p.depth--; p.depth < 0 {
		return p.fail(TooDeep, "nested deeper than allowed")
	}
	p.level++
	p.pos++
	return nil
}

func (p *parser) leave() {
	p.depth++
	p.level--
}

// next moves to the next item of an object or array, or past its end.
func (p *parser) next(end byte, first bool) (done bool, err error) {
	p.space()
	if p.pos >= len(p.src) {
		return false, p.fail(BadJSON, "the text ends early")
	}
	if p.src[p.pos] == end {
		p.pos++
		return true, nil
	}
	if first {
		return false, nil
	}
	if p.src[p.pos] != ',' {
		return false, p.fail(BadJSON, "no comma between items")
	}
	p.pos++
	p.space()
	if p.pos < len(p.src) && p.src[p.pos] == end {
		return false, p.fail(BadJSON, "a comma before the end")
	}
	return false, nil
}

// str reads a string. Without escapes it is a piece of the source.
func (p *parser) str() (string, error) {
	start := p.pos + 1
	ascii := true
	for i := start; i < len(p.src); i++ {
		switch c := p.src[i]; {
		case c == '"':
			s := p.src[start:i]
			p.pos = i + 1
			if !ascii && !utf8.ValidString(s) {
				return "", p.fail(BadUTF8, "bytes that are no UTF-8")
			}
			return s, nil
		case c == '\\':
			return p.escaped(start, i)
		case c < ' ':
			return "", p.control(i)
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return "", p.fail(BadJSON, "a string does not end")
}

func (p *parser) control(at int) *Error {
	p.pos = at
	if p.src[at] == 0 {
		return p.fail(NULCharacter, "a NUL byte in a string")
	}
	return p.fail(BadJSON, "a control character in a string")
}

// escaped reads a string from its first escape on.
func (p *parser) escaped(start, first int) (string, error) {
	end := first
	for end < len(p.src) && p.src[end] != '"' { // a good guess at its length
		if p.src[end] == '\\' {
			end++
		}
		end++
	}
	var text strings.Builder
	text.Grow(min(end, len(p.src)) - start)
	text.WriteString(p.src[start:first])
	var room [utf8.UTFMax]byte
	for p.pos = first; p.pos < len(p.src); {
		c := p.src[p.pos]
		switch {
		case c == '"':
			p.pos++
			if !utf8.ValidString(text.String()) {
				return "", p.fail(BadUTF8, "bytes that are no UTF-8")
			}
			return text.String(), nil
		case c < ' ':
			return "", p.control(p.pos)
		case strings.HasPrefix(p.src[p.pos:], `\"`): // what a message in an envelope is full of
			text.WriteByte('"')
			p.pos += 2
		case c == '\\':
			char, err := p.escape(room[:0])
			if err != nil {
				return "", err
			}
			text.Write(char)
		default:
			run := p.pos + 1
			for run < len(p.src) && p.src[run] != '"' && p.src[run] != '\\' && p.src[run] >= ' ' {
				run++
			}
			text.WriteString(p.src[p.pos:run])
			p.pos = run
		}
	}
	return "", p.fail(BadJSON, "a string does not end")
}

func (p *parser) escape(buf []byte) ([]byte, error) {
	if p.pos+1 >= len(p.src) {
		return nil, p.fail(BadJSON, "a string does not end")
	}
	c := p.src[p.pos+1]
	if c == 'u' {
		return p.unicode(buf)
	}
	const from, to = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	i := strings.IndexByte(from, c)
	if i < 0 {
		return nil, p.fail(BadJSON, "an unknown escape")
	}
	p.pos += 2
	return append(buf, to[i]), nil
}

func (p *parser) unicode(buf []byte) ([]byte, error) {
	r, ok := p.hex(p.pos)
	if !ok {
		return nil, p.fail(BadJSON, "a bad unicode escape")
	}
	switch {
	case r == 0:
		return nil, p.fail(NULCharacter, "an escaped NUL in a string")
	case utf16.IsSurrogate(r):
		low, ok := p.hex(p.pos + 6)
		if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
			return nil, p.fail(BadUTF8, "half of a surrogate pair")
		}
		p.pos += 6
	}
	p.pos += 6
	return utf8.AppendRune(buf, r), nil
}

// hex reads the four digits of \uXXXX at the given position.
func (p *parser) hex(at int) (rune, bool) {
	if at+6 > len(p.src) || p.src[at] != '\\' || p.src[at+1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(p.src[at+2:at+6], 16, 16)
	return rune(n), err == nil
}

func (p *parser) number() (any, error) {
	start := p.pos
	rest := p.src[start:]
	for _, w := range []string{"NaN", "Infinity", "-Infinity"} {
		if strings.HasPrefix(rest, w) {
			return nil, p.fail(NotANumber, "NaN or Infinity")
		}
	}
	n, whole := scanNumber(rest)
	if n == 0 {
		return nil, p.fail(BadJSON, "no JSON value")
	}
	lit := rest[:n]
	var err error
	if whole {
		_, err = strconv.ParseInt(lit, 10, 64)
	} else {
		_, err = strconv.ParseFloat(lit, 64)
	}
	if err != nil || n > 64 {
		return nil, p.fail(NumberRange, "a number beyond 64 bits")
	}
	p.pos += n
	return json.Number(lit), nil
}

// scanNumber returns the length of the JSON number that s begins with, 0 if there
// is none, and whether it is written as an integer.
func scanNumber(s string) (n int, whole bool) {
	digits := func() bool {
		from := n
		for n < len(s) && s[n] >= '0' && s[n] <= '9' {
			n++
		}
		return n > from
	}
	if n < len(s) && s[n] == '-' {
		n++
	}
	zero := n < len(s) && s[n] == '0'
	lead := n
	if !digits() || zero && n > lead+1 {
		return 0, false
	}
	whole = true
	if n < len(s) && s[n] == '.' {
		n++
		if whole = false; !digits() {
			return 0, false
		}
	}
	if n < len(s) && (s[n] == 'e' || s[n] == 'E') {
		n++
		if n < len(s) && (s[n] == '+' || s[n] == '-') {
			n++
		}
		if whole = false; !digits() {
			return 0, false
		}
	}
	return n, whole
}
