package email_test

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fresnel-search/fresnel/plugins/client"
	"github.com/fresnel-search/fresnel/plugins/publishertest"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/publishers/email"
)

// to is a destination at a server, with more options.
func to(p *post, options ...string) *publisherv1.Destination {
	d := &publisherv1.Destination{Id: "ops", Uri: "smtp://" + p.addr, Options: map[string]string{
		"from": "Fresnel <fresnel@example.net>", "to": "ops@example.net", "starttls": "off",
	}}
	for i := 0; i+1 < len(options); i += 2 {
		d.Options[options[i]] = options[i+1]
	}
	return d
}

// named is a change of a server of that name.
func named(t *testing.T, id, name string, at time.Time) *publisherv1.Delivery {
	t.Helper()
	quoted, err := json.Marshal(name)
	if err != nil {
		t.Fatal(err)
	}
	return &publisherv1.Delivery{DeliveryId: id, Attempt: 1, Event: &publisherv1.Event{
		Id: id, Type: "org.fresnel.resource.updated", Subject: "OS::Nova::Server/" + id, ContentType: "application/json", Time: timestamppb.New(at),
		Attributes: map[string]string{"missed": "L:1-2"},
		Data: fmt.Appendf(nil, `{"id":%q,"action":"updated","resource":{"type":"OS::Nova::Server","id":"r-1","href":"/v1/r"},"revision":2,`+
			`"time":"2026-11-20T08:14:02Z","project":"blue","changed":["flavor","name"],"before":{"name":"old"},`+
			`"document":{"name":%s,"flavor":{"vcpus":2}},"cause":{"kind":"notification","priority":"ERROR"}}`, id, quoted),
	}}
}

func publish(t *testing.T, c *client.Publisher, d *publisherv1.Destination, ds ...*publisherv1.Delivery) map[string]string {
	t.Helper()
	got := map[string]string{}
	for id, r := range publishertest.Results(t.Context(), t, c, d, ds...) {
		if got[id] = publishertest.Outcome(r); strings.Contains(r.String(), "canary") {
			t.Errorf("it shows what it must not: %v", r)
		}
	}
	return got
}

// text is the text of a mail, and its subject decoded.
func text(t *testing.T, m *mail.Message) (subject, body string) {
	t.Helper()
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		t.Fatal(err)
	}
	return subject, string(b)
}

func TestEachChangeIsAMailOverOneConnection(t *testing.T) {
	p, c := newPost(t), publishertest.Open(t, email.Publisher, publishertest.Local)
	for attempt := range 2 {
		for id, r := range publish(t, c, to(p, "to", "a@example.net, B <b@example.net>"), named(t, "c1", "web-é", time.Now()), named(t, "c2", "db", time.Now())) {
			if r != "delivered" {
				t.Fatalf("attempt %d: %s: %s", attempt, id, r)
			}
		}
	}
	ms := p.mails(t)
	if len(ms) != 4 || p.session != 2 || len(p.to) != 8 {
		t.Fatalf("%d mails to %v in %d sessions", len(ms), p.to, p.session)
	}
	h := ms[0].Header
	subject, body := text(t, ms[0])
	if subject != "OS::Nova::Server web-é updated (ops)" {
		t.Errorf("subject %q", subject)
	}
	for _, want := range []string{"flavor: {\"vcpus\":2}", "name: old -> web-é", "priority  ERROR", "missed    L:1-2", "/v1/r", "project   blue"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in:\n%s", want, body)
		}
	}
	if h.Get("Message-Id") != "<c1.change@example.net>" || h.Get("Message-Id") != ms[2].Header.Get("Message-Id") {
		t.Errorf("message ids %s, and again %s", h.Get("Message-Id"), ms[2].Header.Get("Message-Id"))
	}
	if h.Get("References") == "" || h.Get("References") != ms[1].Header.Get("References") || h.Get("Auto-Submitted") != "auto-generated" {
		t.Errorf("headers %v", h)
	}
	if from, err := h.AddressList("From"); err != nil || from[0].Address != "fresnel@example.net" || h.Get("To") != `<a@example.net>, "B" <b@example.net>` {
		t.Errorf("from %v, to %q, %v", from, h.Get("To"), err)
	}
}

