package lane

import (
	"math/bits"
	"time"
)

// Policy is what a subscription may hold and how it retries.
type Policy struct {
	// Schedule has the wait before each attempt: the first is before the first
	// attempt, and as many attempts are made as it has entries.
	Schedule []time.Duration
	// Jitter is the part of a wait that chance may add or take away.
	Jitter float64
	// MaxAfter caps what a destination may ask to wait.
	MaxAfter time.Duration
	// Window bounds the changes between the low-water mark and the last one taken,
	// WindowBytes those held in memory: about what a crash may repeat.
	Window      int
	WindowBytes int64
	// InFlight bounds the deliveries that are with the plugin.
	InFlight int
	// MaxParked and MaxParkedBytes bound what is parked; then the cursor stops.
	MaxParked      int
	MaxParkedBytes int64
	// Streak is how many deliveries must fail at their first attempt, with no
	// success in between, to open the breaker.
	Streak int
	// ProbeMin is the wait before the first probe of an open breaker. It doubles up
	// to ProbeMax, but never exceeds the schedule's own wait.
	ProbeMin, ProbeMax time.Duration
	// Patience is how long a destination may be away, at least, until the
	// subscription is suspended.
	Patience time.Duration
	// Latest lets a state of a resource give way to a later one that has come before
	// it was sent.
	Latest bool
	// Live makes one attempt at each change, keeps nothing and drops, counted, what
	// cannot be sent or was not accepted.
	Live bool
}

// DefaultPolicy retries by the schedule that Standard Webhooks recommends: ten
// attempts over 75 h 35 min.
func DefaultPolicy() Policy {
	return Policy{
		Schedule: []time.Duration{
			0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour,
			5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
		},
		Jitter:    0.2,
		MaxAfter:  24 * time.Hour,
		Window:    2000,
		InFlight:  400,
		MaxParked: 10_000, MaxParkedBytes: 64 << 20,
		WindowBytes: 16 << 20,
		Streak:      10,
		ProbeMin:    time.Second, ProbeMax: 5 * time.Minute,
	}
}

const (
	// unknownMax caps the wait after an attempt that was never answered for.
	unknownMax = 30 * time.Second
	// pauseMin and pauseMax bound the wait for a publisher that is in trouble itself.
	pauseMin = 200 * time.Millisecond
	pauseMax = 30 * time.Second
)

// Span is how long a delivery is retried.
func (p Policy) Span() (d time.Duration) {
	for _, s := range p.Schedule {
		d += s
	}
	return d
}

// exhausted reports whether no attempt is left after so many failures.
func (p Policy) exhausted(fails int) bool { return fails >= len(p.Schedule) }

// retry is the wait after a delivery's fails-th failure.
func (m *Machine) retry(fails int, after time.Duration) time.Duration {
	return max(m.jittered(m.policy.Schedule[fails]), m.floor(after))
}

// floor is what a destination asked to wait, as far as it is granted.
func (m *Machine) floor(after time.Duration) time.Duration {
	return min(max(after, 0), m.policy.MaxAfter)
}

// probeWait is the wait after the n-th failed probe of an open breaker.
func (m *Machine) probeWait(n int) time.Duration {
	d := min(doubled(m.policy.ProbeMin, n-1), m.policy.ProbeMax)
	if n < len(m.policy.Schedule) {
		d = min(d, m.policy.Schedule[n])
	}
	return m.jittered(d)
}

func (m *Machine) jittered(d time.Duration) time.Duration {
	return d + time.Duration(float64(d)*m.policy.Jitter*(2*m.jitter()-1))
}

// doubled is d times two to the n, without overflow.
func doubled(d time.Duration, n int) time.Duration {
	if free := bits.LeadingZeros64(uint64(max(d, 1))) - 2; n > free {
		n = free
	}
	return d << max(n, 0)
}
