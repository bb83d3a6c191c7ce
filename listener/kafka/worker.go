package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/fresnel-search/fresnel/listener/stream"
)

// worker reads, handles and commits one assigned partition.
type worker struct {
	g         *group
	gen       *kafka.Generation
	partition stream.Partition
	hold      func(stream.Partition) bool
	assigned  stream.Assignment

	lost int64 // dropped by the broker before the next batch

	mu        sync.Mutex // guards what status shows
	next      int64      // the offset committed, or to be read first
	high      int64
	heldSince time.Time // zero: not held
	trial     error     // why the batch at hand is being tried again
	feed      *feed     // nil: not reading
	took      time.Time // when the batch at hand was taken, zero if there is none,
	oldest    time.Time // and the time of its first record
	unread    time.Time // since when records are known that have not come
}

// settles is how long a log that seems too short is looked at again: a new leader may
// not know yet how far its log was acknowledged.
const settles = 2 * time.Second

// begin finds out where to read, as soon as the partition has a leader that tells.
func (w *worker) begin(ctx context.Context, at Committed, found bool) error {
	log, err := w.bounds(ctx)
	if err != nil {
		return err
	}
	if at.Offset > log.end {
		sleep(ctx, settles)
		if log, err = w.bounds(ctx); err != nil {
			return err
		}
	}
	if !found {
		at.Offset = log.first
	}
	w.start(at, log)
	return nil
}

func (w *worker) bounds(ctx context.Context) (span, error) {
	first, end, err := w.g.c.Bounds(ctx, w.partition)
	return span{first, end}, err
}

// start settles where to read: at the committed offset, or at the log's start if
// that lies outside of what is kept.
func (w *worker) start(at Committed, log span) {
	renewed := at.Offset > log.end
	switch {
	case at.Offset < log.first:
		w.lose(log.first - at.Offset)
		at.Offset = log.first
	case renewed:
		w.g.c.log.Error("log ends before what was committed: it was made anew, or has lost its end; reading it from its start",
			"group", w.g.cfg.Group, "topic", w.partition.Topic, "partition", w.partition.ID, "offset", at.Offset, "end", log.end)
		at.Offset = log.first
	}
	w.show(func() { w.next, w.high = at.Offset, log.end })
	w.assigned = stream.Assignment{Partition: w.partition, Offset: at.Offset, Metadata: at.Metadata, Renewed: renewed}
}

func (w *worker) lose(n int64) {
	w.lost += n
	w.g.c.metrics.lost.Add(float64(n))
	w.g.c.log.Error("records lost: the broker dropped them unread",
		"group", w.g.cfg.Group, "topic", w.partition.Topic, "partition", w.partition.ID, "count", n)
}

// run works until ctx is done, or until only a new generation can help.
func (w *worker) run(ctx context.Context, at Committed, found bool) {
	err := w.begin(ctx, at, found)
	if err == nil {
		err = w.readOn(ctx, w.g.newHandler(w.assigned))
	}
	if ctx.Err() == nil {
		w.g.c.log.Warn("partition given back", "group", w.g.cfg.Group, "topic", w.partition.Topic, "partition", w.partition.ID, "err", err)
		sleep(ctx, time.Second)
	}
}

// readOn reads and goes on at the log's start when that has overtaken the reader. A
// log that has become shorter is another one and gets another handler, by the next
// generation.
func (w *worker) readOn(ctx context.Context, h stream.Handler) error {
	for {
		err := w.read(ctx, h)
		if ctx.Err() != nil || !errors.Is(err, kafka.OffsetOutOfRange) {
			return err
		}
		log, err := w.bounds(ctx)
		if err != nil {
			return err
		}
		if w.next > log.end {
			return fmt.Errorf("offset %d is beyond the log's end %d", w.next, log.end)
		}
		sleep(ctx, 100*time.Millisecond) // also where the broker contradicts itself
		w.start(Committed{Offset: w.next}, log)
	}
}

