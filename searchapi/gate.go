package searchapi

import (
	"context"
	"errors"
	"sync"
	"time"
)

// gate lets a number of searches run at once, and fewer for any one project, so that
// one caller's slow searches leave room for everybody else's. It is fair among the
// searches of a project only.
type gate struct {
	all     chan struct{}
	each    int
	patient time.Duration

	mu       sync.Mutex
	projects map[string]*lane // those with searches that run or wait
}

type lane struct {
	slots chan struct{}
	users int // that run or wait
}

func newGate(all, each int, patient time.Duration) *gate {
	return &gate{all: make(chan struct{}, all), each: min(each, all), patient: patient, projects: map[string]*lane{}}
}

// enter waits for a place, first among the project's own; leave gives it back. The
// error is errBusy if none got free in time.
func (g *gate) enter(ctx context.Context, project string) (leave func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, g.patient, errBusy)
	defer cancel()
	l := g.lane(project)
	if err := take(ctx, l.slots); err != nil {
		g.done(project, l)
		return nil, err
	}
	if err := take(ctx, g.all); err != nil {
		<-l.slots
		g.done(project, l)
		return nil, err
	}
	return func() {
		<-g.all
		<-l.slots
		g.done(project, l)
	}, nil
}

func take(ctx context.Context, slots chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		if cause := context.Cause(ctx); errors.Is(cause, errBusy) {
			return errBusy
		}
		return ctx.Err()
	}
}

func (g *gate) lane(project string) *lane {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.projects[project]
	if l == nil {
		l = &lane{slots: make(chan struct{}, g.each)}
		g.projects[project] = l
	}
	l.users++
	return l
}

func (g *gate) done(project string, l *lane) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(g.projects, project)
	}
}
