// Package lane decides about the deliveries of one subscription: which may be sent
// now, what follows from an outcome, what must be stored, and how far the
// subscription's cursor may move. Deliveries of one resource form a lane: they go
// out one at a time, in the order of the log; lanes go in parallel, within a window.
//
// It is a pure state machine: no goroutine, no clock, no I/O and no randomness of
// its own, so that every sequence of events can be tested. The engine (package
// publishers) feeds it with changes, outcomes and the time, and executes what Pick
// and Writes return. Its invariant: the low-water mark passes a change only when the
// change did not match, was delivered, or is in the store, parked or dead; or, as far
// as the subscription asked for it, was superseded by a later state that the mark has
// not passed, or dropped and counted.
package lane

import (
	"time"

	"github.com/fresnel-search/fresnel/publishers/delivery"
)

// Change is a change that the subscription wants.
type Change struct {
	ID        string // of the delivery; the same at every attempt and after a restart
	Lane      string // the resource's key
	Partition int
	Offset    int64
	Event     delivery.Event
	// Lineage and Revision say which state of the resource this is; an event, which
	// is no state, has no revision.
	Lineage  string
	Revision int64
	// Urgent lets the lane go before those that have nothing urgent.
	Urgent bool
	// Expires is when nobody wants it any more; zero is never.
	Expires time.Time
	// At is when the change was put into the log.
	At time.Time
}

// size is about what a change costs in memory.
func (c Change) size() int64 { return int64(len(c.Event.Data)) + 512 }

// Parked is a delivery in the store: it failed, or it waits behind one in its lane.
type Parked struct {
	ID        string
	Lane      string
	Partition int
	Offset    int64
	Size      int64
	// Tries counts the attempts made, Fails those that count against the schedule.
	Tries, Fails int
	// Due is when the next attempt may be made; zero is at once.
	Due time.Time
	// Alone says that the outcome of its last attempt is unknown.
	Alone bool
	// Code and Detail are of its last failure.
	Code, Detail string
	// The rest is as in Change.
	Lineage  string
	Revision int64
	Urgent   bool
	Expires  time.Time
}

// Miss is a delivery that was given up on.
type Miss struct {
	ID        string
	Lane      string
	Partition int
	Offset    int64
	Lineage   string
	Revision  int64
}

// Cursor is a low-water mark in one partition.
type Cursor struct {
	// Offset is of the first change not accounted for.
	Offset int64
	// ID is of the last change before Offset, to recognise the log by; empty if it
	// is not known.
	ID string
}

// Breaker is the state of a destination's circuit breaker.
type Breaker struct {
	// Since is when it opened; zero if it is closed.
	Since time.Time
	// Until is when the next probe may go out.
	Until  time.Time
	Probes int    // failed so far
	Code   string // of the outcome that opened it
	Detail string
}

// Open reports whether the breaker holds deliveries back.
func (b Breaker) Open() bool { return !b.Since.IsZero() }

// Suspension says why nothing is sent until somebody resumes the subscription.
type Suspension struct {
	Since  time.Time
	Code   string
	Detail string
}

// Paused is the code of a suspension that an operator asked for.
const Paused = "paused"

// Tally counts what became of the changes that the subscription wanted. A crash may
// count once more what it repeats.
type Tally struct {
	Delivered int64
	// Dead and Expired are kept as dead letters.
	Dead, Expired int64
	// Superseded ones gave way to a later state of their resource.
	Superseded int64
	// Dropped ones are told to nobody: the subscription is live.
	Dropped int64
}

// State is what survives a restart, together with the parked deliveries.
type State struct {
	Cursors    map[int]Cursor
	Breaker    Breaker
	Suspension *Suspension
	Tally      Tally
}

// Send is an attempt to make now.
type Send struct {
	ID      string
	Attempt int
	// Event is what to send; nil if it was parked and must be read from the store.
	Event *delivery.Event
	// Alone asks for a call of its own: the last attempt may have killed the plugin.
	Alone   bool
	Expires time.Time
	// Missed are those of its resource that were given up on, unless some deliveries
	// that were accepted have named them already; More says that there were others.
	Missed []Miss
	More   bool
}

// WriteKind is the kind of a write.
type WriteKind int

// The kinds of write: store a parked delivery or its new state, remove it, or keep
// a dead letter.
const (
	Park WriteKind = iota + 1
	Unpark
	Dead
)

// Write is something to make durable. There is never more than one at a time for a
// delivery: the next comes after Written.
type Write struct {
	Kind   WriteKind
	Parked Parked
	// Event is what is delivered; nil if the store has it already, under the id.
	Event *delivery.Event
	// Code and Detail say why the delivery is dead.
	Code, Detail string
}

type laneState int

const (
	empty   laneState = iota // it has left the machine
	ready                    // its head may be sent
	flying                   // its head is with the plugin
	waiting                  // its head failed and is not due yet
	dying                    // its head's dead letter is being written
	held                     // its head waits for the log to be read up to it
)

