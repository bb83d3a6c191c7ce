package publishers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/lane"
)

const (
	// cursorInterval is how often cursors are saved at most.
	cursorInterval = 100 * time.Millisecond
	// maxSave and maxSaveBytes bound one request to the store.
	maxSave      = 256
	maxSaveBytes = 4 << 20
	// retryMin and retryMax bound the wait after a store or a log that failed.
	retryMin = 50 * time.Millisecond
	retryMax = 5 * time.Second
)

// errInvalid says that another process may be at work by now.
var errInvalid = errors.New("this process may not deliver any more")

// saver makes durable what the machines of all subscriptions want to be: one request
// for all of them, one at a time. Parked deliveries and dead letters go at once,
// cursors every cursorInterval.
type saver struct {
	records record.Store
	topic   string
	writer  string // this run of the engine
	log     *slog.Logger
	metrics *metrics
	valid   func() bool

	urgent, idle chan struct{} // something to save: at once, or with the cursors
	subs         []*subscription
}

// wake says that there is something to save.
func (v *saver) wake(urgent bool) {
	if urgent {
		wake(v.urgent)
		return
	}
	wake(v.idle)
}

// run saves until ctx is done.
func (v *saver) run(ctx context.Context) {
	var due <-chan time.Time
	wait := retryMin
	for {
		cursors := false
		select {
		case <-ctx.Done():
			return
		case <-v.urgent:
		case <-v.idle:
			if due == nil {
				due = time.After(cursorInterval)
			}
			continue
		case <-due:
			due, cursors = nil, true
		}
		if err := v.save(ctx, cursors); err != nil && ctx.Err() == nil {
			v.log.Warn("state of subscriptions not saved", "err", err, "wait", wait)
			pause(ctx, wait)
			wait = min(2*wait, retryMax)
			v.wake(true)
			v.wake(false)
			continue
		}
		if cursors { // all is saved, not only what was urgent, if there was any
			wait = retryMin
		}
	}
}

// pause waits for d or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// job is one record to save and what follows when it is durable.
type job struct {
	rec  record.Record
	done func(record.Saved) error
}

// save saves everything there is to save now, with the cursors if asked for. An
// error says that something was not saved; it is kept and comes again.
func (v *saver) save(ctx context.Context, cursors bool) error {
	if !v.valid() {
		return errInvalid
	}
	var errs []error
	var jobs []job
	size := 0
	flush := func() {
		errs = append(errs, v.request(ctx, jobs))
		jobs, size = nil, 0
	}
	add := func(j job) {
		if size += len(j.rec.Value); len(jobs) >= maxSave || len(jobs) > 0 && size > maxSaveBytes {
			flush()
			size = len(j.rec.Value)
		}
		jobs = append(jobs, j)
	}
	for _, s := range v.subs {
		if err := v.collect(ctx, s, cursors, add); err != nil {
			errs = append(errs, err)
		}
	}
	flush()
	return errors.Join(errs...)
}

// all saves until nothing is left to save, cursors last.
func (v *saver) all(ctx context.Context) error {
	for {
		if err := v.save(ctx, false); err != nil {
			return err
		}
		if !slices.ContainsFunc(v.subs, (*subscription).dirty) {
			return v.save(ctx, true)
		}
	}
}

