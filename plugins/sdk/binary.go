package sdk

import (
	"net/http"
	"strings"
	"time"
)

// CloudEventHeader returns the headers of the event in binary mode over HTTP, as
// CloudEvents 1.0 says: the body is then Data itself. Those of one event are the same
// at every attempt.
func CloudEventHeader(ev *Event) http.Header {
	h := http.Header{}
	set := func(name, value string) {
		if value != "" {
			h.Set("Ce-"+name, encodeHeader(value))
		}
	}
	set("specversion", "1.0")
	set("id", ev.ID)
	set("source", ev.Source)
	set("type", ev.Type)
	set("subject", ev.Subject)
	if !ev.Time.IsZero() {
		set("time", ev.Time.UTC().Format(time.RFC3339Nano))
	}
	set("dataschema", ev.Attributes["dataschema"])
	for _, name := range extensions(ev.Attributes) {
		set(name, ev.Attributes[name])
	}
	if len(ev.Data) > 0 && ev.ContentType != "" {
		h.Set("Content-Type", printable(ev.ContentType))
	}
	return h
}

// encodeHeader escapes a value: what is not printable ASCII, and space, quote and
// percent.
func encodeHeader(value string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(value) {
		c := value[i]
		if c <= ' ' || c == '"' || c == '%' || c >= 0x7f {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&0xf])
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// printable leaves out what no header may hold.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
}
