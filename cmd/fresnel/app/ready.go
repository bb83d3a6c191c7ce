package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fresnel-search/fresnel/listener/kafka"
	"github.com/fresnel-search/fresnel/searchapi"
)

// check is one part's readiness.
type check struct {
	name string
	ask  func() (note string, err error) // what is to be said of a part that works, or why it does not
	// degrades says that the process works without it.
	degrades bool
}

// check adds a part without which the process is not ready.
func (s *system) check(name string, ask func() error) {
	s.ready = append(s.ready, check{name, silent(ask), false})
}

// degrades adds a part without which the process still works.
func (s *system) degrades(name string, ask func() error) {
	s.ready = append(s.ready, check{name, silent(ask), true})
}

// noted adds a part that has something to say when it is ready, too.
func (s *system) noted(name string, ask func() (string, error)) {
	s.ready = append(s.ready, check{name, ask, false})
}

func silent(ask func() error) func() (string, error) {
	return func() (string, error) { return "", ask() }
}

// readiness asks every part.
func (s *system) readiness() []searchapi.Part {
	out := make([]searchapi.Part, 0, len(s.ready))
	for _, c := range s.ready {
		note, err := c.ask()
		p := searchapi.Part{Name: c.name, State: searchapi.Up, Reason: note}
		if err != nil {
			p.State, p.Reason = searchapi.Down, err.Error()
			if c.degrades {
				p.State = searchapi.Degraded
			}
		}
		out = append(out, p)
	}
	return out
}

// consumer adds the readiness of a consumer group of ours. Being behind is no fault:
// it is said. A partition that does not get on degrades; having no part in the group,
// or a batch that is refused again and again, means that the role does not work.
func (s *system) consumer(name, group string) {
	s.noted(name, func() (string, error) {
		st := s.kafka.Status(group)
		if st.Idle {
			return "waits for a topic to read: none as configured is there, or this user may describe none", failing(st)
		}
		return st.Lags(time.Now()), failing(st)
	})
	s.degrades(name+" progress", func() error { return s.kafka.Status(group).Stuck })
}

// failing is why a group does not work in this process.
func failing(st kafka.GroupStatus) error {
	if !st.Running {
		return errors.New("not started yet")
	}
	errs := []error{st.Err}
	for _, p := range st.Partitions {
		if p.Err != nil {
			errs = append(errs, fmt.Errorf("%s/%d at offset %d: %w", p.Topic, p.ID, p.Next, p.Err))
		}
	}
	return errors.Join(errs...)
}

// tombstonesOutliveTopics warns of deletions that are forgotten before the services'
// topics forget what was said before: a topic read again would bring it back.
func (s *system) tombstonesOutliveTopics(r *retentions) error {
	ctx, cancel := context.WithTimeout(context.Background(), pingTimeout)
	defer cancel()
	topics := s.topics()
	if len(topics) == 0 {
		return nil
	}
	return r.compare(ctx, topics, s.Config.Indexer.TombstoneRetention)
}
