package notification

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/listener/stream"
)

// Decode reads a Kafka record. The error, if any, is an *Error: the record is poison
// and will never decode. A record without a timestamp of its own is dated by Kafka.
func Decode(rec stream.Record, limits Limits) (*Notification, error) {
	if len(rec.Value) > limits.Bytes {
		return nil, &Error{Reason: TooLarge, Detail: strconv.Itoa(len(rec.Value)) + " bytes"}
	}
	d := &decoder{rec: &rec, p: parser{depth: limits.Depth, keys: limits.Keys, members: make([]member, 0, usualMembers)}}
	if attrs := binaryAttributes(rec.Headers); attrs != nil {
		return d.binary(attrs)
	}
	if len(rec.Value) == 0 {
		return nil, &Error{Reason: Empty, Detail: "the record has no value"}
	}
	m, err := d.object(string(rec.Value))
	if err != nil {
		return nil, err
	}
	_, versioned := m["oslo.version"]
	_, enveloped := m["oslo.message"]
	switch {
	case versioned || enveloped:
		if m, err = d.open(m); err != nil {
			return nil, err
		}
		return d.message(m)
	case m["specversion"] != nil:
		return d.structured(m)
	default:
		return d.message(m)
	}
}

// usualMembers is how many members are read at once of what services say mostly.
const usualMembers = 64

// decoder decodes one record.
type decoder struct {
	rec *stream.Record
	p   parser
}

func (d *decoder) object(text string) (map[string]any, error) {
	v, err := d.p.parse(text)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, &Error{Reason: NotAnObject, Detail: "the message is no JSON object"}
	}
	return m, nil
}

// open takes the message out of an oslo envelope.
func (d *decoder) open(envelope map[string]any) (map[string]any, error) {
	version, ok := envelope["oslo.version"].(string)
	if !ok {
		return nil, &Error{Reason: BadEnvelope, Detail: "oslo.version is no string"}
	}
	if major, _, _ := strings.Cut(version, "."); major != "2" {
		return nil, &Error{Reason: BadVersion, Detail: "oslo.version is not 2.x"}
	}
	text, ok := envelope["oslo.message"].(string)
	if !ok {
		return nil, &Error{Reason: BadEnvelope, Detail: "oslo.message is no string"}
	}
	return d.object(text)
}

// message reads an oslo message, or the record of Nova's first notification design,
// which is the same with fewer members.
func (d *decoder) message(m map[string]any) (*Notification, error) {
	n := &Notification{Payload: m["payload"]}
	var stamp, priority string
	err := take(m, []want{
		{"message_id", &n.MessageID, 256},
		{"publisher_id", &n.PublisherID, 256},
		{"event_type", &n.EventType, 256},
		{"priority", &priority, 32},
	})
	if err != nil {
		return nil, err
	}
	if s, ok := m["timestamp"].(string); ok {
		stamp = s
	}
	n.Context = contextOf(m)
	n.Versioned = d.p.body
	return d.finish(n, stamp, priority)
}

// structured reads a CloudEvent in JSON format.
func (d *decoder) structured(m map[string]any) (*Notification, error) {
	attrs := map[string]string{}
	for k, v := range m {
		if s, ok := v.(string); ok && k != "data" && k != "data_base64" {
			attrs[k] = s
		}
	}
	n, err := d.cloudEvent(attrs)
	if err != nil {
		return nil, err
	}
	n.Payload, n.Versioned = m["data"], d.p.body
	if s, ok := m["data_base64"].(string); ok {
		raw, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return nil, &Error{Reason: BadField, Detail: "data_base64 is no base64"}
		}
		if n.Payload, err = d.p.parse(string(raw)); err != nil {
			return nil, err
		}
	}
	return d.finish(n, attrs["time"], attrs["priority"])
}

// binary reads a CloudEvent whose attributes are Kafka headers.
func (d *decoder) binary(attrs map[string]string) (*Notification, error) {
	n, err := d.cloudEvent(attrs)
	if err != nil {
		return nil, err
	}
	if len(d.rec.Value) > 0 {
		if n.Payload, err = d.p.parse(string(d.rec.Value)); err != nil {
			return nil, err
		}
		n.Versioned = d.p.versioned
	}
	return d.finish(n, attrs["time"], attrs["priority"])
}

