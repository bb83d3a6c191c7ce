package lane

import (
	"container/heap"
	"slices"
	"time"
)

// Room reports whether the machine takes changes now. If it does not, the cursor
// stops: the subscription is suspended, its breaker is open and it has something to
// probe with, its window is full, or
// as much is parked as may be. After a restart the log is always read up to the last
// parked delivery.
func (m *Machine) Room() bool {
	p := &m.policy
	if p.Live { // its open breaker keeps one change, to probe with
		return m.suspension == nil && m.window < p.Window && m.bytes < p.WindowBytes
	}
	if m.held > 0 { // what is parked cannot drain before the log is read up to it
		return m.suspension == nil && m.window < p.Window
	}
	probing := len(m.lanes) == 0 // an open breaker needs one to probe with
	return m.suspension == nil && (!m.breaker.Open() || probing) &&
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

// Supersede accounts for a change to which the log has a later state of the same
// resource that the subscription wants.
func (m *Machine) Supersede(partition int, offset int64, id string) {
	m.Pass(partition, offset, id)
	m.tally.Superseded++
}

// Take accepts a change. A repeat of one that the machine still has is only
// accounted for. A live machine without room drops it.
func (m *Machine) Take(c Change) {
	l := m.ledger(c.Partition)
	if m.items[c.ID] != nil || m.dead[c.ID] {
		m.Pass(c.Partition, c.Offset, c.ID)
		return
	}
	if m.policy.Live && !m.Room() {
		m.Pass(c.Partition, c.Offset, c.ID)
		m.tally.Dropped++
		return
	}
	if m.policy.Live && m.breaker.Open() {
		m.flush()
	}
	it := &item{
		Parked: Parked{
			ID: c.ID, Lane: c.Lane, Partition: c.Partition, Offset: c.Offset, Size: c.size(),
			Lineage: c.Lineage, Revision: c.Revision, Urgent: c.Urgent, Expires: c.Expires,
		},
		event: &c.Event,
		entry: l.add(c.Offset, c.ID, c.At),
	}
	m.items[c.ID] = it
	m.window++
	m.open++
	m.bytes += it.Size
	m.unhold(l)
	failed := false
	if m.policy.Latest && it.Revision > 0 {
		it.Due, failed = m.supersede(it)
	}
	ln := m.insert(it)
	it.failed = failed
	if head := ln.items[0]; head.failed {
		m.park(it)
	}
}

// supersede takes the states that were not sent yet out of the lane of a later one.
// If the first of them waits for another attempt, the later one waits in its place.
func (m *Machine) supersede(it *item) (due time.Time, failed bool) {
	ln := m.lanes[it.Lane]
	if ln == nil {
		return due, false
	}
	for i, old := range slices.Backward(ln.items) {
		if i == 0 && (ln.state == flying || ln.state == dying) || old.Revision == 0 || old.Offset > it.Offset {
			continue
		}
		if i == 0 && ln.state == waiting {
			due, failed = old.Due, old.failed
		}
		m.remove(ln, i)
		m.tally.Superseded++
	}
	return due, failed
}

// flush drops everything that waits. Only a live machine does that.
func (m *Machine) flush() {
	for _, it := range m.items {
		if ln := m.lanes[it.Lane]; !it.done && (ln.items[0] != it || ln.state != flying) {
			m.remove(ln, slices.Index(ln.items, it))
			m.tally.Dropped++
		}
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
	if it.Urgent {
		ln.urgent++
	}
	if at == 0 {
		m.start(ln)
	} else if ln.state == ready {
		m.enqueue(ln)
	}
	return ln
}

// start makes the lane's head ready, or lets it wait until it is due.
func (m *Machine) start(ln *lane) {
	if len(ln.items) == 0 {
		ln.state = empty
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

// enqueue makes a lane ready: before all others if it has anything urgent, at its head
// or behind that.
func (m *Machine) enqueue(ln *lane) {
	ln.state = ready
	q := ln.queue()
	if !ln.queued[q] {
		ln.queued[q] = true
		m.ready[q] = append(m.ready[q], ln)
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
		ws = append(ws, Write{Kind: it.wrote, Parked: it.Parked, Event: it.event, Code: it.Code, Detail: it.Detail})
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
		m.buried(it)
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

// buried lets a lane go on whose head is a dead letter now.
func (m *Machine) buried(it *item) {
	if it.Code == expired {
		m.tally.Expired++
	} else {
		m.tally.Dead++
	}
	m.miss(Miss{
		ID: it.ID, Lane: it.Lane, Partition: it.Partition, Offset: it.Offset, Lineage: it.Lineage, Revision: it.Revision,
	})
	m.finish(it)
}

// finish takes the head out of its lane, because it is delivered or dead.
func (m *Machine) finish(it *item) { m.remove(m.lanes[it.Lane], 0) }

// remove takes an item out of its lane for good.
func (m *Machine) remove(ln *lane, i int) {
	it := ln.items[i]
	it.done = true
	m.settle(it)
	m.forget(it)
	if it.parked {
		it.parked = false
		m.parked--
		m.parkedBytes -= it.Size
	}
	if it.held {
		it.held = false
		m.held--
		m.ledgers[it.Partition].unhold(it)
	}
	if it.durable || it.writing {
		m.write(it, Unpark)
	} else {
		it.want = 0
		m.drop(it)
	}
	ln.items = slices.Delete(ln.items, i, i+1)
	if it.Urgent {
		ln.urgent--
	}
	if i == 0 {
		m.start(ln)
	}
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
