//go:build faults

package app

import (
	"context"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/publishers"
	"github.com/fresnel-search/fresnel/publishers/delivery"
)

// faults kills the process, as kill -9 does, when it comes to a named point for
// the nth time, and holds up the indexer for as long as a file is there. The
// environment says so: FRESNEL_CRASH=POINT:N, FRESNEL_HOLD_INDEXER=FILE.
type faults struct {
	point string
	left  *atomic.Int64
	hold  string
}

func newFaults() faults {
	point, times, _ := strings.Cut(os.Getenv("FRESNEL_CRASH"), ":")
	n, err := strconv.ParseInt(times, 10, 64)
	if err != nil {
		n = 1
	}
	f := faults{point: point, left: &atomic.Int64{}, hold: os.Getenv("FRESNEL_HOLD_INDEXER")}
	f.left.Store(n)
	return f
}

// pass is called when a point is reached.
func (f faults) pass(point string) {
	if point != f.point || f.left.Add(-1) != 0 {
		return
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		panic(err)
	}
	select {} // until the signal is there
}

// held waits while the indexer is to be held up.
func (f faults) held(ctx context.Context, b stream.Batch) error {
	if f.hold == "" || b.Topic != indexer.MutationsTopic {
		return nil
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(f.hold); err != nil {
			return nil //nolint:nilerr // that the file is gone is the sign to go on
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (f faults) listening(p stream.Producer) stream.Producer {
	return faultyProducer{p, f, func([]stream.Record) string { return "mutation-produce" }}
}

func (f faults) indexing(p stream.Producer) stream.Producer {
	return faultyProducer{p, f, func(rs []stream.Record) string {
		if rs[0].Topic == indexer.ChangesTopic {
			return "change-produce"
		}
		return "cascade"
	}}
}

type faultyProducer struct {
	stream.Producer
	faults
	name func([]stream.Record) string
}

func (p faultyProducer) Produce(ctx context.Context, rs []stream.Record) error {
	err := p.Producer.Produce(ctx, rs)
	if err == nil && len(rs) > 0 {
		p.pass(p.name(rs))
	}
	return err
}

func (f faults) store(s indexer.Store) indexer.Store { return faultyStore{s, f} }

type faultyStore struct {
	indexer.Store
	faults
}

func (s faultyStore) Write(ctx context.Context, docs []resource.Document) ([]indexer.Written, error) {
	w, err := s.Store.Write(ctx, docs)
	s.pass("store-write")
	return w, err
}

func (f faults) records(r record.Store) record.Store { return faultyRecords{r, f} }

type faultyRecords struct {
	record.Store
	faults
}

func (r faultyRecords) Save(ctx context.Context, rs []record.Record) ([]record.Saved, error) {
	saved, err := r.Store.Save(ctx, rs)
	for _, rec := range rs {
		r.pass("save-" + rec.Table)
	}
	return saved, err
}

func (f faults) handling(n stream.NewHandler) stream.NewHandler {
	return func(a stream.Assignment) stream.Handler { return &faultyHandler{n(a), f, 0} }
}

type faultyHandler struct {
	stream.Handler
	faults
	batches int
}

// Handle passes "commit" when the batch before is committed, and "handled" when
// this one is done but not committed.
func (h *faultyHandler) Handle(ctx context.Context, b stream.Batch) (string, error) {
	if h.batches++; h.batches > 1 {
		h.pass("commit")
	}
	if err := h.held(ctx, b); err != nil {
		return "", err
	}
	meta, err := h.Handler.Handle(ctx, b)
	if err == nil {
		h.pass("handled")
	}
	return meta, err
}

func (f faults) plugins(p publishers.Plugins) publishers.Plugins { return faultyPlugins{p, f} }

type faultyPlugins struct {
	publishers.Plugins
	faults
}

func (p faultyPlugins) Plugin(name string) publishers.Plugin {
	inner := p.Plugins.Plugin(name)
	if inner == nil {
		return nil
	}
	return faultyPlugin{inner, p.faults}
}

type faultyPlugin struct {
	publishers.Plugin
	faults
}

func (p faultyPlugin) Publish(ctx context.Context, to delivery.Destination, ds []delivery.Delivery, ack func(delivery.Outcome)) error {
	return p.Plugin.Publish(ctx, to, ds, func(o delivery.Outcome) {
		p.pass("plugin-ack")
		ack(o)
	})
}
