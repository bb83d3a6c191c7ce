package plugintest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	rpc "google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// own starts a process that the check may end, configured.
func (k *kit) own(ctx context.Context) (*process, error) {
	p, err := k.alone(ctx, launch{})
	if err != nil {
		return nil, err
	}
	if err := k.configure(ctx, p); err != nil {
		k.end(p)
		return nil, err
	}
	return p, nil
}

// drains has a delivery under way, drains, and lets it end only once the plugin
// refuses others.
func drains(ctx context.Context, k *kit) (string, error) {
	done := make(chan struct{})
	other, err := k.behaving(nil, "ok")
	if err != nil {
		return "", err
	}
	p, err := k.own(ctx)
	if err != nil {
		return "", err
	}
	defer k.end(p)
	slow, err := k.observed(k.endpoint.holds(done))
	if err != nil {
		if _, err := p.rpc.Drain(ctx, &publisherv1.DrainRequest{Grace: durationpb.New(attempt)}); err != nil {
			return "", fmt.Errorf("call of Drain: %w", err)
		}
		return "what came was refused with UNAVAILABLE; nothing could be held under way", k.untilRefused(ctx, p, other)
	}
	ctx, cancel := context.WithTimeout(ctx, k.patient(attempt))
	defer cancel()
	req := k.request(1, slow)
	under := make(chan answered, 1)
	go func() { under <- k.publish(ctx, p, req) }()
	if !slow.at.await(ctx, 1) {
		return "", errors.New("no request came")
	}
	type drained struct {
		resp *publisherv1.DrainResponse
		err  error
	}
	end := make(chan drained, 1)
	go func() {
		resp, err := p.rpc.Drain(ctx, &publisherv1.DrainRequest{Grace: durationpb.New(attempt)})
		end <- drained{resp, err}
	}()
	refusal := k.untilRefused(ctx, p, other)
	close(done)
	a, d := <-under, <-end
	switch got := a.of(req.GetDeliveries()[0]); {
	case d.err != nil:
		return "", fmt.Errorf("call of Drain: %w", d.err)
	case refusal != nil:
		return "", refusal
	case got != delivered:
		return "", fmt.Errorf("the delivery that was under way when it was asked to drain: %s, want %s", got, delivered)
	case d.resp.GetAbandoned() != 0:
		return "", fmt.Errorf("it says at the end of Drain that %d deliveries were abandoned, want 0", d.resp.GetAbandoned())
	}
	return "what was under way ended well, what came was refused with UNAVAILABLE", nil
}

// untilRefused sends deliveries until one is refused: Drain takes effect some time
// after it is called.
func (k *kit) untilRefused(ctx context.Context, p *process, t target) error {
	patience := k.patient(3 * time.Second)
	for begun := time.Now(); ; {
		a := k.publish(ctx, p, k.request(1, t))
		switch code := rpc.Code(a.err); {
		case code == codes.Unavailable && len(a.results) == 0:
			return nil
		case a.err != nil:
			return fmt.Errorf("while it drains, a new batch ends with status %s, want UNAVAILABLE", code)
		case time.Since(begun) > patience:
			return fmt.Errorf("%s after Drain it still takes new batches, want them refused with UNAVAILABLE", patience)
		}
	}
}

// exits asks a process to end and reports how it did.
func (k *kit) exits(ctx context.Context) (*process, error) {
	within := k.patient(2 * time.Second)
	p, err := k.own(ctx)
	if err != nil {
		return nil, err
	}
	called, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err = p.shutdown(called) // which may well break off
	if rpc.Code(err) == codes.Unimplemented {
		return p, errors.New("it has no service plugin.GRPCController with a method Shutdown: every stop would be a kill")
	}
	if !p.wait(within) {
		return p, fmt.Errorf("%s after Shutdown it still runs: every stop would be a kill", within)
	}
	return p, nil
}

func shutdown(ctx context.Context, k *kit) (string, error) {
	p, err := k.exits(ctx)
	if p != nil {
		defer k.end(p)
	}
	if err != nil {
		return "", err
	}
	return p.cmd.ProcessState.String(), nil
}

func exitStatus(ctx context.Context, k *kit) (string, error) {
	p, err := k.exits(ctx)
	if p != nil {
		defer k.end(p)
	}
	if err != nil {
		return "", skip("it does not exit by itself, see X2")
	}
	if !p.cmd.ProcessState.Success() {
		return "", fmt.Errorf("after Shutdown it ends with %s, want exit status 0", p.cmd.ProcessState)
	}
	return p.cmd.ProcessState.String(), nil
}

