// Package log is the built-in publisher that writes each change as one line of JSON:
// to a file (file:///var/log/changes.jsonl, appended to), or to Fresnel's own log
// (log:stderr).
//
// It is for trying things out, for tests and for log shippers; it rotates nothing, and
// leaves it to the system when a line is safe from a loss of power. Its invariant: lines
// are written with one write, so those of several writers never mix, and one that a full
// disk has torn never runs into the next. Only operators may name its destinations, as it writes where they say with the
// rights of the process.
package log

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fresnel-search/fresnel/plugins/change"
	"github.com/fresnel-search/fresnel/plugins/sdk"
)

// Name is the publisher's name in configuration.
const Name = "log"

// Line is one line of the file.
type Line struct {
	Subscription string `json:"subscription"`
	DeliveryID   string `json:"delivery_id"`
	Attempt      int    `json:"attempt"`
	// Event is the change as a CloudEvent.
	Event json.RawMessage `json:"event"`
}

type config struct{}

// Main serves the publisher; see sdk.Main.
func Main(version string) { sdk.Main(Publisher(version)) }

// Publisher describes the plugin.
func Publisher(version string) sdk.Publisher[config, struct{}] {
	return sdk.Publisher[config, struct{}]{
		Name: Name, Version: version, Schemes: []string{"file", "log"},
		PublishBatch: publish,
	}
}

// publish answers for the batch as a whole: it is one write.
func publish(ctx context.Context, _ *config, d *sdk.Destination[struct{}], evs []*sdk.Event) []error {
	var lines bytes.Buffer
	for _, ev := range evs {
		line, err := json.Marshal(Line{
			Subscription: d.Subscription, DeliveryID: ev.DeliveryID, Attempt: ev.Attempt, Event: sdk.CloudEvent(ev),
		})
		if err != nil {
			return all(sdk.Reject(err), len(evs))
		}
		lines.Write(append(line, '\n'))
	}
	u, err := url.Parse(d.URI)
	switch {
	case err != nil:
		return all(sdk.Gone(errors.New("the destination is not a URI")), len(evs))
	case u.Scheme == "log":
		say(ctx, d.Subscription, evs)
		return nil
	case u.Scheme != "file" || (u.Host != "" && u.Host != "localhost") || !filepath.IsAbs(u.Path):
		return all(sdk.Gone(errors.New("the destination is not of the form file:///path or log:stderr")), len(evs))
	}
	if err := appendTo(ctx, u.Path, lines.Bytes()); err != nil {
		return all(sdk.RetryDestination(err), len(evs))
	}
	return nil
}

// appendTo waits for nobody: not for somebody to read a pipe, nor beyond ctx.
func appendTo(ctx context.Context, path string, lines []byte) error {
	const mode = 0o640
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY|syscall.O_NONBLOCK, mode)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if end, ok := ctx.Deadline(); ok {
		if err := f.SetWriteDeadline(end); err != nil && !errors.Is(err, os.ErrNoDeadline) { // a file has none, and needs none
			return errors.Join(err, f.Close())
		}
	}
	if torn(f) {
		lines = append([]byte{'\n'}, lines...)
	}
	_, err = f.Write(lines)
	return errors.Join(err, f.Close())
}

// torn reports whether the last line of a file has no end.
func torn(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return false
	}
	r, err := os.Open(f.Name())
	if err != nil {
		return false // it is ours to write only
	}
	defer r.Close()
	last := make([]byte, 1)
	_, err = r.ReadAt(last, info.Size()-1)
	return err == nil && last[0] != '\n'
}

func say(ctx context.Context, subscription string, evs []*sdk.Event) {
	log := slog.Default()
	for _, ev := range evs {
		attrs := []slog.Attr{
			slog.String("subscription", subscription),
			slog.String("id", ev.ID), slog.String("type", ev.Type), slog.String("subject", ev.Subject),
			slog.Time("event_time", ev.Time.UTC().Truncate(time.Microsecond)), slog.Int("attempt", ev.Attempt),
		}
		if missed := ev.Attributes[change.MissedAttribute]; missed != "" {
			attrs = append(attrs, slog.String(change.MissedAttribute, missed))
		}
		log.LogAttrs(ctx, slog.LevelInfo, "change", attrs...)
	}
}

func all(err error, n int) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}
