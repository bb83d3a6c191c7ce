package host

import (
	"context"
	"sync"
	"time"
)

// window bounds the batches under way: in all, and to one destination, so that one
// that hangs leaves room for the others.
type window struct {
	each int

	mu      sync.Mutex
	running int
	by      map[string]int
	freed   chan struct{} // closed when a batch ends
}

func newWindow(each int) *window {
	return &window{each: each, by: map[string]int{}, freed: make(chan struct{})}
}

// acquire waits for room for a batch.
func (w *window) acquire(ctx context.Context, key string, all int) error {
	for {
		w.mu.Lock()
		if w.running < all && w.by[key] < w.each {
			w.running++
			w.by[key]++
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
	if w.by[key]--; w.by[key] == 0 {
		delete(w.by, key)
	}
	close(w.freed)
	w.freed = make(chan struct{})
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
