package host

import (
	"context"
	"sync"
	"time"
)

// window bounds the batches under way: in all, and to one destination, so that one
// that hangs leaves room for the others. What it admits in all is halved when the
// plugin says that it is too much, and grows again with each batch that ends well.
type window struct {
	each int

	mu      sync.Mutex
	limit   float64 // of all; 0 until something was too much
	running int
	by      map[string]int
	alone   bool          // one runs that nothing may run beside
	queued  int           // of those, waiting
	freed   chan struct{} // closed when a batch ends
}

func newWindow(each int) *window {
	return &window{each: each, by: map[string]int{}, freed: make(chan struct{})}
}

// acquire waits for room for a batch; all is the most that the plugin takes.
func (w *window) acquire(ctx context.Context, key string, all int) error {
	return w.wait(ctx, func() bool {
		most := all
		if w.limit > 0 {
			most = min(most, max(int(w.limit), 1))
		}
		if w.alone || w.queued > 0 || w.running >= most || w.by[key] >= w.each {
			return false
		}
		w.running++
		w.by[key]++
		return true
	})
}

// acquireAlone waits until nothing runs; until release nothing else will.
func (w *window) acquireAlone(ctx context.Context, key string) error {
	w.mu.Lock()
	w.queued++
	w.mu.Unlock()
	err := w.wait(ctx, func() bool {
		if w.running > 0 {
			return false
		}
		w.running++
		w.by[key]++
		w.alone = true
		return true
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queued--
	if err != nil {
		w.wake()
	}
	return err
}

// wait tries again whenever a batch has ended; try is called with mu held.
func (w *window) wait(ctx context.Context, try func() bool) error {
	for {
		w.mu.Lock()
		if try() {
			w.mu.Unlock()
			return nil
		}
		freed := w.freed
		w.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (w *window) release(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running--
	w.alone = false
	if w.by[key]--; w.by[key] == 0 {
		delete(w.by, key)
	}
	w.wake()
}

// wake has those who wait look again. mu is held.
func (w *window) wake() {
	close(w.freed)
	w.freed = make(chan struct{})
}

// shrink halves what is admitted in all.
func (w *window) shrink() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.limit == 0 {
		w.limit = float64(w.running)
	}
	w.limit = max(w.limit/2, 1)
}

// grow takes back a little of what shrink did.
func (w *window) grow(all int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.limit == 0 {
		return
	}
	if w.limit += 1 / w.limit; int(w.limit) >= all {
		w.limit = 0
	}
}

// size is how many batches run, and how many may at most.
func (w *window) size(all int) (running, most int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.limit > 0 {
		all = min(all, max(int(w.limit), 1))
	}
	return w.running, all
}

// progress tells whether a plugin answers for what it has: a deadlock of its handlers
// shows nowhere else.
type progress struct {
	mu      sync.Mutex
	batches int
	since   time.Time // of the oldest silence; zero if there is none
}

func (p *progress) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.batches++
	if p.since.IsZero() {
		p.since = time.Now()
	}
}

func (p *progress) answered(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = now
}

// end says that a batch is over; the silence goes on if it was not answered for.
func (p *progress) end(complete bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.batches--
	if complete && p.batches == 0 {
		p.since = time.Time{}
	}
}

// stalled is how long the plugin has had deliveries and answered for none.
func (p *progress) stalled(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since.IsZero() || p.batches == 0 {
		return 0
	}
	return now.Sub(p.since)
}
