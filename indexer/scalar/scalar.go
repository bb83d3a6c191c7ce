// Package scalar reads JSON scalars, of documents and of queries, as values of a
// field's type, in the same way for every store.
//
// It knows no fields and no store. Its invariant: two texts that mean the same value
// of a type are read as equal values.
package scalar

import (
	"encoding/json"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Text is the text of a JSON scalar; ok is false for null and composites.
func Text(v any) (s string, ok bool) {
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

// Long reads a whole number; it drops a fraction, as Elasticsearch's coercion does for
// documents.
func Long(s string) (int64, bool) {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i, true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.Abs(f) >= 1<<63 {
		return 0, false
	}
	return int64(f), true
}

// Double reads a number; there is no negative zero.
func Double(s string) (float64, bool) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, false
	}
	return f + 0, true
}

// Boolean reads true and false.
func Boolean(s string) (v, ok bool) { return s == "true", s == "true" || s == "false" }

// IP reads an address or a network as its first and last address, both in sixteen
// bytes and without a zone.
func IP(s string) (first, last netip.Addr, ok bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = netip.AddrFrom16(a.WithZone("").As16())
		return a, a, true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return first, last, false
	}
	lo := p.Masked().Addr()
	from := lo.As16()
	to := from
	host := lo.BitLen() - p.Bits()
	for i := 15; host > 0; i, host = i-1, host-8 {
		to[i] |= byte(1<<min(host, 8) - 1)
	}
	return netip.AddrFrom16(from), netip.AddrFrom16(to), true
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

// Date reads a date or a number of milliseconds since 1970 and returns the first and
// the last millisecond that it may mean.
func Date(s string) (first, last int64, ok bool) {
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
		first = t.UnixMilli()
		return first, first + f.open.Milliseconds() - 1, true
	}
	return 0, 0, false
}

func digits(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}
