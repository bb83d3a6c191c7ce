package lane

import (
	"container/heap"
	"slices"
	"time"
)

// Room reports whether the machine takes changes now. If it does not, the cursor
// stops: the subscription is suspended, its breaker is open, its window is full, or
// as much is parked as may be. After a restart the log is always read up to the last
// parked delivery.
func (m *Machine) Room() bool {
	p := &m.policy
	if m.held > 0 { // what is parked cannot drain before the log is read up to it
		return m.suspension == nil && m.window < p.Window
	}
	return m.suspension == nil && !m.breaker.Open() &&
		m.window < p.Window && m.bytes < p.WindowBytes &&
		m.parked < p.MaxParked && m.parkedBytes < p.MaxParkedBytes
}

// Drained reports whether there is room for a good while, so that a reader that had
// stopped for want of room may start again without stopping at once.
func (m *Machine) Drained() bool {
	p := &m.policy
	return m.Room() && m.window <= p.Window/2 &&
		(m.held > 0 || m.bytes <= p.WindowBytes/2 && m.parked <= p.MaxParked/10*9 && m.parkedBytes <= p.MaxParkedBytes/10*9)
}

// Pass accounts for a change that the subscription does not want. Offsets of one
// partition must rise from call to call of Pass and Take.
func (m *Machine) Pass(partition int, offset int64, id string) {
	l := m.ledger(partition)
	l.pass(offset, id)
	m.unhold(l)
}

// Take accepts a change. A repeat of one that the machine still has is only
// accounted for.
func (m *Machine) Take(c Change) {
	l := m.ledger(c.Partition)
	defer m.unhold(l)
	if m.items[c.ID] != nil || m.dead[c.ID] {
		l.pass(c.Offset, c.ID)
		return
	}
	it := &item{
		Parked: Parked{ID: c.ID, Lane: c.Lane, Partition: c.Partition, Offset: c.Offset, Size: c.size()},
		event:  &c.Event,
		entry:  l.add(c.Offset, c.ID),
	}
	m.items[c.ID] = it
	m.window++
	m.open++
	m.bytes += it.Size
	ln := m.insert(it)
	if head := ln.items[0]; head != it && head.failed {
		m.park(it)
	}
}

// Jump moves on to another place in the log, after a gap that the caller has
// accounted for.
func (m *Machine) Jump(partition int, offset int64) {
	l := m.ledger(partition)
	l.next, l.last = offset, ""
	m.unhold(l)
}

// unhold frees the deliveries that the log has been read up to.
func (m *Machine) unhold(l *ledger) {
	for len(l.held) > 0 && l.held[0].Offset < l.next {
		it := l.held[0]
		l.held = l.held[1:]
		m.held--
		it.held = false
		if ln := m.lanes[it.Lane]; ln.state == held {
			m.start(ln)
		}
	}
}

// insert puts an item into its lane, at its place in the order of the log. That is
// the end, but for what a restart or a redelivery brings back.
func (m *Machine) insert(it *item) *lane {
	ln := m.lanes[it.Lane]
	if ln == nil {
		ln = &lane{key: it.Lane}
		m.lanes[it.Lane] = ln
	}
	at := len(ln.items)
	for at > 0 && ln.items[at-1].Offset > it.Offset {
		at--
	}
	if at == 0 && len(ln.items) > 0 && (ln.state == flying || ln.state == dying) {
		at = 1
	}
	ln.items = slices.Insert(ln.items, at, it)
	if at == 0 {
		m.start(ln)
	}
	return ln
}

// start makes the lane's head ready, or lets it wait until it is due.
func (m *Machine) start(ln *lane) {
	if len(ln.items) == 0 {
		delete(m.lanes, ln.key)
		return
	}
	if ln.items[0].held {
		ln.state = held
		return
	}
	if due := ln.items[0].Due; !due.IsZero() {
		ln.state, ln.due = waiting, due
		heap.Push(&m.due, dueEntry{at: due, lane: ln})
		return
	}
	m.enqueue(ln)
}

func (m *Machine) enqueue(ln *lane) {
	ln.state = ready
	if !ln.queued {
		ln.queued = true
		m.ready = append(m.ready, ln)
	}
}

// park stores a delivery that cannot go out soon, if that is allowed now; if it is
// not, the delivery stays in memory and holds the cursor.
func (m *Machine) park(it *item) {
	switch {
	case it.parked:
		m.write(it, Park)
	case m.mayPark():
		it.parked = true
		m.parked++
		m.parkedBytes += it.Size
		m.write(it, Park)
	case !it.unsaved:
		it.unsaved = true
		m.unsaved = append(m.unsaved, it)
	}
}

