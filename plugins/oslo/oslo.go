// Package oslo writes a delivery as a notification of OpenStack's oslo.messaging, in
// its envelope 2.0, so that what listens to Nova or Neutron can listen to Fresnel.
//
// It is for publishers to message brokers, built in or of third parties. It sends
// nothing and reads no notification. Its invariant: the bytes depend on the event and
// on who is named as publisher alone, so every attempt sends the same.
package oslo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// ErrTooLarge says that a notification is larger than asked for, even without the
// resource in it.
var ErrTooLarge = errors.New("the notification is too large")

// Notification is a message for a broker.
type Notification struct {
	// Priority is one of Priorities: the last part of the topic, or routing key.
	Priority string
	// MessageID is the same at every attempt.
	MessageID string
	// Subject names the resource; notifications of one subject are in order.
	Subject string
	Body    []byte
}

// Priorities are those of oslo.messaging, in lower case as topics have them.
func Priorities() []string {
	return []string{"audit", "debug", "info", "warn", "error", "critical", "sample"}
}

// message is the inner object, its members in the order in which oslo.messaging
// writes them. Listeners on RabbitMQ drop repeats by _unique_id. Those on Kafka insist
// on _context; those on RabbitMQ put it together from members _context_<name>, which
// wrap adds.
type message struct {
	MessageID   string            `json:"message_id"`
	PublisherID string            `json:"publisher_id"`
	EventType   string            `json:"event_type"`
	Priority    string            `json:"priority"`
	Payload     json.RawMessage   `json:"payload"`
	Timestamp   string            `json:"timestamp"`
	UniqueID    string            `json:"_unique_id"`
	Context     map[string]string `json:"_context"`
}

type envelope struct {
	Version string `json:"oslo.version"`
	Message string `json:"oslo.message"`
}

// Encode makes a notification of an event that carries a change. The payload is the
// change, published as <resource type>.<action> by publisher; what a service has said
// without changing anything is passed on in its own words: its event type, publisher,
// time and payload. The event's attributes, such as change.MissedAttribute, are the
// context that endpoints of listeners are called with. A body of more than most bytes is made again without document and
// before, and marked as truncated.
func Encode(ev *sdk.Event, publisher string, most int) (*Notification, error) {
	var c change.Change
	if err := json.Unmarshal(ev.Data, &c); err != nil || c.Action == "" {
		return nil, errors.New("the event carries no change")
	}
	m := message{
		MessageID: ev.ID, UniqueID: ev.DeliveryID, PublisherID: publisher,
		EventType: c.Resource.Type + "." + string(c.Action),
		Priority:  priority(c.Cause.Priority), Payload: ev.Data, Timestamp: timestamp(c.Time),
		Context: context(ev.Attributes),
	}
	if c.Action == change.Event && c.Cause.EventType != "" && len(c.Document) > 0 {
		m.EventType, m.Payload = c.Cause.EventType, c.Document
		delete(m.Context, dataSchema) // which is that of a change
		if c.Cause.PublisherID != "" {
			m.PublisherID = c.Cause.PublisherID
		}
		if !c.Cause.Timestamp.IsZero() {
			m.Timestamp = timestamp(c.Cause.Timestamp)
		}
	}
	body, err := m.wrap()
	if err != nil || len(body) > most {
		c.Document, c.Before, c.Truncated = nil, nil, true
		m.Context = context(ev.Attributes)
		if m.Payload, err = encode(&c); err == nil {
			body, err = m.wrap()
		}
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("encode notification: %w", err)
	case len(body) > most:
		return nil, ErrTooLarge
	}
	return &Notification{
		Priority: strings.ToLower(m.Priority), MessageID: ev.DeliveryID, Subject: ev.Subject, Body: body,
	}, nil
}

const dataSchema = "dataschema"

// context is what a listener is told besides the notification: the attributes that
// CloudEvents allows, whose names need no quoting anywhere.
func context(attributes map[string]string) map[string]string {
	allowed := map[string]string{}
	for name, value := range attributes {
		if name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") == "" {
			allowed[name] = value
		}
	}
	return allowed
}

func (m *message) wrap() ([]byte, error) {
	inner, err := encode(m)
	if err != nil {
		return nil, err
	}
	inner = inner[:len(inner)-1]
	for _, name := range slices.Sorted(maps.Keys(m.Context)) {
		value, err := encode(m.Context[name])
		if err != nil {
			return nil, err
		}
		inner = fmt.Appendf(inner, `,"_context_%s":%s`, name, value)
	}
	inner = append(inner, '}')
	return encode(envelope{Version: "2.0", Message: string(inner)})
}

// encode is json.Marshal without escapes for HTML, which would be escaped again in
// the envelope.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// priority is one that every listener knows: others must not make topics or queues.
func priority(p string) string {
	p = strings.ToLower(p)
	if p == "warning" {
		p = "warn"
	}
	if !slices.Contains(Priorities(), p) {
		p = "info"
	}
	return strings.ToUpper(p)
}

// timestamp is how Python writes a time without zone, which is in UTC.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000000") }