// request sends one request to the store and hands out what came of it.
func (v *saver) request(ctx context.Context, jobs []job) error {
	if len(jobs) == 0 {
		return nil
	}
	records := make([]record.Record, len(jobs))
	for i, j := range jobs {
		records[i] = j.rec
	}
	saved, err := v.records.Save(ctx, records)
	if err != nil {
		return err
	}
	var errs []error
	for i, j := range jobs {
		if err := j.done(saved[i]); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// collect adds a subscription's writes and, if asked for, its state. The state is
// taken first: it relies only on what is durable already.
func (v *saver) collect(ctx context.Context, s *subscription, cursors bool, add func(job)) error {
	s.mu.Lock()
	if s.fenced {
		s.mu.Unlock()
		return nil
	}
	var state []byte
	var err error
	asked := s.asked
	if cursors {
		state, err = s.encodeState(v.writer)
	}
	s.unsaved = append(s.unsaved, s.machine.Writes(maxSave)...)
	more := s.machine.Dirty()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if more {
		v.wake(true)
	}
	writes := s.unsaved
	s.unsaved = nil
	for i, w := range writes {
		j, err := v.job(ctx, s, w)
		if err != nil {
			s.unsaved = append(s.unsaved, writes[i:]...)
			return err
		}
		s.unsaved = append(s.unsaved, w)
		add(j)
	}
	switch {
	case state == nil:
	case bytes.Equal(state, s.saved):
		s.keep(asked)
	default:
		add(v.stateJob(ctx, s, state, asked))
	}
	return nil
}

func (v *saver) stateJob(ctx context.Context, s *subscription, state []byte, asked int64) job {
	rec := record.Record{Table: subscriptionsTable, Key: s.config.Name, Value: state, Version: s.version}
	return job{rec, func(saved record.Saved) error {
		switch {
		case saved.Err == nil:
			s.saved, s.version = state, saved.Version
			s.keep(asked)
			return nil
		case errors.Is(saved.Err, record.ErrConflict):
			return errors.Join(saved.Err, v.conflict(ctx, s))
		}
		return saved.Err
	}}
}

// conflict looks who wrote the state record: if it was this engine, whose answer was
// lost, it goes on from there; a rival has taken the subscription over.
func (v *saver) conflict(ctx context.Context, s *subscription) error {
	r, err := v.records.Read(ctx, subscriptionsTable, s.config.Name)
	if err != nil {
		return err
	}
	var st stateRecord
	if r.Version != 0 {
		if err := json.Unmarshal(r.Value, &st); err != nil {
			return err
		}
	}
	if r.Version != 0 && st.Writer != v.writer {
		s.fence()
		return nil
	}
	s.saved, s.version = r.Value, r.Version
	return nil
}

// job makes the record of a write. What the machine does not hold any more is read
// from the store.
func (v *saver) job(ctx context.Context, s *subscription, w lane.Write) (job, error) {
	rec := record.Record{Table: parkedTable, Key: parkedKey(s.config.Name, w.Parked.ID), Version: record.Any}
	var err error
	if w.Kind != lane.Unpark {
		rec, err = v.content(ctx, s, w)
	}
	return job{rec, func(saved record.Saved) error {
		if saved.Err != nil {
			return saved.Err
		}
		s.written(w)
		if w.Kind == lane.Dead {
			v.metrics.dead.WithLabelValues(s.config.Publisher).Inc()
		}
		return nil
	}}, err
}

func (v *saver) content(ctx context.Context, s *subscription, w lane.Write) (record.Record, error) {
	var e delivery.Event
	if w.Event != nil {
		e = *w.Event
	} else {
		parked, err := readParked(ctx, v.records, s.config.Name, w.Parked.ID)
		switch {
		case errors.Is(err, errNotParked):
			s.log.Error("bytes of a parked delivery are lost", "event_id", w.Parked.ID)
		case err != nil:
			return record.Record{}, err
		default:
			e = *parked
		}
	}
	if w.Kind == lane.Dead {
		return deadRecord(deadLetter(s.config.Name, v.topic, w, e, time.Now().UTC()))
	}
	return encodeParked(s.config.Name, w.Parked, e)
}

// written tells the machine that a write is durable.
func (s *subscription) written(w lane.Write) {
	for i := range s.unsaved {
		if s.unsaved[i].Parked.ID == w.Parked.ID {
			s.unsaved = append(s.unsaved[:i], s.unsaved[i+1:]...)
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.machine.Written(w.Parked.ID)
	if w.Kind == lane.Dead {
		s.log.Warn("delivery is a dead letter", "event_id", w.Parked.ID, "code", w.Code, "attempt", w.Parked.Tries)
	}
	s.changed()
	s.saver.wake(false)
}

// encodeState is the state record as of now. mu is held.
func (s *subscription) encodeState(writer string) ([]byte, error) {
	r := stateRecord{Writer: writer, Created: s.created, Gaps: s.gaps}
	r.set(s.machine.State())
	return json.Marshal(r)
}
