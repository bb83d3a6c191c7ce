package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fresnel-search/fresnel/publishers/delivery"
)

// State is where a plugin stands.
type State string

// The states of a plugin.
const (
	Idle     State = "idle" // nobody asked for it
	Starting State = "starting"
	Ready    State = "ready"
	Backoff  State = "backoff" // it ended or did not start; it is started again soon
	Draining State = "draining"
	Stopped  State = "stopped"
)

// Plugin is one supervised plugin. It is safe for concurrent use.
type Plugin struct {
	cfg     Config
	spec    spec
	log     *slog.Logger
	metrics *pluginMetrics
	window  *window
	wanted  sync.Once

	mu       sync.Mutex
	state    State
	proc     *process // set while ready
	changed  chan struct{}
	restarts int
	problem  error
}

func newPlugin(cfg Config, s spec, log *slog.Logger, m *pluginMetrics) *Plugin {
	return &Plugin{
		cfg: cfg, spec: s, log: log, metrics: m, window: newWindow(cfg.BatchesPerDestination),
		state: Idle, changed: make(chan struct{}),
	}
}

// supervise keeps the plugin running until ctx is done.
func (p *Plugin) supervise(ctx context.Context, runDir string) {
	const first, longest, calm = 100 * time.Millisecond, 30 * time.Second, time.Minute
	cfg := p.cfg
	cfg.RunDir = runDir
	for wait := first; ; {
		began := time.Now()
		err := p.runOnce(ctx, cfg)
		if ctx.Err() != nil {
			p.set(Stopped, nil, nil)
			return
		}
		if time.Since(began) > calm {
			wait = first
		}
		p.set(Backoff, nil, err)
		p.metrics.restarts.Inc()
		pause := jitter(wait)
		p.log.Warn("plugin is not running", "err", err, "wait", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		wait = min(2*wait, longest)
	}
}

// jitter spreads a pause by a fifth either way.
func jitter(d time.Duration) time.Duration {
	const fifth = 5
	return d - d/fifth + rand.N(2*d/fifth+1)
}

// runOnce starts the plugin and watches it until it has to be started again, or ctx
// is done and it has ended in good order.
func (p *Plugin) runOnce(ctx context.Context, cfg Config) error {
	// The folder may have been swept away since the last time.
	const private = 0o700
	if err := os.MkdirAll(cfg.RunDir, private); err != nil {
		return err
	}
	p.set(Starting, nil, nil)
	out := &output{log: p.log, dropped: p.metrics.dropped}
	proc, err := launch(ctx, cfg, p.spec, out)
	if err != nil {
		return err
	}
	defer proc.stop()
	p.set(Ready, proc, nil)
	p.log.Info("plugin started", "pid", proc.pid, "version", proc.version)
	err = p.watch(ctx, proc)
	if ctx.Err() == nil {
		p.set(Backoff, nil, err)
		proc.runner.killGroup()
		return err
	}
	p.set(Draining, nil, nil)
	if err := proc.drain(context.WithoutCancel(ctx), cfg.StopGrace); err != nil {
		p.log.Warn("plugin did not drain", "err", err)
	}
	p.log.Info("plugin stopped", "pid", proc.pid)
	return nil
}

// watch returns why the process has to be replaced; nil if ctx is done.
func (p *Plugin) watch(ctx context.Context, proc *process) error {
	const most, patience = 3, 2 * time.Second
	tick := time.NewTicker(p.cfg.HealthInterval)
	defer tick.Stop()
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-proc.runner.exited:
			if proc.runner.exit != nil {
				return fmt.Errorf("plugin exited: %w", proc.runner.exit)
			}
			return errors.New("plugin exited with status 0")
		case <-tick.C:
		}
		err := proc.healthy(ctx, min(patience, p.cfg.HealthInterval))
		if err == nil {
			failures = 0
		} else {
			failures++
			p.log.Warn("plugin is not healthy", "err", err)
		}
		stuck := proc.progress.stalled(time.Now()) > 2*(p.cfg.AttemptTimeout+margin)
		switch {
		case failures == most:
			return fmt.Errorf("plugin gave no healthy answer %d times: %w", most, err)
		case stuck:
			return errors.New("plugin answers for none of its deliveries")
		}
	}
}

func (p *Plugin) set(state State, proc *process, problem error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if state == Starting && p.state == Backoff {
		p.restarts++
	}
	if state != Starting {
		p.problem = problem
	}
	p.state, p.proc = state, proc
	close(p.changed)
	p.changed = make(chan struct{})
	ready := 0.0
	if state == Ready {
		ready = 1
	}
	p.metrics.ready.Set(ready)
}

// ready returns the running process; it waits a moment for one that is starting.
func (p *Plugin) ready(ctx context.Context) (*process, error) {
	const moment = time.Second
	ctx, cancel := context.WithTimeout(ctx, moment)
	defer cancel()
	for {
		p.mu.Lock()
		proc, state, changed, problem := p.proc, p.state, p.changed, p.problem
		p.mu.Unlock()
		if proc != nil {
			return proc, nil
		}
		if state == Stopped || state == Draining {
			return nil, fmt.Errorf("%w: %s", delivery.ErrUnavailable, state)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if problem != nil {
				return nil, fmt.Errorf("%w: %s: %w", delivery.ErrUnavailable, state, problem)
			}
			return nil, fmt.Errorf("%w: %s", delivery.ErrUnavailable, state)
		}
	}
}

func (p *Plugin) describe() Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := Process{Name: p.spec.name, State: p.state, Restarts: p.restarts}
	if p.problem != nil {
		d.Problem = p.problem.Error()
	}
	if p.proc != nil {
		d.PID, d.Version = p.proc.pid, p.proc.version
		d.RSS = residentBytes(d.PID)
	}
	return d
}

// residentBytes reads a process's resident memory; 0 where /proc does not tell.
func residentBytes(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	const resident = 1
	if len(fields) <= resident {
		return 0
	}
	pages, err := strconv.ParseInt(fields[resident], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
