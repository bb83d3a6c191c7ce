package email

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wneessen/go-mail"

	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// Mail is what the templates are given.
type Mail struct {
	Subscription string
	// Count is how many changes there are: more than one in a digest only.
	Count   int
	Changes []Change
}

// Change is one change, for templates.
type Change struct {
	ID       string
	Action   string
	Type     string // such as OS::Nova::Server
	Resource string // its id
	Name     string // if the resource has one
	Href     string
	Project  string
	Priority string
	Revision int64
	Time     time.Time
	// Changed are the fields that differ, with how they were and are.
	Changed []Field
	// Attributes are those of the event: missed names changes that were given up on.
	Attributes map[string]string
	// Document is the whole resource; for an event, what its service said.
	Document map[string]any
}

// Field is a field that differs; a value that is no text is shown as JSON.
type Field struct{ Name, Before, After string }

// compose makes a mail of each group of events. It ends with the context, maybe before
// there are all: templates can take their time.
func compose(ctx context.Context, d *sdk.Destination[Options], evs []*sdk.Event, groups [][]int) (mails []*mail.Msg) {
	for _, group := range groups {
		if ctx.Err() != nil {
			return mails
		}
		m := Mail{Subscription: d.Subscription, Count: len(group)}
		var ids []string
		for _, i := range group {
			m.Changes = append(m.Changes, view(evs[i]))
			ids = append(ids, evs[i].DeliveryID)
		}
		mails = append(mails, message(d, &m, ids))
	}
	return mails
}

// message writes a mail. Addresses were parsed; the rest of the headers is ours but
// for the subject, which is one line.
func message(d *sdk.Destination[Options], m *Mail, ids []string) *mail.Msg {
	o := &d.Options
	subject, body := o.texts.write(m)
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	msg.FromMailAddress(o.from)
	msg.ToMailAddress(o.to...)
	msg.Subject(line(subject))
	msg.SetDate()
	domain := o.from.Address[strings.LastIndex(o.from.Address, "@")+1:]
	msg.SetMessageIDWithValue(messageID(ids, domain))
	if m.Count == 1 { // programs put the mails of one resource together
		msg.SetGenHeader(mail.HeaderReferences, "<"+digest(m.Changes[0].Type, m.Changes[0].Resource)+".resource@"+domain+">")
	}
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(mail.TypeTextPlain, body)
	return msg
}

// messageID is the id of a mail about one event, or about several.
func messageID(ids []string, domain string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	const longest = 64
	id := ids[0]
	if len(ids) > 1 || len(id) > longest || strings.Trim(id, plain) != "" {
		id = digest(ids...)
	}
	return id + ".change@" + domain
}

func digest(parts ...string) string {
	const enough = 16
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:enough])
}

// view is an event for templates. One that carries no change is shown by what the
// event says of itself.
func view(ev *sdk.Event) Change {
	var c change.Change
	if err := json.Unmarshal(ev.Data, &c); err != nil {
		return Change{ID: ev.ID, Type: ev.Type, Resource: ev.Subject, Time: ev.Time, Attributes: ev.Attributes}
	}
	v := Change{
		ID: c.ID, Action: string(c.Action), Type: c.Resource.Type, Resource: c.Resource.ID, Href: c.Resource.Href,
		Project: c.Project, Priority: c.Cause.Priority, Revision: c.Revision, Time: c.Time.UTC(),
		Attributes: ev.Attributes,
	}
	now := map[string]json.RawMessage{}
	if json.Unmarshal(c.Document, &now) == nil {
		v.Document = plain(c.Document)
	}
	if name, ok := v.Document["name"].(string); ok {
		v.Name = name
	}
	for _, name := range slices.Compact(c.Changed) {
		v.Changed = append(v.Changed, Field{Name: name, Before: shown(c.Before[name]), After: shown(now[name])})
	}
	return v
}

func plain(raw json.RawMessage) map[string]any {
	var v map[string]any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return nil
	}
	return v
}

// shown is a value for people.
func shown(raw json.RawMessage) string {
	const longest = 300
	s := string(raw)
	var text string
	if json.Unmarshal(raw, &text) == nil {
		s = text
	}
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + fmt.Sprintf("… (%d bytes)", len(s))
	}
	return s
}
