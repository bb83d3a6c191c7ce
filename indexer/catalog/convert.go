package catalog

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/listener/notification"
)

// unfit is a value that a field cannot hold: it is left unsaid.
type unfit struct{}

// conversion turns a payload's value into another; unfit{} if it cannot.
type conversion func(v any) any

// conversions is the closed list of named conversions.
func conversions() map[string]conversion {
	return map[string]conversion{
		"second":            textual(truncateSecond),
		"lower":             textual(func(s string) any { return strings.ToLower(s) }),
		"upper":             textual(func(s string) any { return strings.ToUpper(s) }),
		"last_path_segment": textual(lastPathSegment),
		"empty_to_null":     emptyToNull,
		"key_values":        keyValues,
		"entries":           entries,
		"sorted":            sortedList,
		"python_dict":       pythonDict,
		"json":              embeddedJSON,
		"epoch":             epoch,
		"http_date":         textual(httpDate),
		"host_port":         hostPort,
		"ipv4":              textual(func(s string) any { return family(s, true) }),
		"ipv6":              textual(func(s string) any { return family(s, false) }),
	}
}

// textual makes a conversion of texts into one of lists of texts too; what is no
// text passes unchanged.
func textual(fn func(string) any) conversion {
	var c conversion
	c = func(v any) any {
		switch v := v.(type) {
		case string:
			return fn(v)
		case []any:
			out := make([]any, len(v))
			for i := range v {
				out[i] = c(v[i])
			}
			return out
		default:
			return v
		}
	}
	return c
}

// truncateSecond cuts a time to seconds: some services send a fraction only until
// their database has forgotten it.
func truncateSecond(s string) any {
	t, ok := notification.ParseTime(s)
	if !ok {
		return s
	}
	return t.Truncate(time.Second).Format(time.RFC3339)
}

func lastPathSegment(s string) any {
	if u, err := url.Parse(s); err == nil {
		s = u.Path
	}
	return s[strings.LastIndexByte(s, '/')+1:]
}

func emptyToNull(v any) any {
	if v == "" {
		return nil
	}
	return v
}

// keyValues makes {k: v} of [{key: k, value: v}]; an empty text counts as no pairs.
func keyValues(v any) any {
	if v == "" || v == nil {
		return map[string]any{}
	}
	if m, ok := v.(map[string]any); ok {
		return m
	}
	list, ok := v.([]any)
	if !ok {
		return unfit{}
	}
	out := make(map[string]any, len(list))
	for _, item := range list {
		m, ok := item.(map[string]any)
		key, isText := m["key"].(string)
		if !ok || !isText {
			return unfit{}
		}
		out[key] = m["value"]
	}
	return out
}

// entries makes [{key: k, value: v}] of {k: v}, sorted by key.
func entries(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		if v == nil {
			return nil
		}
		return unfit{}
	}
	out := make([]any, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, map[string]any{"key": k, "value": m[k]})
	}
	return out
}

func sortedList(v any) any {
	list, ok := v.([]any)
	if !ok {
		return v
	}
	out := slices.Clone(list)
	slices.SortStableFunc(out, func(a, b any) int { return bytes.Compare(canonical(a), canonical(b)) })
	return out
}

// embeddedJSON reads JSON that came as text.
func embeddedJSON(v any) any {
	s, ok := v.(string)
	if !ok {
		return v
	}
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	var out any
	if dec.Decode(&out) != nil || dec.More() {
		return unfit{}
	}
	return out
}

// epoch reads seconds since 1970, with a fraction or without.
func epoch(v any) any {
	s, ok := scalarText(v)
	if !ok {
		return v
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f < 0 || f > 1e11 {
		return unfit{}
	}
	return time.UnixMicro(int64(f * 1e6)).UTC().Format(timeFormat)
}

func httpDate(s string) any {
	t, err := time.Parse(time.RFC1123, s)
	if err != nil {
		return s
	}
	return t.UTC().Format(timeFormat)
}

// hostPort makes "host:port" of {host, port}, in lists too.
func hostPort(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = hostPort(v[i])
		}
		return out
	case map[string]any:
		host, ok := v["host"].(string)
		port, hasPort := scalarText(v["port"])
		if !ok {
			return unfit{}
		}
		if !hasPort {
			return host
		}
		return host + ":" + port
	default:
		return v
	}
}

// family keeps an address of the one kind and makes null of the other.
func family(s string, v4 bool) any {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Is4() != v4 {
		return nil
	}
	return s
}

// pythonDict reads the text that Python prints for a dictionary of texts.
func pythonDict(v any) any {
	s, ok := v.(string)
	if !ok {
		return v
	}
	s = strings.TrimSpace(s)
	if s == "" {
		return map[string]any{}
	}
	if len(s) < 2 || s[0] != '{' || s[len(s)-1] != '}' {
		return unfit{}
	}
	out := map[string]any{}
	for rest := strings.TrimSpace(s[1 : len(s)-1]); rest != ""; {
		key, after, ok := pythonString(rest)
		if !ok || !strings.HasPrefix(after, ":") {
			return unfit{}
		}
		value, after, ok := pythonString(strings.TrimSpace(after[1:]))
		if !ok || after != "" && after[0] != ',' {
			return unfit{}
		}
		out[key] = value
		rest = strings.TrimSpace(strings.TrimPrefix(after, ","))
	}
	return out
}

// pythonString reads one quoted text and returns what follows it.
func pythonString(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '\'' && s[0] != '"' {
		return "", "", false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == s[0]:
			return b.String(), strings.TrimSpace(s[i+1:]), true
		case s[i] == '\\' && i+1 < len(s) && strings.IndexByte(`\'"`, s[i+1]) >= 0:
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}
