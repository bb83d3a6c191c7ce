package lane

import "time"

// Pick hands out at most n deliveries, of about so many bytes, that are to be
// attempted now. Each is answered for with Ack or Unavailable.
func (m *Machine) Pick(now time.Time, n int, size int64) []Send {
	m.Tick(now)
	if m.suspension != nil || now.Before(m.pause) {
		return nil
	}
	if m.breaker.Open() {
		return m.pickProbe(now)
	}
	var sends []Send
	for len(sends) < n && m.inFlight < m.limit {
		ln := m.nextReady()
		if ln == nil {
			break
		}
		it := ln.items[0]
		size -= it.Size
		if len(sends) > 0 && (it.Alone || size < 0) {
			break
		}
		sends = append(sends, m.fly(ln))
		if it.Alone {
			break
		}
	}
	return sends
}

// pickProbe hands out one delivery if the open breaker allows a probe now: what is
// ready, else what is due first.
func (m *Machine) pickProbe(now time.Time) []Send {
	if m.probe != "" || now.Before(m.breaker.Until) {
		return nil
	}
	ln := m.nextReady()
	for ln == nil && len(m.due) > 0 {
		m.release()
		ln = m.nextReady()
	}
	if ln == nil {
		return nil
	}
	m.probe = ln.items[0].ID
	return []Send{m.fly(ln)}
}

// nextReady returns the lane that has been ready longest, and leaves it in the queue.
func (m *Machine) nextReady() *lane {
	for len(m.ready) > 0 {
		if ln := m.ready[0]; ln.state == ready {
			return ln
		}
		m.dequeue()
	}
	return nil
}

func (m *Machine) dequeue() {
	m.ready[0].queued = false
	m.ready[0] = nil
	m.ready = m.ready[1:]
}

// fly sends the head of the first ready lane.
func (m *Machine) fly(ln *lane) Send {
	m.dequeue()
	it := ln.items[0]
	ln.state = flying
	m.inFlight++
	return Send{ID: it.ID, Attempt: it.Tries + 1, Event: it.event, Alone: it.Alone}
}

// Wake returns when Pick may have something to hand out without any other input;
// false if only another input can change that.
func (m *Machine) Wake() (time.Time, bool) {
	for len(m.due) > 0 && m.due[0].stale() {
		m.release()
	}
	next := m.nextReady()
	if m.suspension != nil || next == nil && len(m.due) == 0 {
		return time.Time{}, false
	}
	at := time.Time{}
	switch {
	case m.breaker.Open() && m.probe != "":
		return time.Time{}, false
	case m.breaker.Open():
		at = m.breaker.Until
	case next != nil && m.inFlight >= m.limit:
		return time.Time{}, false
	case next == nil:
		at = m.due[0].at
	}
	if at.Before(m.pause) {
		at = m.pause
	}
	return at, true
}
