package email_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/mail"
	"net/textproto"
	"strings"
	"sync"
	"testing"

	"github.com/fresnel-search/fresnel/plugins/publishertest"
)

// post is a mail server of the few words that a client needs. What it answers to a
// command can be replaced by the command's beginning.
type post struct {
	addr string

	mu      sync.Mutex
	answers map[string]string
	refuses string   // mails that hold it, if it is not empty
	raw     []string // mails as they came
	to      []string // of RCPT
	session int
}

func newPost(t *testing.T) *post {
	t.Helper()
	p := &post{answers: map[string]string{}}
	p.addr = publishertest.Serve(t, p.serve)
	return p
}

func (p *post) answer(command, with string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[command] = with
}

func (p *post) serve(c net.Conn) {
	p.mu.Lock()
	p.session++
	p.mu.Unlock()
	r := textproto.NewReader(bufio.NewReader(c))
	say := func(text string) { _, _ = io.WriteString(c, text+"\r\n") }
	say("220 here")
	for {
		l, err := r.ReadLine()
		if err != nil {
			return
		}
		say(p.reply(r, l, say))
	}
}

// reply answers a command.
func (p *post) reply(r *textproto.Reader, command string, say func(string)) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for begin, answer := range p.answers {
		if strings.HasPrefix(command, begin) {
			return answer
		}
	}
	switch verb, rest, _ := strings.Cut(command, " "); verb {
	case "EHLO":
		return "250-here\r\n250 ENHANCEDSTATUSCODES"
	case "RCPT":
		p.to = append(p.to, rest)
	case "DATA":
		say("354 go on")
		lines, err := r.ReadDotLines()
		if err != nil {
			return "451 " + err.Error()
		}
		if answer, ok := p.answers["."]; ok {
			return answer
		}
		if p.refuses != "" && strings.Contains(strings.Join(lines, "\n"), p.refuses) {
			return "554 5.7.1 no"
		}
		p.raw = append(p.raw, strings.Join(lines, "\r\n"))
	case "QUIT":
		return "221 bye"
	}
	return "250 ok"
}

// mails are those that came, parsed.
func (p *post) mails(t *testing.T) []*mail.Message {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	ms := make([]*mail.Message, len(p.raw))
	for i, raw := range p.raw {
		m, err := mail.ReadMessage(strings.NewReader(raw))
		if err != nil {
			t.Fatal(fmt.Errorf("%w:\n%s", err, raw))
		}
		ms[i] = m
	}
	return ms
}
