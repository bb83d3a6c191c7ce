package compile

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"math"
	"net/netip"
	"strconv"
	"strings"

	"github.com/fresnel-search/fresnel/indexer/scalar"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// Value is one indexed value. Values of one kind are ordered as the store orders
// them.
type Value struct {
	form byte // 'i' integer, 'f' number, 's' text, 'b' bytes
	i    int64
	f    float64
	s    string
}

func intValue(i int64) Value     { return Value{form: 'i', i: i} }
func floatValue(f float64) Value { return Value{form: 'f', f: f} }
func textValue(s string) Value   { return Value{form: 's', s: s} }
func bytesValue(s string) Value  { return Value{form: 'b', s: s} }

// Arg is the value as an argument of a statement.
func (v Value) Arg() any {
	switch v.form {
	case 'i':
		return v.i
	case 'f':
		return v.f
	case 'b':
		return []byte(v.s)
	default:
		return v.s
	}
}

// Compare orders numbers before texts before bytes, as SQLite does.
func (v Value) Compare(o Value) int {
	if v.form == o.form {
		switch v.form {
		case 'i':
			return cmp.Compare(v.i, o.i)
		case 'f':
			return cmp.Compare(v.f, o.f)
		default:
			return strings.Compare(v.s, o.s)
		}
	}
	rank := func(v Value) int {
		switch v.form {
		case 'i', 'f':
			return 0
		case 's':
			return 1
		default:
			return 2
		}
	}
	if c := cmp.Compare(rank(v), rank(o)); c != 0 {
		return c
	}
	return cmp.Compare(v.number(), o.number())
}

func (v Value) number() float64 {
	if v.form == 'i' {
		return float64(v.i)
	}
	return v.f
}

// JSON is the value as answers show it in a hit's sort values.
func (v Value) JSON() json.RawMessage {
	switch v.form {
	case 'i':
		return strconv.AppendInt(nil, v.i, 10)
	case 'f':
		b, err := json.Marshal(v.f)
		if err != nil {
			return json.RawMessage("null")
		}
		return b
	case 'b':
		if a, ok := netip.AddrFromSlice([]byte(v.s)); ok {
			return quote(a.Unmap().String())
		}
		return json.RawMessage("null")
	default:
		return quote(v.s)
	}
}

func quote(s string) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil { // a string always encodes
		return json.RawMessage(`""`)
	}
	return bytes.TrimSpace(b.Bytes())
}

// appendValue and readValue are the form in which sort keys are stored.
func appendValue(b []byte, v Value) []byte {
	b = append(b, v.form)
	switch v.form {
	case 'i':
		return binary.AppendVarint(b, v.i)
	case 'f':
		return binary.BigEndian.AppendUint64(b, math.Float64bits(v.f))
	default:
		b = binary.AppendUvarint(b, uint64(len(v.s)))
		return append(b, v.s...)
	}
}

func readValue(b []byte) (v Value, rest []byte, ok bool) {
	if len(b) == 0 {
		return v, nil, false
	}
	v.form, b = b[0], b[1:]
	switch v.form {
	case 'i':
		i, n := binary.Varint(b)
		if n <= 0 {
			return v, nil, false
		}
		v.i = i
		return v, b[n:], true
	case 'f':
		if len(b) < 8 {
			return v, nil, false
		}
		v.f = math.Float64frombits(binary.BigEndian.Uint64(b))
		return v, b[8:], true
	default:
		n, w := binary.Uvarint(b)
		if w <= 0 || uint64(len(b)-w) < n {
			return v, nil, false
		}
		v.s = string(b[w : w+int(n)])
		return v, b[w+int(n):], true
	}
}

// span is the values from lo to hi, both included; most spans hold one value.
type span struct{ lo, hi Value }

// convert turns a value, of a document or of a query, into the values of the kind
// that are equal to it. It is false if the kind cannot hold it.
func convert(k Kind, v query.Value) (span, bool) {
	s, ok := scalar.Text(v)
	if !ok {
		return span{}, false
	}
	one := func(v Value) (span, bool) { return span{v, v}, true }
	switch k {
	case Long:
		if i, ok := scalar.Long(s); ok {
			return one(intValue(i))
		}
	case Double:
		if f, ok := scalar.Double(s); ok {
			return one(floatValue(f))
		}
	case Boolean:
		if yes, ok := scalar.Boolean(s); yes {
			return one(intValue(1))
		} else if ok {
			return one(intValue(0))
		}
	case Date:
		if lo, hi, ok := scalar.Date(s); ok {
			return span{intValue(lo), intValue(hi)}, true
		}
	case IP:
		if first, last, ok := scalar.IP(s); ok {
			return span{ipValue(first), ipValue(last)}, true
		}
	default:
		return one(textValue(s))
	}
	return span{}, false
}

func ipValue(a netip.Addr) Value {
	b := a.As16()
	return bytesValue(string(b[:]))
}

// NumberJSON and TextJSON are values of their types as answers show them.
func NumberJSON(f float64) json.RawMessage { return floatValue(f).JSON() }

// TextJSON is a text as answers show it.
func TextJSON(s string) json.RawMessage { return textValue(s).JSON() }
