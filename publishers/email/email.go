// Package email is the built-in publisher of mail: one for each change, or a digest of
// those of a while, handed to an SMTP server by STARTTLS or TLS.
//
// It queues nothing: what belongs into a digest waits with the host until its time has
// come. Its invariants: nothing of a change gets into a header but encoded and on one
// line, and the Message-ID follows from the events, so that a repeat can be told.
package email

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// Name is the publisher's name in configuration.
const Name = "email"

// Config is the configuration of the process.
type Config struct {
	Outbound sdk.Outbound `json:"outbound,omitzero" doc:"what may be connected to"`
}

// Options are what a destination may say. Its URI is smtp://user@host:587, or smtps;
// its secrets are secret, the password, and ca, client_cert and client_key.
type Options struct {
	From    string `json:"from" doc:"sender, such as Fresnel <fresnel@example.net>"`
	To      string `json:"to" doc:"recipients, parted by commas; at most 50"`
	Subject string `json:"subject,omitempty" doc:"template of the subject"`
	Body    string `json:"body,omitempty" doc:"template of the text"`
	Digest  string `json:"digest,omitempty" doc:"such as 15m or 1h: the changes of each such time go together, at its end, at most 100 in a mail; empty for one mail per change"`
	TLS     string `json:"starttls,omitempty" doc:"required, if_offered or off; required if empty. Without TLS no password is sent in the clear"`

	from   *mail.Address
	to     []*mail.Address
	digest time.Duration
	texts  texts
}

// Validate reads the options and reports what is wrong with them.
func (o *Options) Validate() error {
	const least, longest, most = time.Minute, 24 * time.Hour, 50
	var errs []error
	var err error
	if o.from, err = mail.ParseAddress(o.From); err != nil {
		errs = append(errs, errors.New("from: is not an address"))
	}
	if o.to, err = mail.ParseAddressList(o.To); err != nil || len(o.to) > most {
		errs = append(errs, errors.New("to: is not a list of at most 50 addresses"))
	}
	if o.Digest != "" {
		if o.digest, err = time.ParseDuration(o.Digest); err != nil || o.digest < least || o.digest > longest {
			errs = append(errs, errors.New("digest: is not a time between 1m and 24h"))
		}
	}
	if o.TLS != "" && o.TLS != "required" && o.TLS != "if_offered" && o.TLS != "off" {
		errs = append(errs, errors.New("starttls: is none of required, if_offered, off"))
	}
	if o.texts, err = newTexts(o.Subject, o.Body); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Main serves the publisher; see sdk.Main.
func Main(version string) { sdk.Main(Publisher(version)) }

// Publisher describes the plugin. Each batch has a connection of its own, and a mail
// server wants few of them.
func Publisher(version string) sdk.Publisher[Config, Options] {
	return sdk.Publisher[Config, Options]{
		Name: Name, Version: version, Schemes: []string{"smtp", "smtps"}, Concurrency: 4,
		PublishBatch: publish,
	}
}

func publish(ctx context.Context, c *Config, d *sdk.Destination[Options], evs []*sdk.Event) []error {
	errs := make([]error, len(evs))
	now := time.Now()
	var due []int
	for i, ev := range evs {
		if wait := d.Options.wait(ev, now); wait > 0 {
			errs[i] = &sdk.Failure{Code: "digest", NotYet: true, After: wait, Err: fmt.Errorf(
				"waits for the digest of %s", now.Add(wait).UTC().Format(time.DateTime))}
			continue
		}
		due = append(due, i)
	}
	groups := singly(due)
	if d.Options.digest > 0 && len(due) > 0 {
		groups = [][]int{due}
	}
	m := mailing{c, d, evs, errs}
	m.deliver(ctx, groups)
	if len(due) > len(groups) && slices.ContainsFunc(due, func(i int) bool { return refusedForContent(errs[i]) }) {
		m.deliver(ctx, singly(due)) // one change must not be the end of all
	}
	return errs
}

// singly puts each into a group of its own.
func singly(all []int) (groups [][]int) {
	for _, i := range all {
		groups = append(groups, []int{i})
	}
	return groups
}

// mailing is events for one destination, and what became of each.
type mailing struct {
	c    *Config
	d    *sdk.Destination[Options]
	evs  []*sdk.Event
	errs []error
}

// deliver sends a mail for each group of events and sets what became of them.
func (m *mailing) deliver(ctx context.Context, groups [][]int) {
	mails := compose(ctx, m.d, m.evs, groups)
	var results []error
	switch {
	case len(mails) < len(groups):
		results = all(make([]error, len(groups)), context.Cause(ctx))
	case len(mails) > 0:
		results = send(ctx, &m.c.Outbound, m.d, mails)
	}
	for n, err := range results {
		for _, i := range groups[n] {
			m.errs[i] = err
		}
	}
}

func refusedForContent(err error) bool {
	f, ok := errors.AsType[*sdk.Failure](err)
	return ok && f.Final && !f.Destination
}

// wait is how long an event has to wait for its digest: until the time that it
// happened in is over. What comes late goes at once, and so does what cannot have
// happened yet, whatever the clock of its service says: nothing waits for more than two
// digests.
func (o *Options) wait(ev *sdk.Event, now time.Time) time.Duration {
	if o.digest == 0 {
		return 0
	}
	const ahead = 2 // a clock may be ahead a little at the end of the time
	begin := now.Truncate(o.digest)
	if ev.Time.Before(begin) || !ev.Time.Before(begin.Add(ahead*o.digest)) {
		return 0
	}
	return begin.Add(o.digest).Sub(now)
}

// line makes a text fit for a header: one line, no control characters, not long.
func line(s string) string {
	const longest = 200
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r <= 0x9f || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
	// What looks encoded already would be decoded where it is read.
	s = strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "=?", "= ?")
	if runes := []rune(s); len(runes) > longest {
		s = string(runes[:longest-1]) + "…"
	}
	return s
}