func (d *decoder) cloudEvent(attrs map[string]string) (*Notification, error) {
	if major, _, _ := strings.Cut(attrs["specversion"], "."); major != "1" {
		return nil, &Error{Reason: BadVersion, Detail: "specversion is not 1.x"}
	}
	for _, k := range []string{"id", "source", "type"} {
		if attrs[k] == "" || len(attrs[k]) > 256 {
			return nil, &Error{Reason: BadEnvelope, Detail: k + " is missing or too long"}
		}
	}
	return &Notification{
		MessageID:   attrs["id"],
		PublisherID: strings.TrimPrefix(attrs["source"], "/"),
		EventType:   strings.TrimPrefix(attrs["type"], "org.openstack."),
	}, nil
}

// binaryAttributes are the attributes of a binary CloudEvent, nil if it is none.
func binaryAttributes(headers []stream.Header) map[string]string {
	var attrs map[string]string
	for _, h := range headers {
		name, ok := strings.CutPrefix(strings.ToLower(h.Key), "ce_")
		if !ok {
			continue
		}
		if attrs == nil {
			attrs = map[string]string{}
		}
		attrs[name] = strings.ToValidUTF8(strings.ReplaceAll(string(h.Value), "\x00", ""), "\uFFFD")
	}
	if attrs["specversion"] == "" {
		return nil
	}
	return attrs
}

// finish fills in what the sender left out.
func (d *decoder) finish(n *Notification, stamp, priority string) (*Notification, error) {
	if n.EventType == "" {
		return nil, &Error{Reason: MissingType, Detail: "no event_type"}
	}
	if n.MessageID == "" {
		sum := sha256.Sum256(d.rec.Value)
		n.MessageID = hex.EncodeToString(sum[:16])
	}
	if n.Priority = strings.ToUpper(priority); n.Priority == "" {
		n.Priority = topicPriority(d.rec.Topic)
	}
	if n.Priority == "WARNING" { // oslo's alias
		n.Priority = "WARN"
	}
	var ok bool
	if n.Timestamp, ok = ParseTime(stamp); !ok {
		if d.rec.Time.Unix() <= 0 {
			return nil, &Error{Reason: BadTimestamp, Detail: "no timestamp that can be read"}
		}
		n.Timestamp, n.Undated = d.rec.Time.UTC().Truncate(time.Microsecond), true
	}
	return n, nil
}

// topicPriority is the priority that a topic is named for: its last part, or the
// one before a virtual host.
func topicPriority(topic string) string {
	parts := strings.Split(strings.ToUpper(topic), ".")
	for i := len(parts) - 1; i > 0; i-- {
		switch parts[i] {
		case "AUDIT", "DEBUG", "INFO", "WARN", "WARNING", "ERROR", "CRITICAL", "SAMPLE":
			return parts[i]
		}
	}
	return "INFO"
}

// want is a member that must be text if it is there at all.
type want struct {
	key string
	to  *string
	max int
}

func take(m map[string]any, wants []want) error {
	for _, w := range wants {
		switch v := m[w.key].(type) {
		case nil:
		case string:
			if len(v) > w.max {
				return &Error{Reason: BadField, Detail: w.key + " is too long"}
			}
			*w.to = v
		default:
			return &Error{Reason: BadField, Detail: w.key + " is no string"}
		}
	}
	return nil
}

// contextOf keeps the allowed members of _context, or of _context_* beside the
// payload. Tokens, names and catalogues of services are left behind here.
func contextOf(m map[string]any) Context {
	get := func(key string) any { return m["_context_"+key] }
	if inner, ok := m["_context"].(map[string]any); ok {
		get = func(key string) any { return inner[key] }
	}
	text := func(keys ...string) string {
		for _, k := range keys {
			if s, ok := get(k).(string); ok && s != "" && len(s) <= 256 {
				return s
			}
		}
		return ""
	}
	c := Context{
		RequestID:       text("request_id"),
		GlobalRequestID: text("global_request_id"),
		UserID:          text("user_id", "user"),
		ProjectID:       text("project_id", "project", "tenant_id", "tenant"),
		DomainID:        text("domain_id", "domain"),
	}
	c.IsAdmin, _ = get("is_admin").(bool)
	roles, _ := get("roles").([]any)
	for _, r := range roles {
		if s, ok := r.(string); ok && len(c.Roles) < 64 {
			c.Roles = append(c.Roles, s)
		}
	}
	return c
}
