package catalog

import (
	"bytes"
	"encoding/json"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fresnel-search/fresnel/indexer/resource/wire"
	"github.com/fresnel-search/fresnel/listener/notification"
)

// timeFormat is how dates stand in documents: UTC, with microseconds if there are any.
const timeFormat = "2006-01-02T15:04:05.999999Z07:00"

// maxText and maxFlat bound what one field may hold, in bytes; more is left unsaid.
const (
	maxText      = 32 << 10
	maxFlat      = 64 << 10
	maxFlatDepth = 8
)

// fit makes a value such as the field's type demands, nil for null, unfit{} if it
// cannot. Lists are fitted item by item.
func fit(t FieldType, v any) any {
	switch v := v.(type) {
	case nil, unfit:
		return v
	case []any:
		if t == Flattened {
			return flatten(v)
		}
		out := make([]any, 0, len(v))
		for _, item := range v {
			if item == nil {
				continue
			}
			if _, deep := item.([]any); deep {
				return unfit{}
			}
			fitted := fit(t, item)
			if fitted == (unfit{}) {
				return unfit{}
			}
			out = append(out, fitted)
		}
		return out
	}
	switch t {
	case Keyword, Text:
		return fitText(v)
	case Date:
		return fitDate(v)
	case Long:
		return fitLong(v)
	case Double:
		return fitDouble(v)
	case Boolean:
		return fitBoolean(v)
	case IP:
		return fitIP(v)
	case Flattened:
		return flatten(v)
	default:
		return unfit{}
	}
}

func fitText(v any) any {
	s, ok := scalarText(v)
	if !ok || len(s) > maxText || secretValue(s) {
		return unfit{}
	}
	return s
}

func fitDate(v any) any {
	s, ok := v.(string)
	if !ok {
		return unfit{}
	}
	if s == "" {
		return nil
	}
	t, ok := notification.ParseTime(s)
	if !ok {
		return unfit{}
	}
	return t.Format(timeFormat)
}

func fitLong(v any) any {
	s, ok := scalarText(v)
	if !ok {
		return unfit{}
	}
	if s = strings.TrimSpace(s); s == "" {
		return nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return json.Number(strconv.FormatInt(n, 10))
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return json.Number(strconv.FormatInt(int64(f), 10))
	}
	return unfit{}
}

func fitDouble(v any) any {
	if n, ok := v.(json.Number); ok {
		return n
	}
	s, ok := v.(string)
	if !ok {
		return unfit{}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return unfit{}
	}
	return json.Number(strconv.FormatFloat(f, 'g', -1, 64))
}

func fitBoolean(v any) any {
	s, ok := scalarText(v)
	if !ok {
		return unfit{}
	}
	switch strings.ToLower(s) {
	case "true", "1", "yes":
		return true
	case "false", "0", "no":
		return false
	case "":
		return nil
	}
	return unfit{}
}

func fitIP(v any) any {
	s, ok := v.(string)
	if !ok {
		return unfit{}
	}
	if s == "" {
		return nil
	}
	if a, err := netip.ParseAddr(s); err != nil || a.Zone() != "" {
		return unfit{}
	}
	return s
}

// flatten keeps any JSON without what looks like a secret.
func flatten(v any) any {
	clean, ok := scrub(v, maxFlatDepth)
	if !ok || len(canonical(clean)) > maxFlat {
		return unfit{}
	}
	return clean
}

// scrub copies a value without secret members and texts.
func scrub(v any, depth int) (any, bool) {
	switch v := v.(type) {
	case string:
		return v, !secretValue(v)
	case []any:
		out := make([]any, 0, len(v))
		for _, item := range v {
			if clean, ok := scrub(item, depth-1); ok && depth > 0 {
				out = append(out, clean)
			}
		}
		return out, depth > 0
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, item := range v {
			if secretName(k) || secretValue(k) {
				continue
			}
			if clean, ok := scrub(item, depth-1); ok && depth > 0 {
				out[k] = clean
			}
		}
		return out, depth > 0
	default:
		return v, true
	}
}

// canonical is the JSON of a value: compact, members sorted, numbers as sent.
func canonical(v any) json.RawMessage {
	return appendCanonical(nil, v)
}

func appendCanonical(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case json.Number:
		return append(b, v...)
	case string:
		return appendText(b, v)
	case []any:
		b = append(b, '[')
		for i, item := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendCanonical(b, item)
		}
		return append(b, ']')
	case map[string]any:
		b = append(b, '{')
		for i, k := range wire.Keys(v) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendText(b, k), ':')
			b = appendCanonical(b, v[k])
		}
		return append(b, '}')
	default: // not from Decode
		j, err := json.Marshal(v)
		if err != nil {
			return append(b, "null"...)
		}
		return append(b, j...)
	}
}

// appendText writes a string as encoding/json does without HTML escaping.
func appendText(b []byte, s string) []byte {
	plain := true
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' || c == 0x7f {
			plain = false
			break
		}
	}
	if plain {
		return append(append(append(b, '"'), s...), '"')
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil { // strings always encode
		return append(b, `""`...)
	}
	return append(b, bytes.TrimRight(buf.Bytes(), "\n")...)
}
