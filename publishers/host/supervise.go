package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fresnel-search/fresnel/plugins/manifest"
)

// supervisor keeps one plugin running.
type supervisor struct {
	*Plugin
	cfg      Config
	wait     time.Duration // before the next start
	crashes  []time.Time
	probing  bool       // it is out of quarantine, on trial
	asked    chan error // who waits for the next start, if somebody does
	retiring sync.WaitGroup
}

// supervise keeps the plugin running until ctx is done; then it ends it in good order.
func (p *Plugin) supervise(ctx context.Context, cfg Config) {
	s := &supervisor{Plugin: p, cfg: cfg, wait: cfg.Supervision.First}
	defer s.retiring.Wait()
	for ctx.Err() == nil {
		began := time.Now()
		err := s.run(ctx)
		if ctx.Err() == nil {
			s.pause(ctx, err, time.Since(began))
		}
	}
	p.set(Stopped, nil, nil)
}

// run starts the plugin and watches it until it has to be started again, or ctx is
// done and it has ended in good order.
func (s *supervisor) run(ctx context.Context) error {
	inst, err := s.start(ctx, s.origin(), true)
	s.answer(err)
	if err != nil {
		return err
	}
	s.set(Ready, inst, nil)
	for {
		order, err := s.watch(ctx, inst)
		switch {
		case ctx.Err() != nil:
			s.set(Draining, nil, nil)
			s.retire(context.WithoutCancel(ctx), inst)
			return nil //nolint:nilerr // it was told to end
		case order != nil && order.resume:
			order.done <- fmt.Errorf("it is %s already", Ready)
		case order != nil:
			inst, err = s.replace(ctx, inst)
			order.done <- err
		default:
			s.set(Backoff, nil, err)
			inst.kill()
			const moment = time.Second // for batches to notice
			noticing, cancel := context.WithTimeout(context.WithoutCancel(ctx), moment)
			err = errors.Join(err, inst.calls.drain(noticing))
			cancel()
			inst.stop()
			return err
		}
	}
}

// answer tells whoever asked for this start.
func (s *supervisor) answer(err error) {
	if s.asked != nil {
		s.asked <- err
		s.asked = nil
	}
}

// start launches a process or connects to a remote plugin.
func (s *supervisor) start(ctx context.Context, from source, say bool) (*instance, error) {
	if from.problem != nil {
		return nil, final(from.problem)
	}
	// The folder may have been swept away since the last time.
	if err := os.MkdirAll(s.cfg.RunDir, private); err != nil {
		return nil, err
	}
	configuring := func() {}
	if say {
		s.set(Starting, nil, nil)
		configuring = func() { s.set(Configuring, nil, nil) }
	}
	began := time.Now()
	var inst *instance
	var err error
	if from.origin == Remote {
		inst, err = dial(ctx, s.cfg, from, configuring)
	} else {
		out := &output{log: s.log, dropped: s.metrics.dropped}
		inst, err = launch(ctx, s.cfg, from, out, configuring)
	}
	if err != nil {
		return nil, err
	}
	from.ran = true
	s.adopt(from)
	s.metrics.starting.Observe(time.Since(began).Seconds())
	s.log.Info("plugin started", "pid", inst.pid, "version", inst.manifest.Version, "duration", time.Since(began))
	return inst, nil
}

// replace starts the plugin as it is installed now. Only when that is ready does it
// get the new batches, and the old one ends when it has finished what it had. If it
// does not start, the old one stays.
func (s *supervisor) replace(ctx context.Context, old *instance) (*instance, error) {
	from := s.Plugin.cfg.again(s.origin())
	next, err := s.start(ctx, from, false)
	if err != nil {
		s.log.Error("plugin not replaced", "err", err)
		s.set(Ready, old, fmt.Errorf("not reloaded: %w", err))
		return old, err
	}
	s.set(Ready, next, nil)
	s.retiring.Go(func() { s.retire(context.WithoutCancel(ctx), old) })
	return next, nil
}

func (s *supervisor) adopt(from source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.source = from
}

func (s *supervisor) retire(ctx context.Context, inst *instance) {
	if err := inst.retire(ctx, s.cfg.StopGrace); err != nil {
		s.log.Warn("plugin did not drain", "err", err, "pid", inst.pid)
	}
	s.log.Info("plugin stopped", "pid", inst.pid)
}

