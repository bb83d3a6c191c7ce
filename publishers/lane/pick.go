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
		ln := m.fresh(now)
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
	ln := m.fresh(now)
	for ln == nil && len(m.due) > 0 {
		m.release()
		ln = m.fresh(now)
	}
	if ln == nil {
		return nil
	}
	m.probe = ln.items[0].ID
	return []Send{m.fly(ln)}
}

// expired is the code of what nobody wanted any more.
const expired = "expired"

// fresh returns the lane whose head is to be sent next, and leaves it in the queue.
// Heads that have expired are given up on.
func (m *Machine) fresh(now time.Time) *lane {
	for {
		ln := m.nextReady()
		if ln == nil {
			return nil
		}
		it := ln.items[0]
		if it.Expires.IsZero() || now.Before(it.Expires) {
			return ln
		}
		if m.policy.Live {
			m.tally.Expired++
			m.finish(it)
			continue
		}
		detail := "nobody accepted it before " + it.Expires.UTC().Format(time.RFC3339)
		if it.Code != "" {
			detail += "; last answer " + it.Code + ": " + it.Detail
		}
		m.die(it, expired, detail)
	}
}

// queue is the one of the ready queues that the lane belongs to.
func (ln *lane) queue() int {
	if ln.urgent > 0 {
		return 0
	}
	return 1
}

// nextReady returns the lane that has been ready longest, of those with something
// urgent if there are any, and leaves it in the queue.
func (m *Machine) nextReady() *lane {
	for q := range m.ready {
		for len(m.ready[q]) > 0 {
			ln := m.ready[q][0]
			if ln.state == ready && ln.queue() == q {
				return ln
			}
			m.dequeue(q)
			if ln.state == ready {
				m.enqueue(ln)
			}
		}
	}
	return nil
}

func (m *Machine) dequeue(q int) {
	m.ready[q][0].queued[q] = false
	m.ready[q][0] = nil
	m.ready[q] = m.ready[q][1:]
}

// fly sends the head of the first ready lane.
func (m *Machine) fly(ln *lane) Send {
	m.dequeue(ln.queue())
	it := ln.items[0]
	ln.state = flying
	m.inFlight++
	s := Send{ID: it.ID, Attempt: it.Tries + 1, Event: it.event, Alone: it.Alone, Expires: it.Expires}
	s.Missed, s.More = m.before(it)
	return s
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
