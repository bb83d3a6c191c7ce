//go:build real

package publishers_test

import (
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fresnel-search/fresnel/plugins/client"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/publishers/email"
	"github.com/fresnel-search/fresnel/test/harness"
)

func openEmail(t testing.TB) *client.Publisher {
	t.Helper()
	server, err := email.Publisher("1.0.0").Server()
	return inProcess(t, server, err)
}

// toMail is a destination at the lab's server, for a mailbox of the test's own.
func toMail(t testing.TB, scheme, variable, box string, options ...string) *publisherv1.Destination {
	t.Helper()
	host := strings.Replace(harness.Need(t, variable), "127.0.0.1", "localhost", 1)
	d := &publisherv1.Destination{
		Id: "ops", Uri: scheme + "://fresnel@" + host, Options: map[string]string{"from": "fresnel@example.net", "to": box + "@example.net"},
		Secrets: map[string][]byte{"secret": []byte("fresnel-pass"), "ca": file(t, harness.Need(t, "FRESNEL_TEST_SMTP_CA"))},
	}
	for i := 0; i+1 < len(options); i += 2 {
		d.Options[options[i]] = options[i+1]
	}
	return d
}

// received are the mails to a mailbox, as the server has stored them.
func received(t testing.TB, box string) (mails []*mail.Message) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(harness.Need(t, "FRESNEL_TEST_SMTP_MAIL"), "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		m, err := mail.ReadMessage(strings.NewReader(string(b)))
		if err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		if strings.Contains(m.Header.Get("X-RcptTo"), box+"@") {
			mails = append(mails, m)
		}
	}
	return mails
}

func TestMailServerIsReachedByStartTLSAndTLSWithLogIn(t *testing.T) {
	c := openEmail(t)
	box := func(name string) string { return fmt.Sprintf("%s-%d", name, time.Now().UnixNano()) }
	for scheme, variable := range map[string]string{"smtp": "FRESNEL_TEST_SMTP", "smtps": "FRESNEL_TEST_SMTPS"} {
		to := box(scheme)
		d := toMail(t, scheme, variable, to)
		for _, got := range attempt(t, c, batch(t, d, "warn", scheme+"-1", scheme+"-2")) {
			if got != "delivered" {
				t.Fatalf("%s: %s", scheme, got)
			}
		}
		ms := received(t, to)
		if len(ms) != 2 {
			t.Fatalf("%s: %d mails", scheme, len(ms))
		}
		for _, m := range ms {
			subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
			if err != nil || subject != "OS::Nova::Server wéb updated (ops)" || !strings.HasPrefix(m.Header.Get("Message-Id"), "<"+scheme) {
				t.Errorf("%s: subject %q, id %s, %v", scheme, subject, m.Header.Get("Message-Id"), err)
			}
			if body, err := io.ReadAll(quotedprintable.NewReader(m.Body)); err != nil || !strings.Contains(string(body), "name: wéb") {
				t.Errorf("%s: %s, %v", scheme, body, err)
			}
		}
		d.Secrets["secret"] = []byte("canary")
		if got := once(t, c, d, "3"); got != "retry access_refused SCOPE_DESTINATION" {
			t.Errorf("%s, wrong password: %s", scheme, got)
		}
		delete(d.Secrets, "ca")
		if got := once(t, c, d, "3"); got != "retry tls SCOPE_DESTINATION" {
			t.Errorf("%s, unknown authority: %s", scheme, got)
		}
	}
	clear := toMail(t, "smtp", "FRESNEL_TEST_SMTP_CLEAR", box("clear"))
	if got := once(t, c, clear, "1"); got != "retry no_starttls SCOPE_DESTINATION" {
		t.Errorf("without STARTTLS: %s", got)
	}
	clear.Options["starttls"] = "off"
	if got := once(t, c, clear, "1"); got != "retry access_refused SCOPE_DESTINATION" {
		t.Errorf("a password in the clear: %s", got)
	}
	clear.Uri = strings.Replace(clear.Uri, "fresnel@", "", 1)
	if got := once(t, c, clear, "1"); got != "delivered" {
		t.Errorf("in the clear, as told: %s", got)
	}
}

func TestMailServersRefusalsFollowTheContract(t *testing.T) {
	c := openEmail(t)
	if got := once(t, c, toMail(t, "smtp", "FRESNEL_TEST_SMTP", "nobody"), "1"); got != "retry smtp_550 SCOPE_DESTINATION" {
		t.Errorf("no such mailbox: %s", got)
	}
	large := toMail(t, "smtp", "FRESNEL_TEST_SMTP", "large", "body", strings.Repeat("{{range 30}}é"+strings.Repeat("é", 200)+"{{end}}", 6))
	if got := once(t, c, large, "1"); !strings.HasPrefix(got, "rejected smtp_552") {
		t.Errorf("too large: %s", got)
	}
	to := fmt.Sprintf("digest-%d", time.Now().UnixNano())
	d := toMail(t, "smtp", "FRESNEL_TEST_SMTP", to, "digest", "1h")
	req := batch(t, d, "info", "1", "2", "3")
	req.Deliveries[2].Event.Time = timestamppb.Now()
	got := attempt(t, c, req)
	if got["1"] != "delivered" || got["2"] != "delivered" || got["3"] != "retry digest SCOPE_DELIVERY" || len(received(t, to)) != 1 {
		t.Errorf("digest: %v, %d mails", got, len(received(t, to)))
	}
	lab := harness.SharedLab(t)
	lab.Run(t, nil, "smtp.sh", "pause")
	defer lab.Run(t, nil, "smtp.sh", "resume")
	begin := time.Now()
	if got := once(t, c, d, "4"); !strings.HasPrefix(got, "retry ") || time.Since(begin) > 11*time.Second {
		t.Errorf("a server that hangs: %s after %s", got, time.Since(begin))
	}
}
