package catalog

import (
	"sync"
	"sync/atomic"
)

// memoMost and memoLength bound what is remembered: event types come from outside.
const memoMost, memoLength = 4096, 128

// memo remembers the rules of event types, since asking all patterns takes longer than
// applying a rule. It is safe for concurrent use.
type memo struct {
	n     atomic.Int64
	rules sync.Map // []*rule by event type
}

func (m *memo) get(event string) ([]*rule, bool) {
	v, ok := m.rules.Load(event)
	if !ok {
		return nil, false
	}
	rules, ok := v.([]*rule)
	return rules, ok
}

func (m *memo) put(event string, rules []*rule) {
	if len(event) > memoLength || m.n.Load() >= memoMost {
		return
	}
	if _, there := m.rules.LoadOrStore(event, rules); !there {
		m.n.Add(1)
	}
}
