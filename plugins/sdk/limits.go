package sdk

import (
	"context"
	"sync"
)

// work counts the deliveries that were taken and not yet answered for.
type work struct {
	mu       sync.Mutex
	n        int
	draining bool
	idle     chan struct{} // made by drain, closed when n reaches zero
}

// begin takes n deliveries, unless the plugin is draining.
func (w *work) begin(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.draining {
		w.n += n
	}
	return !w.draining
}

func (w *work) end(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n -= n
	if w.n == 0 && w.idle != nil {
		close(w.idle)
		w.idle = nil
	}
}

func (w *work) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n
}

// drain refuses what comes and waits for what is there; it returns what is left when
// ctx is done.
func (w *work) drain(ctx context.Context) int {
	w.mu.Lock()
	w.draining = true
	if w.n > 0 && w.idle == nil {
		w.idle = make(chan struct{})
	}
	idle := w.idle
	w.mu.Unlock()
	if idle == nil {
		return 0
	}
	select {
	case <-idle:
		return 0
	case <-ctx.Done():
		return w.count()
	}
}

// limiter bounds how many attempts run at once: in all, and to one destination, so
// that one destination that hangs leaves room for the others.
type limiter struct {
	each int
	all  chan struct{}
	mu   sync.Mutex
	by   map[string]*slots
}

type slots struct {
	free  chan struct{}
	users int
}

func newLimiter(each int) *limiter {
	const destinations = 8
	return &limiter{each: each, all: make(chan struct{}, destinations*each), by: map[string]*slots{}}
}

// open returns the slots of a destination, to be closed by the same key.
func (l *limiter) open(key string) *slots {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.by[key]
	if s == nil {
		s = &slots{free: make(chan struct{}, l.each)}
		l.by[key] = s
	}
	s.users++
	return s
}

func (l *limiter) close(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.by[key]; s != nil {
		if s.users--; s.users == 0 {
			delete(l.by, key)
		}
	}
}

// acquire waits for room to make an attempt; false if ctx was done first.
func (l *limiter) acquire(ctx context.Context, s *slots) bool {
	select {
	case s.free <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	select {
	case l.all <- struct{}{}:
		return true
	case <-ctx.Done():
		<-s.free
		return false
	}
}

func (l *limiter) release(s *slots) {
	<-l.all
	<-s.free
}
