package query

import (
	"errors"
	"fmt"
)

// Limits bound what one request may ask for.
type Limits struct {
	BodyBytes   int `yaml:"body_bytes"`   // size of the request's body
	Depth       int `yaml:"depth"`        // of clauses in clauses, parentheses included
	Clauses     int `yaml:"clauses"`      // in the whole query
	Terms       int `yaml:"terms"`        // values of terms and ids in the whole query
	Wildcard    int `yaml:"wildcard"`     // bytes of one prefix or wildcard
	Window      int `yaml:"window"`       // from and size together
	DefaultSize int `yaml:"default_size"` // hits, if the request does not say
}

// DefaultLimits are the limits that suit everybody.
func DefaultLimits() Limits {
	return Limits{
		BodyBytes: 1 << 20, Depth: 32, Clauses: 1024, Terms: 10_000, Wildcard: 256, Window: 10_000, DefaultSize: 25,
	}
}

// Validate joins everything that is wrong, each with its key.
func (l Limits) Validate() error {
	var errs []error
	for _, c := range []struct {
		key          string
		value, least int
	}{
		{"body_bytes", l.BodyBytes, 1024},
		{"depth", l.Depth, 1},
		{"clauses", l.Clauses, 1},
		{"terms", l.Terms, 1},
		{"wildcard", l.Wildcard, 1},
		{"window", l.Window, 1},
		{"default_size", l.DefaultSize, 0},
	} {
		if c.value < c.least {
			errs = append(errs, fmt.Errorf("%s: must be at least %d", c.key, c.least))
		}
	}
	if l.DefaultSize > l.Window {
		errs = append(errs, errors.New("default_size: is more than window"))
	}
	const deepest = 256 // parsing recurses
	if l.Depth > deepest {
		errs = append(errs, fmt.Errorf("depth: can be at most %d", deepest))
	}
	return errors.Join(errs...)
}

// json is how deep JSON may nest: a bool takes three levels.
func (l Limits) json() int { return 3*l.Depth + 16 }
