package lane

import "slices"

// maxMissed bounds what is remembered of one lane.
const maxMissed = 1000

// namings is how many accepted deliveries name each that was given up on: one may be
// lost behind the publisher, and with it what it named.
const namings = 3

// misses are the deliveries of a lane that were given up on, by offset.
type misses struct {
	all  []missed
	more int // how many deliveries are still to say that some were forgotten
}

type missed struct {
	Miss
	named int // by how many accepted deliveries
}

// miss remembers a delivery that was given up on, until later ones have named it.
func (m *Machine) miss(d Miss) {
	if d.Lane == "" {
		return // the place of a gap, not a delivery
	}
	s := m.missed[d.Lane]
	if s == nil {
		s = &misses{}
		m.missed[d.Lane] = s
	}
	at := len(s.all)
	for at > 0 && s.all[at-1].Offset > d.Offset {
		at--
	}
	if at > 0 && s.all[at-1].ID == d.ID {
		return
	}
	if s.all = slices.Insert(s.all, at, missed{Miss: d}); len(s.all) > maxMissed {
		s.all, s.more = s.all[1:], namings
	}
}

// found forgets that a delivery was given up on: it is tried again.
func (m *Machine) found(lane, id string) {
	if s := m.missed[lane]; s != nil {
		m.keepMissed(lane, slices.DeleteFunc(s.all, func(d missed) bool { return d.ID == id }))
	}
}

// before returns what a delivery has to name.
func (m *Machine) before(it *item) (named []Miss, more bool) {
	s := m.missed[it.Lane]
	if s == nil {
		return nil, false
	}
	for _, d := range s.all {
		if d.Offset < it.Offset {
			named = append(named, d.Miss)
		}
	}
	return slices.Clip(named), s.more > 0
}

// told counts what an accepted delivery has named, and forgets what was named enough.
func (m *Machine) told(it *item) {
	s := m.missed[it.Lane]
	if s == nil {
		return
	}
	s.more = max(s.more-1, 0)
	for i, d := range s.all {
		if d.Offset < it.Offset {
			s.all[i].named++
		}
	}
	m.keepMissed(it.Lane, slices.DeleteFunc(s.all, func(d missed) bool { return d.named == namings }))
}

func (m *Machine) keepMissed(lane string, left []missed) {
	if m.missed[lane].all = left; len(left) == 0 && m.missed[lane].more == 0 {
		delete(m.missed, lane)
	}
}
