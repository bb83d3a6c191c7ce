package catalog

import (
	"sync"
	"sync/atomic"
)

// memoMost and memoLength bound what is remembered: names come from outside.
const memoMost, memoLength = 4096, 128

// memo remembers what follows from a name, such as the rules of an event type, where
// finding it out takes longer than using it. It is safe for concurrent use.
type memo[V any] struct {
	n      atomic.Int64
	values sync.Map // V by name
}

func (m *memo[V]) get(name string) (value V, ok bool) {
	if v, there := m.values.Load(name); there {
		value, ok = v.(V)
	}
	return value, ok
}

func (m *memo[V]) put(name string, value V) {
	if len(name) > memoLength || m.n.Load() >= memoMost {
		return
	}
	if _, there := m.values.LoadOrStore(name, value); !there {
		m.n.Add(1)
	}
}
