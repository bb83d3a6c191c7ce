package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/fresnel-search/fresnel/publishers/delivery"
)

// State is where a plugin stands.
type State string

// The states of a plugin.
const (
	Discovered  State = "discovered" // it could be used, but nothing needs it
	Starting    State = "starting"
	Configuring State = "configuring"
	Ready       State = "ready"
	Backoff     State = "backoff"     // it ended or did not start; it is started again soon
	Quarantined State = "quarantined" // it is not started again soon; what is for it is kept
	Draining    State = "draining"
	Stopped     State = "stopped"
)

// states are all of them, for metrics.
func states() []State {
	return []State{Discovered, Starting, Configuring, Ready, Backoff, Quarantined, Draining, Stopped}
}

// Plugin is one supervised plugin. It is safe for concurrent use.
type Plugin struct {
	cfg      Config
	log      *slog.Logger
	metrics  *pluginMetrics
	window   *window
	suspects suspects
	wanted   sync.Once
	orders   chan order

	mu       sync.Mutex
	source   source
	state    State
	since    time.Time
	inst     *instance // set while ready
	changed  chan struct{}
	restarts int
	problem  error
}

// order asks the supervisor for a new start.
type order struct {
	resume bool // only if it is not running
	done   chan error
}

func newPlugin(cfg Config, s source, log *slog.Logger, m *pluginMetrics) *Plugin {
	p := &Plugin{
		cfg: cfg, source: s, log: log, metrics: m, window: newWindow(cfg.BatchesPerDestination),
		orders: make(chan order), state: Discovered, since: time.Now(), problem: s.problem, changed: make(chan struct{}),
	}
	m.state(Discovered)
	return p
}

func (p *Plugin) set(state State, inst *instance, problem error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if state == Starting && (p.state == Backoff || p.state == Quarantined) {
		p.restarts++
	}
	if state != Starting && state != Configuring {
		p.problem = problem
	}
	if state != p.state {
		p.since = time.Now()
	}
	p.state, p.inst = state, inst
	close(p.changed)
	p.changed = make(chan struct{})
	p.metrics.state(state)
}

// ready returns what runs of the plugin; it waits a moment for one that is starting.
func (p *Plugin) ready(ctx context.Context) (*instance, error) {
	const moment = time.Second
	var timeout <-chan time.Time
	for {
		p.mu.Lock()
		inst, state, changed, problem := p.inst, p.state, p.changed, p.problem
		p.mu.Unlock()
		if inst != nil && !inst.gone() { // else it will be noticed
			return inst, nil
		}
		if timeout == nil {
			timeout = time.After(moment)
		}
		if state == Stopped || state == Draining || state == Quarantined {
			return nil, unavailable(state, problem)
		}
		select {
		case <-changed:
		case <-timeout:
			return nil, unavailable(state, problem)
		case <-ctx.Done():
			return nil, unavailable(state, problem)
		}
	}
}

func unavailable(state State, problem error) error {
	if problem != nil {
		return fmt.Errorf("%w: it is %s: %w", delivery.ErrUnavailable, state, problem)
	}
	return fmt.Errorf("%w: it is %s", delivery.ErrUnavailable, state)
}

// enter is ready, and counts a call: the instance is not ended before calls.leave.
func (p *Plugin) enter(ctx context.Context) (*instance, error) {
	for {
		inst, err := p.ready(ctx)
		if err != nil {
			return nil, err
		}
		p.mu.Lock()
		if p.inst == inst {
			inst.calls.enter()
			p.mu.Unlock()
			return inst, nil
		}
		p.mu.Unlock()
	}
}

// origin returns where the plugin comes from, as it is known now.
func (p *Plugin) origin() source {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.source
}

// ask gives the supervisor an order and waits for what comes of it.
func (p *Plugin) ask(ctx context.Context, resume bool) error {
	o := order{resume: resume, done: make(chan error, 1)}
	p.mu.Lock()
	state := p.state
	p.mu.Unlock()
	if state == Discovered || state == Stopped || state == Draining {
		return fmt.Errorf("%w: it is %s", ErrIdle, state)
	}
	select {
	case p.orders <- o:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ErrIdle says that a plugin cannot be started now: nothing needs it, or the host stops.
var ErrIdle = errors.New("plugin is not in use")

func (p *Plugin) describe() Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.source
	d := Process{
		Name: s.name, Origin: s.origin, Path: s.path, Version: s.manifest.Version, Schemes: s.schemes,
		State: p.state, Since: p.since, Restarts: p.restarts,
	}
	if p.problem != nil {
		d.Problem = p.problem.Error()
	}
	if p.inst != nil {
		d.PID, d.Version, d.Schemes = p.inst.pid, p.inst.manifest.Version, p.inst.manifest.Schemes
		d.RSS, d.CPU = usage(d.PID)
	}
	return d
}