type lane struct {
	key    string
	state  laneState
	due    time.Time
	items  []*item // in the order of the log; the first is the head
	urgent int     // of them, urgent ones
	queued [2]bool // it stands in that ready queue
}

type item struct {
	Parked
	event *delivery.Event // nil once it is in the store
	entry *entry          // its place in the ledger; nil once that is settled
	// parked says that it counts as parked; durable that its record is stored.
	parked, durable bool
	// failed says that it is the reason why its lane waits, and is to be parked;
	// unsaved that it stands in the list of those that could not be parked.
	failed, unsaved bool
	done            bool // delivered or dead: only its record is left to remove
	// held says that the cursor had not reached it before the restart: what comes
	// before it in its lane may have to be read from the log again.
	held           bool
	writing, dirty bool
	want           WriteKind
	wrote          WriteKind // what is being written
}

// Machine is the state machine. It is not safe for concurrent use.
type Machine struct {
	policy Policy
	jitter func() float64

	ledgers map[int]*ledger
	lanes   map[string]*lane
	items   map[string]*item // by delivery id
	ready   [2][]*lane       // those with something urgent, and the others
	due     dueHeap
	dead    map[string]bool    // given up on before the restart, and still ahead in the log
	missed  map[string]*misses // by lane: given up on, and not named by enough deliveries yet
	dirty   []*item            // with something to write
	unsaved []*item            // to be parked as soon as that is allowed

	window      int // entries in the ledgers
	open        int // of them, not settled
	held        int // items that are held
	bytes       int64
	inFlight    int
	limit       int
	parked      int
	parkedBytes int64

	breaker    Breaker
	probe      string // the delivery that probes
	streak     int
	suspension *Suspension
	pause      time.Time
	pauses     int
	tally      Tally
}

// New returns a machine that resumes from st and the parked deliveries. The jitter
// source yields numbers in [0, 1).
func New(p Policy, st State, parked []Parked, jitter func() float64) *Machine {
	m := &Machine{
		policy: p, jitter: jitter, limit: p.InFlight,
		ledgers: map[int]*ledger{}, lanes: map[string]*lane{}, items: map[string]*item{}, dead: map[string]bool{},
		missed: map[string]*misses{}, breaker: st.Breaker, suspension: st.Suspension, tally: st.Tally,
	}
	for id, c := range st.Cursors {
		m.ledgers[id] = &ledger{next: c.Offset, last: c.ID}
	}
	for _, d := range parked {
		m.Adopt(d)
	}
	return m
}

// Adopt takes over a delivery that is already parked in the store: from before a
// restart, or a dead letter that is to be tried again. It answers false if the
// machine has that delivery.
func (m *Machine) Adopt(d Parked) bool {
	if m.items[d.ID] != nil {
		return false
	}
	it := &item{Parked: d, parked: true, durable: true, failed: d.Fails > 0 || !d.Due.IsZero()}
	m.items[d.ID] = it
	m.found(d.Lane, d.ID)
	m.parked++
	m.parkedBytes += d.Size
	if l := m.ledger(d.Partition); d.Offset >= l.next {
		it.held = true
		l.hold(it)
		m.held++
	}
	m.insert(it)
	return true
}

// Bury says that a delivery was given up on before the restart. If the log has it
// still ahead of the cursor it is only accounted for: later ones of its lane may have
// been delivered since. The next deliveries of its lane name it.
func (m *Machine) Bury(d Miss) {
	if m.items[d.ID] != nil {
		return
	}
	m.miss(d)
	if d.Offset >= m.ledger(d.Partition).next {
		m.dead[d.ID] = true
	}
}

// State returns what to store beside the parked deliveries.
func (m *Machine) State() State {
	st := State{Cursors: make(map[int]Cursor, len(m.ledgers)), Breaker: m.breaker, Suspension: m.suspension, Tally: m.tally}
	for id, l := range m.ledgers {
		st.Cursors[id] = l.mark()
	}
	return st
}

// Suspended reports whether nothing is sent until Resume.
func (m *Machine) Suspended() bool { return m.suspension != nil }

// Paused reports whether that was asked for by Pause.
func (m *Machine) Paused() bool { return m.suspension != nil && m.suspension.Code == Paused }

// Breaking reports whether the breaker is open.
func (m *Machine) Breaking() bool { return m.breaker.Open() }

// Position is the offset after the last change that the machine was given, and that
// change's id if it is known.
func (m *Machine) Position(partition int) (next int64, id string) {
	l := m.ledger(partition)
	return l.next, l.last
}

// Next is the offset after the last change that the machine was given.
func (m *Machine) Next(partition int) int64 { return m.ledger(partition).next }

// Holds reports whether the machine has the delivery, parked or not.
func (m *Machine) Holds(id string) bool { return m.items[id] != nil }

// Dirty reports whether Writes has something to hand out.
func (m *Machine) Dirty() bool { return len(m.dirty) > 0 }

func (m *Machine) ledger(partition int) *ledger {
	l := m.ledgers[partition]
	if l == nil {
		l = &ledger{}
		m.ledgers[partition] = l
	}
	return l
}
