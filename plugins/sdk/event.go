package sdk

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// CloudEvent returns the event in the JSON format of CloudEvents 1.0, the same bytes
// at every attempt. Data of a JSON content type goes in as it is, other data as
// base64. Attributes with names that CloudEvents does not allow are left out.
func CloudEvent(ev *Event) []byte {
	const envelope = 512
	b := make([]byte, 0, len(ev.Data)+envelope)
	b = append(b, `{"specversion":"1.0"`...)
	b = appendMember(b, "id", ev.ID)
	b = appendMember(b, "source", ev.Source)
	b = appendMember(b, "type", ev.Type)
	b = appendMember(b, "subject", ev.Subject)
	if !ev.Time.IsZero() {
		b = appendMember(b, "time", ev.Time.UTC().Format(time.RFC3339Nano))
	}
	if len(ev.Data) > 0 {
		b = appendMember(b, "datacontenttype", ev.ContentType)
	}
	b = appendMember(b, "dataschema", ev.Attributes["dataschema"])
	for _, name := range extensions(ev.Attributes) {
		b = appendMember(b, name, ev.Attributes[name])
	}
	switch {
	case len(ev.Data) == 0:
	case isJSON(ev.ContentType) && json.Valid(ev.Data):
		b = append(append(b, `,"data":`...), bytes.TrimSpace(ev.Data)...)
	default:
		b = append(b, `,"data_base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, ev.Data)
		b = append(b, '"')
	}
	return append(b, '}')
}

// extensions returns the names of extension attributes in order.
func extensions(attributes map[string]string) []string {
	if len(attributes) == 0 {
		return nil
	}
	core := []string{
		"specversion", "id", "source", "type", "subject", "time",
		"datacontenttype", "dataschema", "data",
	}
	names := make([]string, 0, len(attributes))
	for name := range attributes {
		allowed := name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
		if allowed && !slices.Contains(core, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func isJSON(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.TrimSpace(strings.ToLower(media))
	return media == "" || media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json")
}

// appendMember appends a member with a string value, if there is one.
func appendMember(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	quoted, err := json.Marshal(value)
	if err != nil {
		return b // a string always has a JSON form
	}
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":`...)
	return append(b, quoted...)
}