// lifeline closes the plugin's stdin, as the kernel does when a host is killed.
func lifeline(ctx context.Context, k *kit) (string, error) {
	within := k.patient(2 * time.Second)
	p, err := k.own(ctx)
	if err != nil {
		return "", err
	}
	defer k.end(p)
	if p.wait(within / 10) {
		return "", fmt.Errorf("it ended while its host is there: %s", p.cmd.ProcessState)
	}
	if err := p.lifeline.Close(); err != nil {
		return "", err
	}
	if !p.wait(within) {
		return "", fmt.Errorf("%s after its stdin ended it still runs: when the host is killed, it would stay behind", within)
	}
	return "it ended when its stdin did", nil
}

// killed kills the plugin while a delivery is under way, and delivers it again.
func killed(ctx context.Context, k *kit) (string, error) {
	var mu sync.Mutex
	hang := k.endpoint.hang()
	t, err := k.observed(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		answer := hang
		hang = status(http.StatusOK)
		mu.Unlock()
		answer(w, r)
	})
	if err != nil {
		return k.killedAfter(ctx)
	}
	req := k.request(1, t)
	p, err := k.own(ctx)
	if err != nil {
		return "", err
	}
	first := make(chan answered, 1)
	go func() { first <- k.publish(ctx, p, req) }()
	came := t.at.await(ctx, 1)
	err = p.signal(syscall.SIGKILL)
	a := <-first
	k.end(p)
	switch {
	case err != nil:
		return "", err
	case !came:
		return "", errors.New("no request came")
	case len(a.results) > 0:
		return "", fmt.Errorf("a delivery was answered with %s before the receiver had answered", outcome(a.results[0]))
	}
	again, err := k.own(ctx)
	if err != nil {
		return "", fmt.Errorf("started again after a kill: %w", err)
	}
	defer k.end(again)
	req.GetDeliveries()[0].Attempt = 2
	a = k.publish(ctx, again, req)
	if got := a.of(req.GetDeliveries()[0]); got != delivered || len(t.at.got()) < 2 {
		return "", fmt.Errorf("after a kill in mid-batch, the same delivery again: %s, %d requests in all, want 2: "+
			"a plugin keeps nothing that survives it", got, len(t.at.got()))
	}
	return "the delivery that was cut off arrived at the second attempt", nil
}

// killedAfter kills the plugin after a delivery whose receiver nobody sees, and delivers
// it again.
func (k *kit) killedAfter(ctx context.Context) (string, error) {
	t, err := k.behaving(nil, "ok")
	if err != nil {
		return "", err
	}
	req := k.request(1, t)
	for n := range 2 {
		p, err := k.own(ctx)
		if err != nil {
			return "", err
		}
		a := k.publish(ctx, p, req)
		err = p.signal(syscall.SIGKILL)
		k.end(p)
		if got := a.of(req.GetDeliveries()[0]); err != nil || got != delivered {
			return "", errors.Join(err, fmt.Errorf("attempt %d, with a kill in between: %s, want %s", n+1, got, delivered))
		}
	}
	return "it delivered before and after a kill", nil
}

func stdout(_ context.Context, k *kit) (string, error) {
	k.drop()
	k.seen.mu.Lock()
	defer k.seen.mu.Unlock()
	if len(k.seen.extra) > 0 {
		return "", fmt.Errorf("besides the handshake it wrote to stdout: %q", k.seen.extra[:min(len(k.seen.extra), keep)])
	}
	return fmt.Sprintf("%d processes wrote one line each", k.processes), nil
}

func readableLog(_ context.Context, k *kit) (string, error) {
	k.drop()
	k.seen.mu.Lock()
	defer k.seen.mu.Unlock()
	switch {
	case k.seen.lines == 0:
		return "", skip("it logged nothing")
	case len(k.seen.unread) > 0:
		return "", fmt.Errorf("lines of JSON without a known level or message: %s", strings.Join(k.seen.unread[:min(len(k.seen.unread), 3)], "\n"))
	case k.seen.plain > 0:
		return "", fmt.Errorf("%d of %d lines are not JSON, so hosts log them at level info", k.seen.plain, k.seen.lines)
	}
	return fmt.Sprintf("%d lines, all with level and message", k.seen.lines), nil
}