func TestNothingOfAChangeGetsIntoTheHeaders(t *testing.T) {
	hostile := []string{
		"x\r\nBcc: evil@example.org", "x\nBcc: evil@example.org\n\nbody", "x\rBcc: evil@example.org", "x\u2028Bcc: y", "\x00\x1b[31m\x85\u0085Bcc: y",
		"=?utf-8?q?=0D=0ABcc:_evil@example.org?=", strings.Repeat("long ", 1000), "\xff\xfe\r\nBcc: z",
	}
	var ds []*publisherv1.Delivery
	for i, name := range hostile {
		ds = append(ds, named(t, fmt.Sprintf("c%d\r\nBcc: evil@example.org", i), name, time.Now()))
	}
	p, c := newPost(t), publishertest.Open(t, email.Publisher, publishertest.Local)
	for id, r := range publish(t, c, to(p, "subject", "{{range .Changes}}{{.Name}}\n{{.ID}}{{end}}"), ds...) {
		if r != "delivered" {
			t.Errorf("%q: %s", id, r)
		}
	}
	known := []string{"Date", "Mime-Version", "Message-Id", "Subject", "From", "To", "References", "Auto-Submitted", "Content-Type", "Content-Transfer-Encoding"}
	for i, m := range p.mails(t) {
		for name := range m.Header {
			if !slices.Contains(known, name) {
				t.Errorf("%q makes a header %s: %q", hostile[i], name, m.Header[name])
			}
		}
		subject, body := text(t, m)
		if strings.ContainsFunc(subject, func(r rune) bool { return r < ' ' }) || len([]rune(subject)) > 200 {
			t.Errorf("subject %q", subject)
		}
		if !strings.Contains(body, "OS::Nova::Server") {
			t.Errorf("%q: body %q", hostile[i], body)
		}
	}
	for _, r := range p.to {
		if !strings.HasPrefix(r, "TO:<ops@example.net>") {
			t.Errorf("recipient %q", r)
		}
	}
	for _, raw := range p.raw {
		for l := range strings.SplitSeq(raw, "\r\n") {
			if len(l) > 998 {
				t.Errorf("a line of %d bytes", len(l))
			}
		}
	}
}

func TestLinesOfADotArriveAsTheyAre(t *testing.T) {
	p, c := newPost(t), publishertest.Open(t, email.Publisher, publishertest.Local)
	publish(t, c, to(p, "body", "a\n.\n..b\nQUIT\n"), named(t, "c1", "x", time.Now()))
	if _, body := text(t, p.mails(t)[0]); strings.TrimSpace(strings.ReplaceAll(body, "\r\n", "\n")) != "a\n.\n..b\nQUIT" {
		t.Errorf("body %q", body)
	}
}

func TestDigestGathersWhatHappenedInATime(t *testing.T) {
	p, c := newPost(t), publishertest.Open(t, email.Publisher, publishertest.Local)
	d := to(p, "digest", "1h")
	now := time.Now()
	soon := now.Add(time.Minute) // the hour that it is in ends later still
	early := publishertest.Results(t.Context(), t, c, d, named(t, "now", "x", soon))["now"]
	if got, re := publishertest.Outcome(early), early.GetRetry(); got != "retry digest SCOPE_DELIVERY" || !re.GetNotYet() || re.GetAfter().AsDuration() > time.Hour {
		t.Errorf("one of this hour: %v", early)
	}
	ahead := named(t, "ahead", "x", now.Add(24*time.Hour)) // what no wait of this hour can reach
	got := publish(t, c, d, named(t, "c1", "web", now.Add(-time.Hour)), named(t, "c2", "db", now.Add(-2*time.Hour)), ahead)
	if got["c1"] != "delivered" || got["c2"] != "delivered" || got["ahead"] != "delivered" {
		t.Fatal(got)
	}
	ms := p.mails(t)
	if len(ms) != 1 {
		t.Fatalf("%d mails", len(ms))
	}
	subject, body := text(t, ms[0])
	if subject != "3 changes (ops)" || !strings.Contains(body, "(web)") || !strings.Contains(body, "(db)") {
		t.Errorf("subject %q, body %s", subject, body)
	}
}

func TestDigestThatIsRefusedGoesInPieces(t *testing.T) {
	p, c := newPost(t), publishertest.Open(t, email.Publisher, publishertest.Local)
	p.refuses = "spoilt"
	before := time.Now().Add(-2 * time.Hour)
	got := publish(t, c, to(p, "digest", "1h"), named(t, "c1", "web", before), named(t, "c2", "spoilt", before), named(t, "c3", "db", before))
	if got["c1"] != "delivered" || got["c2"] != "rejected smtp_554 SCOPE_DELIVERY" || got["c3"] != "delivered" || len(p.mails(t)) != 2 {
		t.Errorf("%v in %d mails", got, len(p.mails(t)))
	}
}