func (m *Machine) mayPark() bool {
	return m.suspension == nil && !m.breaker.Open() &&
		m.parked < m.policy.MaxParked && m.parkedBytes < m.policy.MaxParkedBytes
}

// parkUnsaved parks what could not be parked before and still waits.
func (m *Machine) parkUnsaved() {
	for len(m.unsaved) > 0 && m.mayPark() {
		it := m.unsaved[0]
		m.unsaved = m.unsaved[1:]
		it.unsaved = false
		if it.done || it.parked {
			continue
		}
		ln := m.lanes[it.Lane]
		if head := ln.items[0]; head.failed && (head != it || ln.state == waiting) {
			m.park(it)
		}
	}
}

// Rest parks what keeps the low-water mark below changes that are settled: they would
// be delivered once more after a clean stop. What is in flight stays as it is. Nothing
// is to be picked any more.
func (m *Machine) Rest() {
	last := make(map[int]int64, len(m.ledgers))
	for id, l := range m.ledgers {
		last[id] = l.lastSettled()
	}
	for _, it := range m.items {
		ln := m.lanes[it.Lane]
		if it.entry == nil || it.parked || it.Offset > last[it.Partition] || ln.state == flying && ln.items[0] == it {
			continue
		}
		m.park(it)
	}
}

// write asks for a write about an item, in place of one not yet handed out.
func (m *Machine) write(it *item, kind WriteKind) {
	it.want = kind
	if !it.writing && !it.dirty {
		it.dirty = true
		m.dirty = append(m.dirty, it)
	}
}

// Writes hands out at most n writes to make durable, in any order. Each is answered
// for with Written.
func (m *Machine) Writes(n int) []Write {
	var ws []Write
	for len(m.dirty) > 0 && len(ws) < n {
		it := m.dirty[0]
		m.dirty[0] = nil
		m.dirty = m.dirty[1:]
		it.dirty = false
		if it.want == 0 {
			m.drop(it)
			continue
		}
		it.writing = true
		it.wrote, it.want = it.want, 0
		ws = append(ws, Write{Kind: it.wrote, Parked: it.Parked, Event: it.event, Code: it.code, Detail: it.detail})
	}
	return ws
}

// drop forgets an item that is done and has nothing left to write.
func (m *Machine) drop(it *item) {
	if it.done && !it.writing && !it.dirty {
		delete(m.items, it.ID)
	}
}

// Written says that the last write handed out for the delivery is durable.
func (m *Machine) Written(id string) {
	it := m.items[id]
	if it == nil || !it.writing {
		return
	}
	it.writing = false
	switch it.wrote {
	case Park:
		it.durable = true
		m.settle(it)
		m.forget(it)
	case Unpark:
		it.durable = false
	case Dead:
		m.finish(it)
	}
	if it.want != 0 {
		m.write(it, it.want)
	}
	m.drop(it)
	m.parkUnsaved()
}

// forget drops an item's bytes from memory: the store has them, or nobody needs them.
func (m *Machine) forget(it *item) {
	if it.event != nil {
		it.event = nil
		m.bytes -= it.Size
	}
}

// settle lets the low-water mark pass an item.
func (m *Machine) settle(it *item) {
	if it.entry == nil {
		return
	}
	it.entry.settled = true
	it.entry = nil
	m.open--
	m.window -= m.ledgers[it.Partition].trim()
}

// finish takes the head out of its lane, because it is delivered or dead.
func (m *Machine) finish(it *item) {
	it.done = true
	m.settle(it)
	m.forget(it)
	if it.parked {
		it.parked = false
		m.parked--
		m.parkedBytes -= it.Size
	}
	if it.durable || it.writing {
		m.write(it, Unpark)
	} else {
		it.want = 0
		m.drop(it)
	}
	ln := m.lanes[it.Lane]
	ln.items[0] = nil
	ln.items = ln.items[1:]
	m.start(ln)
}

// Tick makes ready what is due. Pick does the same.
func (m *Machine) Tick(now time.Time) {
	for len(m.due) > 0 && (m.due[0].stale() || !m.due[0].at.After(now)) {
		m.release()
	}
}

// release makes the lane that is due first ready.
func (m *Machine) release() {
	e := heap.Pop(&m.due).(dueEntry)
	if !e.stale() {
		m.enqueue(e.lane)
	}
}