// watch returns an order to be carried out, or why the instance has to be replaced;
// neither if ctx is done.
func (s *supervisor) watch(ctx context.Context, inst *instance) (*order, error) {
	const most, patience = 3, 2 * time.Second
	tick := time.NewTicker(s.cfg.HealthInterval)
	defer tick.Stop()
	calm := time.NewTimer(s.cfg.Supervision.Calm)
	defer calm.Stop()
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return nil, nil
		case <-inst.lost:
			return nil, inst.why()
		case o := <-s.orders:
			return &o, nil
		case <-calm.C:
			s.absolve()
			continue
		case <-tick.C:
		}
		err := inst.healthy(ctx, min(patience, s.cfg.HealthInterval))
		if err == nil {
			failures = 0
		} else {
			failures++
			s.log.Warn("plugin is not healthy", "err", err)
		}
		stuck := inst.progress.stalled(time.Now()) > 2*(s.cfg.AttemptTimeout+margin)
		switch {
		case errors.Is(err, errFailed):
			return nil, err
		case failures == most:
			return nil, fmt.Errorf("plugin gave no healthy answer %d times: %w", most, err)
		case stuck:
			return nil, errors.New("plugin answers for none of its deliveries")
		}
	}
}

// pause waits after an end, or a start that failed: a moment that grows, or, in
// quarantine, until something changes. An order ends the wait.
func (s *supervisor) pause(ctx context.Context, err error, ran time.Duration) {
	state, wait, reason := s.verdict(err, ran)
	s.set(state, nil, err)
	s.metrics.restarts(reason)
	s.log.Warn("plugin is not running", "err", err, "state", state, "wait", wait)
	before := s.origin().stamp()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	look := time.NewTicker(s.cfg.HealthInterval)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-look.C:
			if state == Quarantined && s.origin().stamp() != before {
				s.log.Info("plugin has changed: it is started again")
				s.renew()
				return
			}
		case o := <-s.orders:
			s.asked = o.done
			s.renew()
			return
		}
	}
}

// renew looks at what is installed and forgets what was.
func (s *supervisor) renew() {
	s.absolve()
	s.adopt(s.Plugin.cfg.again(s.origin()))
}

// absolve forgets the crashes.
func (s *supervisor) absolve() {
	s.wait, s.crashes, s.probing = s.cfg.Supervision.First, nil, false
}

// verdict decides what an end means.
func (s *supervisor) verdict(err error, ran time.Duration) (state State, wait time.Duration, reason string) {
	v, now := s.cfg.Supervision, time.Now()
	if errors.Is(err, errFinal) {
		return Quarantined, forever, "refused"
	}
	if ran > v.Calm {
		s.wait, s.probing = v.First, false
	}
	wait = jitter(s.wait)
	if s.suspects.explains() {
		// A search for the delivery that kills it is under way, and gets on.
		s.suspects.accept()
		return Backoff, jitter(v.First), "delivery"
	}
	s.wait = min(2*s.wait, v.Longest)
	if s.origin().origin == Remote {
		return Backoff, wait, "connection"
	}
	s.crashes = append(s.crashes, now)
	for len(s.crashes) > v.Crashes || now.Sub(s.crashes[0]) > v.Within {
		s.crashes = s.crashes[1:]
	}
	if len(s.crashes) == v.Crashes || s.probing {
		s.probing = true
		return Quarantined, jitter(v.Probe), "crash"
	}
	return Backoff, wait, "crash"
}

const forever = 1<<63 - 1

// jitter spreads a pause by a fifth either way.
func jitter(d time.Duration) time.Duration {
	const fifth = 5
	return d - d/fifth + rand.N(2*d/fifth+1)
}

// again looks a plugin up once more: its folder may have changed.
func (c Config) again(s source) source {
	if s.origin == BuiltIn {
		return s
	}
	return c.source(s.name, c.installed())
}

// stamp changes when the files change that a plugin is made of.
func (s source) stamp() string {
	files := []string{s.path}
	if s.origin == Folder {
		files = append(files, filepath.Join(s.path, manifest.FileName))
		if _, sums, err := program(s.manifest); err == nil {
			for _, name := range slices.Sorted(maps.Keys(sums)) {
				files = append(files, filepath.Join(s.path, name))
			}
		}
	}
	var stamp strings.Builder
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			fmt.Fprintln(&stamp, f, info.ModTime().UnixNano(), info.Size(), info.Mode())
		}
	}
	return stamp.String()
}