func TestAnswersFollowTheContract(t *testing.T) {
	for _, c := range []struct{ command, answer, want string }{
		{"MAIL", "550 5.7.1 canary", "retry smtp_550 SCOPE_DESTINATION"},
		{"RCPT", "550 5.1.1 canary", "retry smtp_550 SCOPE_DESTINATION"},
		{"RCPT", "450 4.2.1 canary", "retry smtp_450 SCOPE_DELIVERY"},
		{"DATA", "451 canary", "retry smtp_451 SCOPE_DELIVERY"},
		{".", "552 5.3.4 canary", "rejected smtp_552 SCOPE_DELIVERY"},
		{".", "452 4.3.1 canary", "retry smtp_452 SCOPE_DELIVERY"},
		{"EHLO", "554 canary", "retry refused SCOPE_DESTINATION"},
	} {
		p := newPost(t)
		p.answer(c.command, c.answer)
		if c.command == "EHLO" {
			p.answer("HELO", c.answer)
		}
		if got := publish(t, publishertest.Open(t, email.Publisher, publishertest.Local), to(p), named(t, "1", "x", time.Now()))["1"]; got != c.want || len(p.raw) > 0 {
			t.Errorf("%s %s: %s, want %s", c.command, c.answer, got, c.want)
		}
	}
	other := &post{addr: publishertest.Serve(t, func(c net.Conn) { _, _ = io.WriteString(c, "+OK canary\r\n") })}
	if got := publish(t, publishertest.Open(t, email.Publisher, publishertest.Local), to(other), named(t, "1", "x", time.Now()))["1"]; got != "retry no_smtp SCOPE_DESTINATION" {
		t.Errorf("another service: %s", got)
	}
	p := newPost(t)
	d := to(p, "starttls", "required")
	if got := publish(t, publishertest.Open(t, email.Publisher, publishertest.Local), d, named(t, "1", "x", time.Now()))["1"]; got != "retry no_starttls SCOPE_DESTINATION" {
		t.Errorf("no STARTTLS: %s", got)
	}
	d = to(p)
	d.Uri = "smtp://user@" + p.addr
	d.Secrets = map[string][]byte{"secret": []byte("canary")}
	p.answer("EHLO", "250-here\r\n250 AUTH PLAIN LOGIN")
	p.answer("AUTH", "235 canary in")
	if got := publish(t, publishertest.Open(t, email.Publisher, publishertest.Local), d, named(t, "1", "x", time.Now()))["1"]; got != "retry access_refused SCOPE_DESTINATION" || len(p.raw) > 0 {
		t.Errorf("a password in the clear: %s", got)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	p, c := newPost(t), publishertest.Open(t, email.Publisher, publishertest.Local)
	for option, values := range map[string][]string{
		"from":     {"", "nobody", "a@b\r\nBcc: c@d"},
		"to":       {"", "a@b, nobody", strings.Repeat("a@example.net,", 50) + "a@example.net", "a@b\nBcc: c@d"},
		"digest":   {"1s", "48h", "often"},
		"starttls": {"maybe"},
		"subject":  {"{{", "{{printf \"%d\" 1}}", "{{define \"a\"}}{{end}}", "{{template \"mail\" .}}", strings.Repeat("x", 20<<10)},
		"body":     {"{{html .}}", "{{call .}}", "{{block \"a\" .}}{{end}}", "{{with print 1}}{{end}}", "{{if (urlquery 1)}}{{end}}"},
	} {
		for _, v := range values {
			if got := publish(t, c, to(p, option, v), named(t, "1", "x", time.Now()))["1"]; got != "rejected bad_options SCOPE_DESTINATION" {
				t.Errorf("%s %.40q: %s", option, v, got)
			}
		}
	}
	for uri, want := range map[string]string{
		"smtp://u:canary@h": "rejected bad_destination SCOPE_DESTINATION", "smtp:///": "rejected bad_destination SCOPE_DESTINATION",
		"smtp://127.0.0.1:1": "retry transport SCOPE_DESTINATION", "smtp://10.0.0.1": "retry address_refused SCOPE_DESTINATION",
	} {
		d := to(p)
		d.Uri = uri
		if got := publish(t, c, d, named(t, "1", "x", time.Now()))["1"]; got != want {
			t.Errorf("%s: %s, want %s", uri, got, want)
		}
	}
}

func TestTemplatesThatGoWrongEndSoonAndTheMailIsSent(t *testing.T) {
	p, c := newPost(t), publishertest.Open(t, email.Publisher, publishertest.Local)
	for _, body := range []string{
		"{{range 1000000000000}}{{end}}",
		"{{range $.Changes}}{{range 100000}}{{range 100000}}{{end}}{{end}}{{end}}",
		"{{range 10000}}" + strings.Repeat("x", 1000) + "{{end}}",
		"{{index .Changes 7}}", "{{.Nothing}}",
		// Few rounds, each of which takes long.
		"{{range 40000}}" + strings.Repeat("{{$x := upper (index (index $.Changes 0).Document `name`)}}", 200) + "{{end}}",
	} {
		p.raw = nil
		begin := time.Now()
		if got := publish(t, c, to(p, "body", body), named(t, "1", "web"+strings.Repeat("x", 1000), begin))["1"]; got != "delivered" {
			t.Fatalf("%s: %s", body, got)
		}
		_, sent := text(t, p.mails(t)[0])
		if !strings.HasPrefix(sent, "The template failed: ") || !strings.Contains(sent, "(webxxx") || len(sent) > 6000 {
			t.Errorf("%s: %.300s", body, sent)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("%s took %s", body, took)
		}
	}
}
