package lane

import (
	"cmp"
	"slices"
	"time"
)

// ledger keeps the low-water mark of one partition: the offset of its first change
// that is not settled.
type ledger struct {
	next    int64    // the offset after the last change taken
	last    string   // that change's id
	entries []*entry // the changes from the mark on that matched, by offset
	held    []*item  // parked deliveries that next has not passed, by offset
}

// entry is the place of one matching change.
type entry struct {
	offset  int64
	before  string // the id of the change before it in the log
	at      time.Time
	settled bool
}

func (l *ledger) pass(offset int64, id string) { l.next, l.last = offset+1, id }

func (l *ledger) add(offset int64, id string, at time.Time) *entry {
	e := &entry{offset: offset, before: l.last, at: at}
	l.entries = append(l.entries, e)
	l.pass(offset, id)
	return e
}

func (l *ledger) hold(it *item) {
	at, _ := slices.BinarySearchFunc(l.held, it.Offset, func(h *item, offset int64) int {
		return cmp.Compare(h.Offset, offset)
	})
	l.held = slices.Insert(l.held, at, it)
}

func (l *ledger) unhold(it *item) {
	l.held = slices.DeleteFunc(l.held, func(h *item) bool { return h == it })
}

// trim drops what is settled below the mark and tells how much that was.
func (l *ledger) trim() (n int) {
	for n < len(l.entries) && l.entries[n].settled {
		l.entries[n] = nil
		n++
	}
	l.entries = l.entries[n:]
	return n
}

// lastSettled is the offset of the last change above the mark that is settled; -1 if
// there is none.
func (l *ledger) lastSettled() int64 {
	for _, e := range slices.Backward(l.entries) {
		if e.settled {
			return e.offset
		}
	}
	return -1
}

func (l *ledger) mark() Cursor {
	if len(l.entries) == 0 {
		return Cursor{Offset: l.next, ID: l.last}
	}
	return Cursor{Offset: l.entries[0].offset, ID: l.entries[0].before}
}

// dueHeap orders lanes by when their head is due. An entry whose lane has moved on
// is dropped when it comes up.
type dueHeap []dueEntry

type dueEntry struct {
	at   time.Time
	lane *lane
}

// stale reports whether the lane no longer waits for this moment.
func (e dueEntry) stale() bool { return e.lane.state != waiting || !e.lane.due.Equal(e.at) }

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is for container/heap.
func (h *dueHeap) Push(x any) { *h = append(*h, x.(dueEntry)) }

// Pop is for container/heap.
func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = dueEntry{}
	*h = old[:len(old)-1]
	return e
}
