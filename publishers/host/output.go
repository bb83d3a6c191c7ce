package host

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	longestLine   = 8 << 10
	longestText   = 2 << 10 // of a line without structure
	linesASecond  = 500
	bytesASecond  = 256 << 10
	tailLines     = 20
	longestTail   = 512 // of one of them
	mostAttribute = 20
)

// output takes what a plugin writes into our log: structured lines at their level,
// plain ones at info, panics at error, and never more than a fixed rate.
type output struct {
	log     *slog.Logger
	dropped prometheus.Counter

	mu       sync.Mutex
	tail     []string
	panicked bool
	second   time.Time
	lines    int
	bytes    int
	lost     int
}

// readStdout hands the handshake line to go-plugin and takes everything else into the
// log, for ever, so that the plugin never blocks on its stdout.
func (o *output) readStdout(stdout io.Reader, handshake *io.PipeWriter) {
	announced := false
	eachLine(stdout, func(line []byte) {
		if announced || !isHandshake(line) {
			o.say(slog.LevelWarn, "stdout", len(line), slog.String("text", string(line[:min(len(line), longestText)])))
			return
		}
		announced = true
		if _, err := handshake.Write(append(bytes.TrimSpace(line), '\n')); err != nil {
			o.log.Warn("plugin announced itself too late", "err", err)
		}
		o.closed(handshake.Close())
	})
	o.closed(handshake.Close())
}

// readStderr takes the plugin's log lines.
func (o *output) readStderr(stderr io.Reader) {
	eachLine(stderr, func(line []byte) {
		o.remember(line)
		o.take(line)
	})
}

// eachLine calls f with each line, cut if it is long. The slice is only lent.
func eachLine(r io.Reader, f func(line []byte)) {
	br := bufio.NewReaderSize(r, longestLine)
	for {
		line, err := br.ReadSlice('\n')
		if trimmed := bytes.TrimRight(line, "\r\n"); len(trimmed) > 0 {
			f(trimmed)
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = br.ReadSlice('\n')
		}
		if err != nil {
			return
		}
	}
}

// remember keeps the last lines, for the error of a plugin that does not start.
func (o *output) remember(line []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.tail) == tailLines {
		o.tail = slices.Delete(o.tail, 0, 1)
	}
	o.tail = append(o.tail, strings.ToValidUTF8(string(line[:min(len(line), longestTail)]), "�"))
}

func (o *output) lastLines() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.tail, "\n")
}

// take logs one line of stderr. It trusts nothing about it: members may be missing
// or of any type.
func (o *output) take(line []byte) {
	var members map[string]any
	if line[0] != '{' || json.Unmarshal(line, &members) != nil {
		o.say(o.plainLevel(line), "stderr", len(line), slog.String("text", string(line[:min(len(line), longestText)])))
		return
	}
	level := levelOf(pick(members, "@level", "level", "lvl", "severity"))
	text := pick(members, "@message", "msg", "message")
	for _, known := range []string{"@timestamp", "time", "ts", "timestamp"} {
		delete(members, known)
	}
	attrs := []slog.Attr{slog.Any("text", text)}
	for name, value := range members {
		if len(attrs) <= mostAttribute {
			attrs = append(attrs, slog.Any("plugin_"+strings.TrimPrefix(name, "@"), value))
		}
	}
	o.say(level, "log", len(line), attrs...)
}

// plainLevel is error from the first line of a panic on, else info.
func (o *output) plainLevel(line []byte) slog.Level {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, start := range []string{"panic:", "fatal error:", "Traceback (most recent call last)"} {
		o.panicked = o.panicked || bytes.HasPrefix(line, []byte(start))
	}
	if o.panicked {
		return slog.LevelError
	}
	return slog.LevelInfo
}

// pick removes and returns the first member that is there.
func pick(members map[string]any, names ...string) any {
	for _, n := range names {
		if v, ok := members[n]; ok {
			delete(members, n)
			return v
		}
	}
	return nil
}

func levelOf(v any) slog.Level {
	name, isText := v.(string)
	if !isText {
		return slog.LevelInfo
	}
	switch strings.ToLower(name) {
	case "trace", "debug":
		return slog.LevelDebug
	case "warn", "warning":
		return slog.LevelWarn
	case "error", "err", "fatal", "panic", "critical":
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}

// say logs a line from one of the plugin's streams, unless there was too much in this
// second.
func (o *output) say(level slog.Level, source string, size int, attrs ...slog.Attr) {
	if !o.log.Enabled(context.Background(), level) {
		return
	}
	allowed, lost := o.allow(time.Now(), size)
	if lost > 0 {
		o.log.Warn("plugin log lines dropped", "count", lost)
	}
	if allowed {
		o.log.LogAttrs(context.Background(), level, "plugin output", append(attrs, slog.String("source", source))...)
	}
}

// allow counts lines and their bytes by the second; it also returns how many lines were
// dropped in the last one, once.
func (o *output) allow(now time.Time, size int) (allowed bool, lost int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Sub(o.second) >= time.Second {
		o.second, o.lines, o.bytes, lost, o.lost = now, 0, 0, o.lost, 0
	}
	o.lines++
	o.bytes += min(size, longestLine)
	if o.lines > linesASecond || o.bytes > bytesASecond {
		o.lost++
		o.dropped.Inc()
		return false, lost
	}
	return true, lost
}

func (o *output) closed(err error) {
	if err != nil {
		o.log.Warn("plugin pipe not closed", "err", err)
	}
}

// synced takes what a plugin prints after go-plugin replaced its os.Stdout and
// os.Stderr: it arrives over gRPC, cut anywhere.
type synced struct {
	out    *output
	stream string
	mu     sync.Mutex
	rest   []byte
}

// Write logs the lines that are complete, at warn: a plugin is to log, not to print.
func (s *synced) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest = append(s.rest, b...)
	for {
		line, rest, complete := bytes.Cut(s.rest, []byte("\n"))
		if !complete && len(s.rest) < longestLine {
			return len(b), nil
		}
		s.rest = bytes.Clone(rest)
		if len(line) > 0 {
			s.out.say(slog.LevelWarn, "printed to "+s.stream, len(line),
				slog.String("text", string(line[:min(len(line), longestText)])))
		}
	}
}
