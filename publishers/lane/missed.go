package lane

import "slices"

// maxMissed bounds what is remembered of one lane.
const maxMissed = 1000

// misses are the deliveries of a lane that were given up on, by offset.
type misses struct {
	all  []Miss
	more bool // some were forgotten
}

// miss remembers a delivery that was given up on, until a later one has named it.
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
	if s.all = slices.Insert(s.all, at, d); len(s.all) > maxMissed {
		s.all, s.more = s.all[1:], true
	}
}

// found forgets that a delivery was given up on: it is tried again.
func (m *Machine) found(lane, id string) {
	if s := m.missed[lane]; s != nil {
		m.keepMissed(lane, slices.DeleteFunc(s.all, func(d Miss) bool { return d.ID == id }))
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
			named = append(named, d)
		}
	}
	return slices.Clip(named), s.more
}

// told forgets what a delivery has named.
func (m *Machine) told(it *item) {
	if s := m.missed[it.Lane]; s != nil {
		s.more = false
		m.keepMissed(it.Lane, slices.DeleteFunc(s.all, func(d Miss) bool { return d.Offset < it.Offset }))
	}
}

func (m *Machine) keepMissed(lane string, left []Miss) {
	if m.missed[lane].all = left; len(left) == 0 && !m.missed[lane].more {
		delete(m.missed, lane)
	}
}
