package publishers

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Attempts say how one subscription's deliveries are tried, in place of what holds for
// all. The waits are a schedule, or they grow from min by factor up to max.
type Attempts struct {
	// MaxAttempts is how many are made of a delivery. 0: as many as the schedule has
	// entries. Where it has fewer, its last wait is repeated.
	MaxAttempts int `yaml:"max_attempts"`
	// Schedule has the wait before each attempt, the first one included.
	Schedule []time.Duration `yaml:"schedule"`
	Min      time.Duration   `yaml:"min"`
	Max      time.Duration   `yaml:"max"`
	Factor   float64         `yaml:"factor"`
	// Timeout bounds one attempt. 0: what holds for all.
	Timeout time.Duration `yaml:"timeout"`
}

const (
	maxAttempts = 1000
	// longestWait is the most that a wait may be told to be, or grow to.
	longestWait   = 30 * 24 * time.Hour
	defaultMax    = 24 * time.Hour
	defaultFactor = 2
)

// grows reports whether waits are given by their growth.
func (a Attempts) grows() bool { return a.Min != 0 || a.Max != 0 || a.Factor != 0 }

// validate reports what is wrong, by key; timeout is what holds for all.
func (a Attempts) validate(key string, timeout time.Duration) (errs []error) {
	bad := func(member, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s.%s: %s", key, member, fmt.Sprintf(format, args...)))
	}
	if a.MaxAttempts < 0 || a.MaxAttempts > maxAttempts {
		bad("max_attempts", "must be between 1 and %d, or 0 for the schedule's", maxAttempts)
	}
	if a.Timeout < 0 || a.Timeout > timeout {
		bad("timeout", "must be at most publishers.attempt_timeout, %s", timeout)
	}
	errs = append(errs, schedule(key+".schedule", a.Schedule)...)
	if !a.grows() {
		return errs
	}
	if len(a.Schedule) > 0 {
		bad("schedule", "stands for itself; leave it out, or min, max and factor")
	}
	if a.Min <= 0 {
		bad("min", "must be positive where waits grow")
	}
	if a.Max != 0 && (a.Max < a.Min || a.Max > longestWait) {
		bad("max", "must be between min and %s", longestWait)
	}
	if a.Factor != 0 && (a.Factor < 1 || math.IsNaN(a.Factor) || math.IsInf(a.Factor, 0)) {
		bad("factor", "must be at least 1")
	}
	return errs
}

// schedule is the wait before each attempt, given the one that holds for all.
func (a Attempts) schedule(all []time.Duration) []time.Duration {
	n := a.MaxAttempts
	waits := slices.Clone(all)
	switch {
	case len(a.Schedule) > 0:
		waits = slices.Clone(a.Schedule)
	case a.grows():
		if n == 0 {
			n = len(all)
		}
		waits = a.growth(n)
	}
	for n > len(waits) {
		waits = append(waits, waits[len(waits)-1])
	}
	if n > 0 {
		waits = waits[:n]
	}
	return waits
}

// growth is n waits: none before the first attempt, then min, and factor times the one
// before, up to max.
func (a Attempts) growth(n int) []time.Duration {
	most, factor := a.Max, a.Factor
	if most == 0 {
		most = max(defaultMax, a.Min)
	}
	if factor == 0 {
		factor = defaultFactor
	}
	waits := make([]time.Duration, 1, n)
	for d := float64(a.Min); len(waits) < n; d = min(d*factor, float64(most)) {
		waits = append(waits, time.Duration(d))
	}
	return waits
}
