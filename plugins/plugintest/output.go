package plugintest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// output is what a process wrote: not the text, but what the checks ask of it.
type output struct {
	canary canary
	began  time.Time

	mu      sync.Mutex
	extra   []string // lines of stdout besides the handshake
	tail    []string // the last lines of stderr
	leaks   []string // lines that show the canary
	lines   int      // of stderr
	longest int
	plain   int // lines without structure
	unread  []string
}

const keep = 10 // lines of each kind

// readStdout finds the handshake; everything else there is one line too many.
func (o *output) readStdout(r io.Reader, announced chan<- handshake) {
	found := false
	eachLine(r, func(line string) {
		if h, ok := parseHandshake(line); ok && !found {
			found = true
			announced <- h
			return
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.extra = append(o.extra, clip(line))
		o.look("stdout", line)
	})
}

func (o *output) readStderr(r io.Reader) {
	eachLine(r, func(line string) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.lines++
		o.longest = max(o.longest, len(line))
		if o.tail = append(o.tail, clip(line)); len(o.tail) > keep {
			o.tail = slices.Delete(o.tail, 0, 1)
		}
		o.look("log", line)
		o.judge(line)
	})
}

// printed is what was written to os.Stdout and os.Stderr once go-plugin has them.
func (o *output) printed(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.look("printed", string(b))
}

func (o *output) look(where, line string) {
	if o.canary.in(line) && len(o.leaks) < keep {
		o.leaks = append(o.leaks, where+": "+clip(o.canary.redact(line)))
	}
}

// judge says whether a host would find level and message of a line.
func (o *output) judge(line string) {
	if !strings.HasPrefix(line, "{") {
		o.plain++
		return
	}
	var m map[string]any
	level, message := "", ""
	if err := json.Unmarshal([]byte(line), &m); err == nil {
		level, message = text(m, "@level", "level", "lvl", "severity"), text(m, "@message", "msg", "message")
	}
	known := []string{"trace", "debug", "info", "notice", "warn", "warning", "error", "err", "fatal", "panic", "critical"}
	if message == "" || !slices.Contains(known, strings.ToLower(level)) {
		if len(o.unread) < keep {
			o.unread = append(o.unread, clip(line))
		}
	}
}

// text is the first member that is there and is a string.
func text(m map[string]any, names ...string) string {
	for _, n := range names {
		if s, ok := m[n].(string); ok {
			return s
		}
	}
	return ""
}

// count is how many lines were logged so far.
func (o *output) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lines
}

func (o *output) longestLine() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.longest
}

// last is the end of what was logged, for messages.
func (o *output) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.tail) == 0 {
		return ""
	}
	return "; it said: " + strings.Join(o.tail, "\n")
}

// add takes over what another output has seen.
func (o *output) add(other *output) {
	other.mu.Lock()
	defer other.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.extra = append(o.extra, other.extra...)
	o.leaks = append(o.leaks, other.leaks...)
	o.unread = append(o.unread, other.unread...)
	o.lines += other.lines
	o.plain += other.plain
	o.longest = max(o.longest, other.longest)
}

func clip(line string) string {
	const longest = 300
	if len(line) > longest {
		line = line[:longest] + fmt.Sprintf("... (%d bytes)", len(line))
	}
	return strings.ToValidUTF8(line, "�")
}

// canary is a secret that must show nowhere.
type canary struct{ secret, core, password string }

// newCanary makes a secret of the form of Standard Webhooks, which any plugin that
// does not know that form takes for opaque.
func newCanary() canary {
	const bytes = 24
	raw := make([]byte, 2*bytes)
	quietly(second(rand.Read(raw))) // it never fails
	core := base64.StdEncoding.EncodeToString(raw[:bytes])
	return canary{secret: "whsec_" + core, core: core, password: hex.EncodeToString(raw[bytes:])}
}

func second(_ int, err error) error { return err }

func (c canary) in(s string) bool {
	return c.core != "" && (strings.Contains(s, c.core) || strings.Contains(s, c.password))
}

func (c canary) redact(s string) string {
	return strings.NewReplacer(c.core, "[the canary]", c.password, "[the canary]").Replace(s)
}
