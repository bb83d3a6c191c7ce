package kafka

import (
	"sync"
	"time"
)

// trouble keeps one thing that fails for a while from filling the log: whoever meets
// it logs only when begin or over says that the state changed. Its size is bounded by
// the things there are: groups and partitions.
type trouble struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// calm is how long nothing must have been heard of a trouble to call the next one new.
const calm = time.Minute

// begin notes that something fails and reports whether that is news.
func (t *trouble) begin(what string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil {
		t.last = map[string]time.Time{}
	}
	before, found := t.last[what]
	t.last[what] = time.Now()
	return !found || time.Since(before) > calm
}

// over notes that something works and reports whether that is news.
func (t *trouble) over(what string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, found := t.last[what]
	delete(t.last, what)
	return found
}
