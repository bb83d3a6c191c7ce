package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fresnel-search/fresnel/listener/kafka"
	"github.com/fresnel-search/fresnel/searchapi"
)

// readyTimeout bounds the question to all parts whether they are ready: those who ask
// give up themselves before long.
const readyTimeout = 2 * time.Second

// asks is a question to a part: what is to be said of it if it works, or why it does
// not. It should end with its context; who waits for it does.
type asks func(context.Context) (note string, err error)

// check is one part's readiness.
type check struct {
	name string
	ask  asks
	// degrades says that the process works without it.
	degrades bool
}

// check adds a part without which the process is not ready.
func (s *system) check(name string, ask func(context.Context) error) {
	s.ready = append(s.ready, check{name, silent(ask), false})
}

// degrades adds a part without which the process still works.
func (s *system) degrades(name string, ask func(context.Context) error) {
	s.ready = append(s.ready, check{name, silent(ask), true})
}

// noted adds a part that has something to say when it is ready, too.
func (s *system) noted(name string, ask func() (string, error)) {
	s.ready = append(s.ready, check{name, func(context.Context) (string, error) { return ask() }, false})
}

func silent(ask func(context.Context) error) asks {
	return func(ctx context.Context) (string, error) { return "", ask(ctx) }
}

// readiness asks every part, all at once.
func (s *system) readiness() []searchapi.Part {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	return together(ctx, s.ready)
}

// together asks all at once, and waits for none longer than ctx does.
func together(ctx context.Context, checks []check) []searchapi.Part {
	type answer struct {
		at   int
		part searchapi.Part
	}
	answers := make(chan answer, len(checks)) // so that those who come late can go
	out := make([]searchapi.Part, len(checks))
	for i, c := range checks {
		out[i] = c.part("", fmt.Errorf("did not say within %s whether it works", readyTimeout))
		go func() {
			note, err := c.ask(ctx)
			answers <- answer{i, c.part(note, err)}
		}()
	}
	for range checks {
		select {
		case a := <-answers:
			out[a.at] = a.part
		case <-ctx.Done():
			return out
		}
	}
	return out
}

func (c check) part(note string, err error) searchapi.Part {
	p := searchapi.Part{Name: c.name, State: searchapi.Up, Reason: note}
	if err != nil {
		p.State, p.Reason = searchapi.Down, err.Error()
		if c.degrades {
			p.State = searchapi.Degraded
		}
	}
	return p
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
	s.degrades(name+" progress", func(context.Context) error { return s.kafka.Status(group).Stuck })
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
func (s *system) tombstonesOutliveTopics(ctx context.Context, r *retentions) error {
	topics := s.topics()
	if len(topics) == 0 {
		return nil
	}
	return r.compare(ctx, topics, s.Config.Indexer.TombstoneRetention)
}
