package lane

import (
	"time"

	"github.com/fresnel-search/fresnel/publishers/delivery"
)

// Ack takes the outcome of an attempt that Pick had asked for. Any other is ignored.
// An Unknown outcome is one of an attempt that was never answered for.
func (m *Machine) Ack(now time.Time, o delivery.Outcome) {
	it, ln := m.flight(o.ID)
	if it == nil {
		return
	}
	probing := m.probe == o.ID && m.breaker.Open()
	m.land(it)
	it.Tries++
	it.Alone = o.Kind == delivery.Unknown
	if o.Kind != delivery.Delivered {
		it.Code, it.Detail = o.Code, o.Message
	}
	if o.Kind != delivery.Unknown && o.Scope != delivery.OfPublisher {
		m.pauses = 0
	}
	switch {
	case o.Kind == delivery.Delivered:
		m.delivered(it)
	case m.policy.Live:
		m.once(now, it, o, probing)
	case o.Kind == delivery.Unknown:
		m.unknown(now, it, probing)
	case o.Kind == delivery.Deferred:
		m.deferred(now, it, o, probing)
	case o.Scope == delivery.OfPublisher:
		m.slowDown(now, o)
		m.again(ln, it, time.Time{})
	case o.Kind == delivery.Rejected && o.Scope == delivery.OfDestination:
		m.suspend(now, o.Code, o.Message)
		m.again(ln, it, time.Time{})
	case o.Kind == delivery.Rejected:
		m.close()
		m.die(it, o.Code, o.Message)
	case o.Scope == delivery.OfDestination:
		m.trip(now, o, probing)
		m.again(ln, it, time.Time{})
	default:
		m.failed(now, it, o, probing)
	}
	m.parkUnsaved()
}

// once follows from an attempt of a live machine that was not accepted: what it says
// of the destination or the publisher counts as it does for all, the change is
// dropped.
func (m *Machine) once(now time.Time, it *item, o delivery.Outcome, probing bool) {
	switch {
	case o.Kind == delivery.Deferred:
	case o.Scope == delivery.OfPublisher:
		m.slowDown(now, o)
	case o.Kind == delivery.Rejected && o.Scope == delivery.OfDestination:
		m.suspend(now, o.Code, o.Message)
	case o.Kind == delivery.Rejected:
		m.close()
	case o.Scope == delivery.OfDestination:
		m.trip(now, o, probing)
	default:
		m.streak++
		m.strike(now, o, probing)
	}
	m.finish(it)
	m.tally.Dropped++
	if m.suspension != nil || m.breaker.Open() {
		m.flush()
	}
}

// Unavailable says that no attempt was made at these deliveries: the plugin is
// starting, or died before it had them. They are sent again after a pause; a live
// machine drops them.
func (m *Machine) Unavailable(now time.Time, ids []string) {
	for _, id := range ids {
		it, ln := m.flight(id)
		if it == nil {
			continue
		}
		m.land(it)
		if m.policy.Live {
			m.finish(it)
			m.tally.Dropped++
			continue
		}
		m.again(ln, it, time.Time{})
	}
	m.wait(now, 0)
}

// Pause stops the machine until Resume, as a suspension does: what is in flight is
// still answered for. One that is suspended stays so.
func (m *Machine) Pause(now time.Time, detail string) {
	m.suspend(now, Paused, detail)
	if m.policy.Live {
		m.flush()
	}
}

// Hurry lets a delivery that waits for its next attempt be tried at once. It answers
// false if the delivery does not wait, or waits for another one of its lane.
func (m *Machine) Hurry(id string) bool {
	it := m.items[id]
	if it == nil || it.done {
		return false
	}
	ln := m.lanes[it.Lane]
	if ln.items[0] != it || ln.state != waiting {
		return false
	}
	m.again(ln, it, time.Time{})
	if it.parked {
		m.write(it, Park)
	}
	return true
}

// Resume ends a suspension and closes the breaker: everything that waits is tried at
// once.
func (m *Machine) Resume() {
	m.suspension = nil
	m.pause, m.pauses = time.Time{}, 0
	m.close()
	for len(m.due) > 0 {
		m.release()
	}
	m.parkUnsaved()
}

// flight finds a delivery that is with the plugin.
func (m *Machine) flight(id string) (*item, *lane) {
	it := m.items[id]
	if it == nil || it.done {
		return nil, nil
	}
	ln := m.lanes[it.Lane]
	if ln == nil || ln.state != flying || ln.items[0] != it {
		return nil, nil
	}
	return it, ln
}

func (m *Machine) land(it *item) {
	m.inFlight--
	if m.probe == it.ID {
		m.probe = ""
	}
}

func (m *Machine) delivered(it *item) {
	m.streak = 0
	m.limit = min(m.limit+1, m.policy.InFlight)
	m.close()
	m.told(it)
	m.tally.Delivered++
	m.finish(it)
}

