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
	"time"

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

// scalar is the text of a JSON scalar; ok is false for null and composites.
func scalar(v any) (s string, ok bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true
	case int:
		return strconv.Itoa(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano), true
	default:
		return "", false
	}
}

// span is the values from lo to hi, both included; most spans hold one value.
type span struct{ lo, hi Value }

// convert turns a value, of a document or of a query, into the values of the kind
// that are equal to it. It is false if the kind cannot hold it.
func convert(k Kind, v query.Value) (span, bool) {
	s, ok := scalar(v)
	if !ok {
		return span{}, false
	}
	one := func(v Value) (span, bool) { return span{v, v}, true }
	switch k {
	case Long:
		if i, ok := parseLong(s); ok {
			return one(intValue(i))
		}
	case Double:
		if f, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return one(floatValue(f + 0)) // no negative zero
		}
	case Boolean:
		switch s {
		case "true":
			return one(intValue(1))
		case "false":
			return one(intValue(0))
		}
	case Date:
		if lo, hi, ok := parseDate(s); ok {
			return span{intValue(lo), intValue(hi)}, true
		}
	case IP:
		return parseIP(s)
	default:
		return one(textValue(s))
	}
	return span{}, false
}

// parseLong drops a fraction, as Elasticsearch's coercion does for documents.
func parseLong(s string) (int64, bool) {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i, true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.Abs(f) >= 1<<63 {
		return 0, false
	}
	return int64(f), true
}

func parseIP(s string) (span, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		v := ipValue(a)
		return span{v, v}, true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return span{}, false
	}
	lo := p.Masked().Addr()
	first := lo.As16()
	last := first
	host := lo.BitLen() - p.Bits()
	for i := 15; host > 0; i, host = i-1, host-8 {
		last[i] |= byte(1<<min(host, 8) - 1)
	}
	return span{bytesValue(string(first[:])), bytesValue(string(last[:]))}, true
}

func ipValue(a netip.Addr) Value {
	b := a.WithZone("").As16()
	return bytesValue(string(b[:]))
}

// dateForms are the usual forms, each with the time that it leaves open. Fractions
// of a second are read wherever seconds are.
func dateForms() []dateForm {
	return []dateForm{
		{"2006-01-02T15:04:05Z07:00", time.Millisecond},
		{"2006-01-02T15:04:05", time.Millisecond},
		{"2006-01-02 15:04:05", time.Millisecond},
		{"2006-01-02 15:04:05Z07:00", time.Millisecond},
		{"2006-01-02T15:04:05Z0700", time.Millisecond},
		{"2006-01-02T15:04:05Z07", time.Millisecond},
		{"2006-01-02", 24 * time.Hour},
		{"2006-01-02T15:04Z07:00", time.Minute},
		{"2006-01-02T15:04", time.Minute},
		{"2006-01-02T15", time.Hour},
		{"2006-01", 24 * time.Hour},
		{"2006", 24 * time.Hour},
	}
}

type dateForm struct {
	layout string
	open   time.Duration
}

// parseDate reads a date or a number of milliseconds since 1970 and returns the
// first and the last millisecond that it may mean.
func parseDate(s string) (lo, hi int64, ok bool) {
	if len(s) != 4 || !digits(s) {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n, n, true
		}
	}
	for _, f := range dateForms() {
		if len(s) < len(f.layout)-10 {
			continue
		}
		t, err := time.Parse(f.layout, s)
		if err != nil {
			continue
		}
		lo = t.UnixMilli()
		return lo, lo + f.open.Milliseconds() - 1, true
	}
	return 0, 0, false
}

func digits(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}
