package zaqar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/plugins/sdk"
)

const (
	// maxMessages is how many messages go into one request.
	maxMessages = 20
	// minTTL and maxTTL are the shortest and longest life that Zaqar gives a message.
	minTTL = 60 * time.Second
	maxTTL = 14 * 24 * time.Hour
	// audience is the attribute by which the host names the one project for whose eyes
	// an event was made.
	audience = "audience"
)

// The parts of a request around its messages.
const (
	head  = `{"messages":[`
	comma = `,`
	tail  = `]}`
)

// message is one message of a request.
type message struct {
	ev   *sdk.Event
	ttl  int // in seconds; 0 leaves it to the queue
	json []byte
	thin bool
	at   int // which of the events of the batch it is
}

// newMessage makes the message of an event for the queue of a project, with no content
// but a reference if it would be too large. An event for other eyes is rejected.
func newMessage(ev *sdk.Event, project string, most int, now time.Time) (message, error) {
	if err := belongs(ev, project); err != nil {
		return message{}, err
	}
	m := message{ev: ev, ttl: ttl(ev.Expires, now)}
	m.encode()
	if fits(len(m.json), most) {
		return m, nil
	}
	m, ok := m.shorten()
	if !ok || !fits(len(m.json), most) {
		return message{}, &sdk.Failure{Code: "too_large", Final: true, Err: errors.New("the event is larger than Zaqar takes")}
	}
	return m, nil
}

func fits(size, most int) bool { return len(head)+size+len(tail) <= most }

// belongs says no to an event that is not for the project of the queue.
func belongs(ev *sdk.Event, project string) error {
	whose := ev.Attributes[audience]
	if whose == "" {
		var about struct {
			Project string `json:"project"`
		}
		if err := json.Unmarshal(ev.Data, &about); err != nil {
			return sdk.Reject(errors.New("the event is not a change in JSON"))
		}
		whose = about.Project
	}
	if whose != project || project == "" {
		return &sdk.Failure{
			Code: "foreign_project", Final: true,
			Err: errors.New("the event is not of the project that the queue belongs to; a queue takes what one project may see"),
		}
	}
	return nil
}

// ttl is what is left of a delivery's time, in seconds, within what Zaqar takes.
func ttl(expires, now time.Time) int {
	if expires.IsZero() {
		return 0
	}
	left := min(max(expires.Sub(now), minTTL), maxTTL)
	return int((left + time.Second - 1) / time.Second)
}

func (m *message) encode() {
	b := append([]byte(`{"body":`), sdk.CloudEvent(m.ev)...)
	if m.ttl > 0 {
		b = strconv.AppendInt(append(b, `,"ttl":`...), int64(m.ttl), 10)
	}
	m.json = append(b, '}')
}

// shorten returns the message with nothing of the resource but what names it, marked
// truncated; false if that is not possible.
func (m message) shorten() (message, bool) {
	var c change.Change
	if json.Unmarshal(m.ev.Data, &c) != nil {
		return m, false
	}
	c.Document, c.Before, c.Changed, c.Truncated = nil, nil, nil, true
	data, err := json.Marshal(c)
	if err != nil {
		return m, false
	}
	ev := *m.ev
	ev.Data = data
	m.ev, m.thin = &ev, true
	m.encode()
	return m, true
}

// cut makes requests of messages, in order: none has more than maxMessages or is
// larger than most.
func cut(ms []message, most int) (posts [][]message) {
	size := 0
	for i, m := range ms {
		last := len(posts) - 1
		if i == 0 || len(posts[last]) == maxMessages || !fits(size+len(comma)+len(m.json), most) {
			posts, last, size = append(posts, nil), last+1, -len(comma)
		}
		posts[last] = append(posts[last], m)
		size += len(comma) + len(m.json)
	}
	return posts
}

// body is the body of a request.
func body(ms []message) []byte {
	parts := make([][]byte, len(ms))
	for i := range ms {
		parts[i] = ms[i].json
	}
	return fmt.Appendf(nil, "%s%s%s", head, bytes.Join(parts, []byte(comma)), tail)
}
