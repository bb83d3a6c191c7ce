package lane

import (
	"time"

	"github.com/fresnel-search/fresnel/publishers/delivery"
)

// Counts is a view of a machine for status and metrics.
type Counts struct {
	// Open counts changes at or above the low-water mark that are not settled.
	Open        int
	InFlight    int
	Limit       int
	Parked      int
	ParkedBytes int64
	Lanes       int
}

// Standing is how a delivery stands that the machine holds.
type Standing string

// The standings of a delivery.
const (
	Ready    Standing = "ready"     // it goes out as soon as there is room, or its destination is back
	InFlight Standing = "in_flight" // the publisher has it
	Waiting  Standing = "waiting"   // it failed, and waits for its next attempt
	Behind   Standing = "behind"    // it waits for another one of its resource
	Dying    Standing = "dying"     // it is given up on; its dead letter is being written
)

// Held is a delivery that the machine holds.
type Held struct {
	Parked
	Standing Standing
	// Stored says that it is parked in the store.
	Stored bool
}

// Counts tells how much the machine holds.
func (m *Machine) Counts() Counts {
	return Counts{
		Open: m.open, InFlight: m.inFlight, Limit: m.limit,
		Parked: m.parked, ParkedBytes: m.parkedBytes, Lanes: len(m.lanes),
	}
}

// Oldest is when the oldest change was put into the log that holds the mark back; zero
// if none does.
func (m *Machine) Oldest() (at time.Time) {
	for _, l := range m.ledgers {
		if len(l.entries) > 0 && (at.IsZero() || l.entries[0].at.Before(at)) {
			at = l.entries[0].at
		}
	}
	return at
}

// Deliveries lists what the machine holds, in no order.
func (m *Machine) Deliveries() []Held {
	all := make([]Held, 0, len(m.items))
	for _, it := range m.items {
		if !it.done {
			all = append(all, m.standing(it))
		}
	}
	return all
}

// Delivery is one of them; false if there is none of that id.
func (m *Machine) Delivery(id string) (Held, bool) {
	it := m.items[id]
	if it == nil || it.done {
		return Held{}, false
	}
	return m.standing(it), true
}

// Event is what a delivery delivers; nil if the machine does not hold it in memory.
func (m *Machine) Event(id string) *delivery.Event {
	if it := m.items[id]; it != nil {
		return it.event
	}
	return nil
}

func (m *Machine) standing(it *item) Held {
	ln, h := m.lanes[it.Lane], Held{Parked: it.Parked, Stored: it.durable, Standing: Behind}
	if ln.items[0] != it {
		return h
	}
	switch ln.state {
	case ready:
		h.Standing = Ready
	case flying:
		h.Standing = InFlight
	case waiting:
		h.Standing = Waiting
	case dying:
		h.Standing = Dying
	case held, empty:
	}
	return h
}
