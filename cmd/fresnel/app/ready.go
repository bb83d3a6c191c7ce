package app

import (
	"errors"
	"fmt"
)

// check is one part's readiness: nil, or why it is not ready.
type check struct {
	name     string
	ask      func() error
	degrades bool // without it the process still works
}

func (s *system) check(name string, ask func() error) {
	s.ready = append(s.ready, check{name, ask, false})
}

func (s *system) degrades(name string, ask func() error) {
	s.ready = append(s.ready, check{name, ask, true})
}

// consuming is the readiness of a consumer group of ours.
func (s *system) consuming(group string) func() error {
	return func() error {
		st := s.kafka.Status(group)
		if !st.Running {
			return errors.New("not started yet")
		}
		var errs []error
		for _, p := range st.Partitions {
			if p.Err != nil {
				errs = append(errs, fmt.Errorf("%s/%d at offset %d: %w", p.Topic, p.ID, p.Next, p.Err))
			}
		}
		return errors.Join(errs...)
	}
}
