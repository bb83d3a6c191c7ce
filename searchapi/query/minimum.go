package query

import (
	"strconv"
	"strings"
)

// MinimumShould says how many of n optional clauses must match by a
// minimum_should_match that Parse let through: at least 0, possibly more than n.
// An empty one is 0.
func MinimumShould(spec string, n int) int {
	m, _ := minimumShould(spec, n)
	return m
}

// minimumShould also reports whether spec is one at all.
func minimumShould(spec string, n int) (int, bool) {
	if spec == "" {
		return 0, false
	}
	if !strings.Contains(spec, "<") {
		return simpleMinimum(spec, n)
	}
	// Conditions such as 2<-25% 9<-3: up to the first bound all must match, above
	// it what follows that bound.
	result := n
	for cond := range strings.FieldsSeq(spec) {
		bound, then, ok := strings.Cut(cond, "<")
		if !ok {
			return 0, false
		}
		above, err := strconv.Atoi(bound)
		if err != nil {
			return 0, false
		}
		m, ok := simpleMinimum(then, n)
		if !ok {
			return 0, false
		}
		if n > above {
			result = m
		}
	}
	return result, true
}

func simpleMinimum(spec string, n int) (int, bool) {
	digits, percent := strings.CutSuffix(spec, "%")
	v, err := strconv.Atoi(digits)
	if err != nil || v > 1<<20 || v < -1<<20 {
		return 0, false
	}
	negative := v < 0 || strings.HasPrefix(digits, "-")
	if percent {
		v = n * v / 100
	}
	if negative {
		v += n
	}
	return max(v, 0), true
}