// failed counts a failure of the delivery itself: it waits for its next attempt,
// parked, and so does all of its lane; after the last attempt it is dead.
func (m *Machine) failed(now time.Time, it *item, o delivery.Outcome, probing bool) {
	if it.Fails == 0 {
		m.streak++
	}
	it.Fails++
	m.strike(now, o, probing)
	if m.policy.exhausted(it.Fails) {
		m.die(it, "attempts_exhausted", "last answer "+o.Code+": "+o.Message)
		return
	}
	m.block(it, now.Add(m.retry(it.Fails, o.After)))
}

// strike lets a failed delivery count against its destination.
func (m *Machine) strike(now time.Time, o delivery.Outcome, probing bool) {
	switch {
	case probing:
		m.probeFailed(now, o)
	case m.streak >= m.policy.Streak && !m.breaker.Open():
		m.trip(now, o, false)
	}
}

// unknown counts as a failure, for it may be this delivery that kills the plugin.
// But that is rare, so the next attempt comes soon, and only a second time in a row
// is the delivery parked.
func (m *Machine) unknown(now time.Time, it *item, probing bool) {
	it.Fails++
	if probing {
		m.breaker.Until = now.Add(m.policy.ProbeMin)
	}
	if m.policy.exhausted(it.Fails) {
		m.die(it, "no_outcome", "the publisher answered for none of the attempts, or not for the last")
		return
	}
	wait := min(m.policy.Schedule[it.Fails], doubled(time.Second, it.Fails-1), unknownMax)
	due := now.Add(m.jittered(wait))
	if it.Fails == 1 {
		m.again(m.lanes[it.Lane], it, due)
		return
	}
	m.block(it, due)
}

// deferred lets a delivery wait, parked, for the time that its publisher has named:
// nothing failed, and nothing is known of its destination.
func (m *Machine) deferred(now time.Time, it *item, o delivery.Outcome, probing bool) {
	if probing {
		m.breaker.Until = now.Add(m.policy.ProbeMin)
	}
	m.block(it, now.Add(max(m.floor(o.After), pauseMin)))
}

// block parks the head of a lane until it is due, and what waits behind it.
func (m *Machine) block(it *item, due time.Time) {
	ln := m.lanes[it.Lane]
	it.failed = true
	m.again(ln, it, due)
	m.park(it)
	for _, behind := range ln.items[1:] {
		if !behind.parked {
			m.park(behind)
		}
	}
}

// again lets the head of a lane wait until due, but not beyond its time, or makes it
// ready.
func (m *Machine) again(ln *lane, it *item, due time.Time) {
	if !it.Expires.IsZero() && due.After(it.Expires) {
		due = it.Expires
	}
	it.Due = due
	m.start(ln)
}

// die makes a dead letter of the head of a lane; the lane moves on when that is
// stored.
func (m *Machine) die(it *item, code, detail string) {
	m.lanes[it.Lane].state = dying
	it.Code, it.Detail = code, detail
	m.write(it, Dead)
}

// slowDown halves what is in flight, because the publisher itself is in trouble.
func (m *Machine) slowDown(now time.Time, o delivery.Outcome) {
	m.limit = max(m.limit/2, 1)
	m.wait(now, o.After)
}

// wait holds everything back for a while that grows until an attempt succeeds.
func (m *Machine) wait(now time.Time, after time.Duration) {
	if now.Before(m.pause) {
		return
	}
	m.pauses++
	m.pause = now.Add(max(min(doubled(pauseMin, m.pauses-1), pauseMax), m.floor(after)))
}

// trip opens the breaker, or counts a failed probe of an open one.
func (m *Machine) trip(now time.Time, o delivery.Outcome, probing bool) {
	switch {
	case m.suspension != nil:
	case probing:
		m.probeFailed(now, o)
	case !m.breaker.Open():
		m.breaker = Breaker{Since: now}
		m.probeFailed(now, o)
	}
}

// probeFailed waits for the next probe; when attempts and time have run out, the
// subscription is suspended.
func (m *Machine) probeFailed(now time.Time, o delivery.Outcome) {
	b := &m.breaker
	b.Probes++
	b.Code, b.Detail = o.Code, o.Message
	span := time.Duration(float64(max(m.policy.Span(), m.policy.Patience)) * (1 - m.policy.Jitter))
	if m.policy.exhausted(b.Probes) && now.Sub(b.Since) >= span {
		m.suspend(now, "attempts_exhausted", "last answer "+o.Code+": "+o.Message)
		return
	}
	b.Until = now.Add(max(m.probeWait(b.Probes), m.floor(o.After)))
}

func (m *Machine) close() {
	m.breaker = Breaker{}
	m.streak = 0
}

func (m *Machine) suspend(now time.Time, code, detail string) {
	if m.suspension == nil {
		m.suspension = &Suspension{Since: now, Code: code, Detail: detail}
	}
	m.breaker = Breaker{}
}
