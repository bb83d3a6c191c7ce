package indexer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/fresnel-search/fresnel/indexer/fold"
	"github.com/fresnel-search/fresnel/indexer/resource"
)

// A write is tried again within a batch for some seconds; then the batch fails, and
// the consumer pauses and repeats it.
const (
	maxAttempts = 12
	firstPause  = 5 * time.Millisecond
	longPause   = time.Second
)

// write stores the documents that differ. Each is acknowledged, or its mutations
// are given up on, when write returns nil.
func (h *handler) write(ctx context.Context, ws *works) error {
	var unsure, pending []*work
	for _, w := range ws.list {
		if w.broken || w.guessed && !w.dirty {
			unsure = append(unsure, w)
		}
	}
	if err := h.refold(ctx, ws.first, unsure); err != nil {
		return err
	}
	for _, w := range ws.list {
		if w.dirty {
			pending = append(pending, w)
		}
	}
	var last error
	for attempt := 0; len(pending) > 0; attempt++ {
		if attempt == maxAttempts {
			return fmt.Errorf("write %d documents: %w", len(pending), last)
		}
		if attempt > 0 {
			h.x.metrics.rewrites.Add(float64(len(pending)))
			if err := pause(ctx, attempt); err != nil {
				return err
			}
		}
		var err error
		if pending, last, err = h.writeOnce(ctx, ws.first, pending); err != nil {
			return err
		}
	}
	return nil
}

// writeOnce writes once and returns what is to be written again, and why.
func (h *handler) writeOnce(ctx context.Context, first int64, pending []*work) (again []*work, why, err error) {
	docs := make([]resource.Document, len(pending))
	for i, w := range pending {
		docs[i] = *w.doc
	}
	written, why := h.x.deps.Store.Write(ctx, docs)
	if why == nil && len(written) != len(docs) {
		why = fmt.Errorf("store answered for %d of %d documents", len(written), len(docs))
	}
	var refold []*work
	guessed, right := 0, 0
	if why != nil {
		// No outcome is known, and some may be stored: what is there now decides.
		refold, pending = pending, nil
	}
	for i, w := range pending {
		e := written[i].Err
		if w.guessed {
			guessed++
			if e == nil {
				right++
			}
		}
		switch {
		case e == nil:
			w.doc.Version, w.dirty = written[i].Version, false
			h.x.metrics.documents.Inc()
		case errors.Is(e, ErrRejected):
			if err := h.isolate(ctx, first, w); err != nil {
				return nil, nil, err
			}
		case errors.Is(e, ErrAgain):
			again, why = append(again, w), e
		default:
			refold, why = append(refold, w), e
		}
	}
	h.newcomers.note(right, guessed)
	if err := h.refold(ctx, first, refold); err != nil {
		return nil, nil, errors.Join(why, err)
	}
	for _, w := range refold {
		if w.dirty {
			again = append(again, w)
		}
	}
	return again, why, nil
}

// isolate stores a rejected document's mutations one by one, so that only those are
// given up on that the store will not take.
func (h *handler) isolate(ctx context.Context, first int64, w *work) error {
	if err := h.fetch(ctx, []*work{w}, []resource.Ref{w.doc.Ref}); err != nil {
		return err
	}
	fold.Evict(w.doc, h.log, first)
	for _, it := range w.items {
		if !it.folds() {
			continue
		}
		keep := w.doc.Clone()
		w.dirty = false
		w.apply(h, it)
		if w.broken {
			w.doc, w.broken = keep, false
			continue
		}
		if !w.dirty {
			continue
		}
		written, err := h.x.deps.Store.Write(ctx, []resource.Document{*w.doc})
		if err == nil && len(written) != 1 {
			err = fmt.Errorf("store answered for %d of 1 documents", len(written))
		}
		if err == nil {
			err = written[0].Err
		}
		switch {
		case err == nil:
			w.doc.Version = written[0].Version
		case errors.Is(err, ErrRejected):
			w.doc, it.dead = keep, &death{"rejected", err.Error()}
		default:
			return fmt.Errorf("write a document by single mutations: %w", err)
		}
	}
	w.dirty = false
	return nil
}

// pause waits longer with each attempt, and never as long as another one does.
func pause(ctx context.Context, attempt int) error {
	d := min(firstPause<<attempt, longPause)
	t := time.NewTimer(d/2 + rand.N(d/2))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
