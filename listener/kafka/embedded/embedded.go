// Package embedded is the Kafka broker that a single-process Fresnel brings along:
// franz-go's kfake behind a guard, on loopback, with its log in the data folder.
//
// It is no broker for production: it survives the death of the process, not that
// of the machine, and has no replicas. It uses neither kfake's retention nor its
// compaction, both of which lose records; it trims the log itself. Its invariants:
// no record is dropped that a group named in Config.Groups has not committed; no
// partition is ever emptied, so that offsets never restart at 0; and producing to
// our own topics is never refused, so that what was taken can always be finished.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// Broker is a running embedded broker.
type Broker struct {
	cfg     Config
	log     *slog.Logger
	lock    *os.File
	cluster *kfake.Cluster
	addr    string
	gate    *gate
	segment int64

	mu     sync.Mutex // one trim pass at a time, none after Close
	closed bool
	floors map[string]Floor

	stop    context.CancelFunc
	trimmed chan struct{} // closed when the trimmer has ended
}

// Start opens the log in cfg.Dir, which no other process may have open, and
// listens. A nil log discards.
func Start(cfg Config, log *slog.Logger) (*Broker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	b := &Broker{cfg: cfg, log: log, lock: lock, floors: map[string]Floor{}, trimmed: make(chan struct{})}
	if err := b.open(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	go b.run(ctx)
	log.Info("embedded broker started, not for production", "address", b.addr, "dir", cfg.Dir, "cap_bytes", cfg.CapBytes)
	return b, nil
}

func (b *Broker) open() error {
	if err := forgetSessions(b.cfg.Dir); err != nil {
		return err
	}
	d, err := scan(b.cfg.Dir)
	if err != nil {
		return err
	}
	if err := d.check(); err != nil {
		return fmt.Errorf("embedded broker's log in %s is damaged: %w; move the folder away to start afresh", b.cfg.Dir, err)
	}
	b.segment = segmentBytes(b.cfg.CapBytes, len(d.partitions))
	b.gate = newGate(b.cfg, d.bytes)
	ln, err := net.Listen("tcp", b.cfg.Listen) //nolint:noctx // a loopback address is bound at once
	if err != nil {
		return fmt.Errorf("embedded broker: listen: %w", err)
	}
	b.addr = ln.Addr().String()
	b.cluster, err = kfake.NewCluster(b.options(ln)...)
	if err != nil {
		return errors.Join(fmt.Errorf("embedded broker: open log in %s: %w; move the folder away to start afresh", b.cfg.Dir, err), closeListener(ln))
	}
	b.cluster.Fault(b.gate.faults()...)
	topics := &creator{cluster: b.cluster, log: b.log, known: map[string]bool{}}
	b.cluster.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) { return topics.metadata(r) })
	b.cluster.ControlKey(int16(kmsg.CreateTopics), func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		return refuseCreate(r)
	})
	return nil
}

// options are kfake's settings. What it would do by itself to old records is
// switched off: see the package comment.
func (b *Broker) options(ln net.Listener) []kfake.Opt {
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.Produce), 12) // from 13 on, topics have no names, and the gate asks for those
	return []kfake.Opt{
		kfake.MaxVersions(versions),
		kfake.Ports(0),
		kfake.ClusterID("fresnel-embedded"),
		kfake.DataDir(b.cfg.Dir),
		kfake.DefaultNumPartitions(b.cfg.Partitions),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return guarded{ln}, nil }),
		kfake.WithLogger(logger{b.log}),
		kfake.BrokerConfigs(map[string]string{
			"log.retention.ms":          "-1",
			"log.retention.bytes":       "-1",
			"log.segment.bytes":         strconv.FormatInt(b.segment, 10),
			"log.cleaner.backoff.ms":    "9000000000000", // its ticker would compact and apply retention
			"offsets.retention.minutes": "2147483647",
			"state.log.compact.bytes":   strconv.Itoa(2 << 20), // small, as all clients wait meanwhile
		}),
	}
}

// Addr returns the host and port that clients connect to.
func (b *Broker) Addr() string { return b.addr }

// Close stops the broker and releases the folder. Close consumers first: one that
// is still a member of its group delays that group's next start.
func (b *Broker) Close() error {
	b.mu.Lock()
	done := b.closed
	b.closed = true
	b.mu.Unlock()
	if done {
		return nil
	}
	b.stop()
	<-b.trimmed
	b.cluster.Close()
	return errors.Join(forgetSessions(b.cfg.Dir), b.lock.Close())
}

// forgetSessions removes what kfake remembers of group members. Restored, they
// are ghosts: the group waits a session timeout for them.
func forgetSessions(dir string) error {
	if err := os.Remove(filepath.Join(dir, "session_state.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("embedded broker: forget sessions: %w", err)
	}
	return nil
}

func closeListener(ln net.Listener) error {
	if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// segmentBytes is the size at which a segment file is closed. The trimmer deletes
// whole files and keeps each partition's last one, so the last ones of all
// partitions together must stay a small part of the cap.
func segmentBytes(limit int64, partitions int) int64 {
	n := limit / 1024
	if partitions > 0 {
		n = min(n, limit/8/int64(partitions))
	}
	return max(n, 16<<10)
}

// run trims now and then, and often while producers are being refused.
func (b *Broker) run(ctx context.Context) {
	defer close(b.trimmed)
	for {
		wait := b.cfg.TrimInterval
		if b.gate.full() {
			wait = min(wait, 100*time.Millisecond)
		}
		select {
		case <-ctx.Done():
			return
		case <-b.gate.wake:
		case <-time.After(wait):
		}
		if err := b.Trim(); err != nil {
			b.log.Error("log not trimmed", "err", err)
		}
	}
}

// logger hands kfake's warnings to slog.
type logger struct{ log *slog.Logger }

// Logf implements kfake.Logger.
func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	if level == kfake.LogLevelError || level == kfake.LogLevelWarn {
		l.log.Warn("embedded broker complained", "detail", fmt.Sprintf(format, args...))
	}
}
