package listener

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/listener/notification"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// maxMutation is the largest mutation that goes into the log, in bytes: brokers
// take records of 1 MB by default, with all that Kafka adds to them.
const maxMutation = 900 << 10

// handler turns the records of one partition into mutations.
type handler struct {
	l  *Listener
	at stream.Partition
	// before and after are the tallies around the last batch handled, which ended
	// below next. If its commit failed it comes again, and is counted from before.
	before, after Tally
	next          int64
}

// verdict is what becomes of one record; exactly one of its members is set.
type verdict struct {
	ignored   string              // the reason
	dead      *notification.Error // why it is given up on
	mutations []stream.Record     // to be appended
}

// Handle implements stream.Handler. Dead letters are stored first, so that they
// show while the mutation log is out of reach.
func (h *handler) Handle(ctx context.Context, b stream.Batch) (string, error) {
	began := time.Now()
	if n := int64(len(b.Records)); !urgent(h.at.Topic) {
		h.l.inFlight.Add(n)
		defer h.l.inFlight.Add(-n)
	}
	verdicts := make([]verdict, len(b.Records))
	for i := range b.Records {
		verdicts[i] = h.judge(&b.Records[i])
	}
	if err := h.bury(ctx, b.Records, verdicts); err != nil {
		return "", err
	}
	if err := h.dispatch(ctx, b.Records, verdicts); err != nil {
		return "", err
	}
	metadata, err := h.settle(b, verdicts)
	h.l.metrics.handle.Observe(time.Since(began).Seconds())
	return metadata, err
}

// judge never fails: what it cannot make sense of is dead. A panic would come back
// with every replay and hold up the partition for good, so it is a verdict too.
func (h *handler) judge(rec *stream.Record) (v verdict) {
	defer func() {
		if recover() != nil {
			h.l.log.Error("record made the decoder panic", "topic", rec.Topic, "partition", rec.Partition,
				"offset", rec.Offset, "stack", string(debug.Stack()))
			v = verdict{dead: &notification.Error{Reason: "panic", Detail: "the decoder panicked: a defect of Fresnel"}}
		}
	}()
	n, err := notification.Decode(*rec, notification.Limits(h.l.config.Limits))
	if err != nil {
		return verdict{dead: asPoison(err)}
	}
	h.l.metrics.clock(n, rec.Time)
	result := h.l.deps.Catalog.Mutations(n)
	switch {
	case result.Err != nil:
		return verdict{dead: asPoison(result.Err)}
	case len(result.Mutations) > 0:
		return encode(result.Mutations, rec.Time)
	case result.Ignored != "":
		return verdict{ignored: result.Ignored}
	default:
		return verdict{ignored: "nothing_said"}
	}
}

// encode makes log records of a notification's mutations: all of them or none.
func encode(ms []resource.Mutation, at time.Time) verdict {
	out := make([]stream.Record, len(ms))
	for i := range ms {
		value := resource.EncodeMutation(&ms[i])
		if len(value) > maxMutation {
			return verdict{dead: tooLarge(len(value))}
		}
		out[i] = stream.Record{
			Topic: MutationsTopic, Partition: -1, Time: at, Key: []byte(ms[i].Ref.Key()), Value: value,
		}
	}
	return verdict{mutations: out}
}

// dispatch appends all mutations in record order. If the log finds one too large,
// the records go one by one and that one alone is given up on; what is appended
// twice by this is stale when it is folded.
func (h *handler) dispatch(ctx context.Context, recs []stream.Record, verdicts []verdict) error {
	var all []stream.Record
	for i := range verdicts {
		all = append(all, verdicts[i].mutations...)
	}
	if len(all) == 0 {
		return nil
	}
	err := h.l.deps.Producer.Produce(ctx, all)
	if err == nil || !errors.Is(err, stream.ErrTooLarge) {
		return wrap(err, "append %d mutations", len(all))
	}
	for i := range verdicts {
		v := &verdicts[i]
		if len(v.mutations) == 0 {
			continue
		}
		err := h.l.deps.Producer.Produce(ctx, v.mutations)
		if errors.Is(err, stream.ErrTooLarge) {
			*v = verdict{dead: tooLarge(len(recs[i].Value))}
			err = h.bury(ctx, recs[i:i+1], verdicts[i:i+1])
		}
		if err != nil {
			return wrap(err, "append %d mutations", len(v.mutations))
		}
	}
	return nil
}

// bury stores a dead letter for each record that is given up on. Storing one twice
// leaves one.
func (h *handler) bury(ctx context.Context, recs []stream.Record, verdicts []verdict) error {
	var letters []record.Record
	for i := range verdicts {
		if verdicts[i].dead == nil {
			continue
		}
		letter, err := deadLetter(&recs[i], verdicts[i].dead).Record()
		if err != nil {
			return err
		}
		letters = append(letters, letter)
	}
	if len(letters) == 0 {
		return nil
	}
	saved, err := h.l.deps.Records.Save(ctx, letters)
	for i := range saved {
		err = errors.Join(err, saved[i].Err)
	}
	return wrap(err, "store %d dead letters", len(letters))
}

// settle counts the batch and returns the tally to commit with it.
func (h *handler) settle(b stream.Batch, verdicts []verdict) (string, error) {
	first, last := b.Records[0].Offset, b.Records[len(b.Records)-1].Offset
	if first >= h.next {
		h.before = h.after
	}
	t := h.before.clone()
	t.Lost += b.Lost
	for i := range verdicts {
		t.Records++
		switch v := &verdicts[i]; {
		case v.dead != nil:
			count(&t.Dead, v.dead.Reason, 1)
			h.l.metrics.records.WithLabelValues(resultDead).Inc()
		case v.ignored != "":
			count(&t.Ignored, v.ignored, 1)
			h.l.metrics.records.WithLabelValues(resultIgnored).Inc()
		default:
			t.Dispatched++
			t.Mutations += int64(len(v.mutations))
			h.l.metrics.records.WithLabelValues(resultDispatched).Inc()
			h.l.metrics.mutations.Add(float64(len(v.mutations)))
		}
	}
	metadata, err := t.encode()
	if err != nil {
		return "", err
	}
	h.after, h.next = t, last+1
	h.l.metrics.lost.Add(float64(b.Lost))
	if b.Lost > 0 {
		h.l.log.Error("records lost before they were read", "topic", h.at.Topic, "partition", h.at.ID,
			"offset", first, "count", b.Lost)
	}
	h.l.note(h.at, Book{Offset: h.next, Behind: max(0, b.HighWater-h.next), Tally: t})
	return metadata, nil
}

func deadLetter(rec *stream.Record, why *notification.Error) record.DeadLetter {
	d := record.DeadLetter{
		ID:     fmt.Sprintf("%s/%s/%d/%d", record.DeadNotification, rec.Topic, rec.Partition, rec.Offset),
		Kind:   record.DeadNotification,
		Reason: why.Reason, Detail: why.Detail, Time: time.Now().UTC(),
		Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Key: rec.Key, Value: rec.Value,
	}
	for _, header := range rec.Headers {
		if d.Headers == nil {
			d.Headers = make(map[string][]byte)
		}
		d.Headers[header.Key] = header.Value
	}
	return d
}

func tooLarge(n int) *notification.Error {
	return &notification.Error{Reason: "too_large", Detail: fmt.Sprintf("%d bytes are more than the mutation log takes", n)}
}

func asPoison(err error) *notification.Error {
	if poison, ok := errors.AsType[*notification.Error](err); ok {
		return poison
	}
	return &notification.Error{Reason: "malformed", Detail: err.Error()}
}

// wrap adds context to an error and leaves nil alone.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}