// read handles batches from w.next on.
func (w *worker) read(ctx context.Context, h stream.Handler) error {
	rctx, cancel := context.WithCancel(ctx)
	f, err := w.g.c.open(rctx, w.partition, w.next)
	if err != nil {
		cancel()
		return err
	}
	defer f.close(w.g.c)
	defer cancel()
	w.show(func() { w.feed = f })
	defer w.show(func() { w.feed, w.took = nil, time.Time{} })
	for {
		if err := w.waitHeld(ctx); err != nil {
			return err
		}
		records, high, err := f.take(ctx)
		if err != nil {
			return err
		}
		for _, part := range split(records) {
			w.show(func() { w.took, w.oldest, w.unread = time.Now(), part[0].Time, time.Time{} })
			if err := w.batch(ctx, h, stream.Batch{Partition: w.partition, Records: part, HighWater: high}); err != nil {
				return err
			}
		}
		w.show(func() { w.took = time.Time{} })
	}
}

func (w *worker) waitHeld(ctx context.Context) error {
	for w.hold != nil && w.hold(w.partition) {
		w.show(func() {
			if w.heldSince.IsZero() {
				w.heldSince = time.Now()
			}
		})
		if !sleep(ctx, 20*time.Millisecond) {
			return ctx.Err()
		}
	}
	w.show(func() { w.heldSince = time.Time{} })
	return nil
}

// batch has a batch handled and commits it.
func (w *worker) batch(ctx context.Context, h stream.Handler, b stream.Batch) error {
	if err := w.noteGap(ctx, b.Records[0].Offset); err != nil {
		return err
	}
	b.Lost = w.lost
	w.show(func() { w.high = b.HighWater })
	metadata, err := w.handle(ctx, h, b)
	if err != nil {
		return err
	}
	at := Committed{Offset: b.Records[len(b.Records)-1].Offset + 1, Metadata: metadata}
	if err := w.commit(at); err != nil {
		return err
	}
	w.lost = 0
	w.show(func() { w.next = at.Offset })
	w.g.c.metrics.consumed.Add(float64(len(b.Records)))
	return nil
}

// noteGap tells records that were dropped from offsets that never held one: only
// those below the log's start are lost, others are transaction markers.
func (w *worker) noteGap(ctx context.Context, offset int64) error {
	if offset <= w.next {
		return nil
	}
	first, _, err := w.g.c.Bounds(ctx, w.partition)
	if err != nil {
		return err
	}
	if n := min(first, offset) - w.next; n > 0 {
		w.lose(n)
	}
	return nil
}

// handle tries a batch until it succeeds, and logs the first failure and the end of
// it. The end of the generation or of the process does not cut an attempt short, but
// there is no further one.
func (w *worker) handle(ctx context.Context, h stream.Handler, b stream.Batch) (string, error) {
	log := w.g.c.log.With("group", w.g.cfg.Group, "topic", w.partition.Topic, "partition", w.partition.ID, "offset", b.Records[0].Offset)
	attempt, said := 1, ""
	for wait := newBackoff(100*time.Millisecond, 30*time.Second); ; attempt++ {
		metadata, err := h.Handle(w.g.handling, b)
		w.show(func() { w.trial = err })
		if err == nil {
			if attempt > 1 {
				log.Info("batch handled after all", "attempt", attempt)
			}
			return metadata, nil
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		w.g.c.metrics.handleErrors.Inc()
		if text := err.Error(); text != said {
			said = text
			log.Error("batch not handled; trying again until it is", "attempt", attempt, "err", err)
		}
		if !wait.sleep(ctx) {
			return "", ctx.Err()
		}
	}
}

// commit commits for a while even if the generation has ended: Kafka takes it until
// the group has rejoined, and kafka-go rejoins only after the workers.
func (w *worker) commit(at Committed) error {
	ctx, cancel := context.WithTimeoutCause(w.g.handling, w.g.c.cfg.SessionTimeout, errors.New("session_timeout"))
	defer cancel()
	if err := persist(ctx, func() error { return w.g.c.commit(ctx, w.gen, w.partition, at) }); err != nil {
		return fmt.Errorf("commit offset %d: %w", at.Offset, err)
	}
	return nil
}

func (w *worker) show(set func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	set()
}
