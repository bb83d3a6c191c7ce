package plugintest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// waiting has n deliveries hang until stop is called.
func (k *kit) waiting(ctx context.Context, n int) (p *process, stop func(), err error) {
	t, err := k.behaving(k.endpoint.hang(), "hang")
	if err != nil {
		return nil, nil, err
	}
	if p, err = k.ready(ctx); err != nil {
		return nil, nil, err
	}
	called, cancel := context.WithTimeout(ctx, k.patient(attempt))
	over := make(chan struct{})
	go func() {
		defer close(over)
		k.publishUntil(called, p, k.request(n, t), func(*publisherv1.DeliveryResult) {})
	}()
	stop = func() { cancel(); <-over }
	if t.at != nil && !t.at.await(called, 1) {
		stop()
		return nil, nil, errors.New("the receiver that hangs got no request")
	}
	return p, stop, nil
}

// status asks for the plugin's status while deliveries wait, and returns the slowest
// of its answers.
func (k *kit) status(ctx context.Context) (slowest time.Duration, last *publisherv1.GetStatusResponse, err error) {
	const deliveries, asked, pause = 32, 20, 10 * time.Millisecond
	patience := k.patient(5 * time.Second)
	p, stop, err := k.waiting(ctx, deliveries)
	if err != nil {
		return 0, nil, err
	}
	defer stop()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for range asked {
		<-tick.C
		begun := time.Now()
		called, cancel := context.WithTimeout(ctx, patience)
		last, err = p.rpc.GetStatus(called, &publisherv1.GetStatusRequest{})
		cancel()
		if err != nil {
			return 0, nil, fmt.Errorf("GetStatus while deliveries wait for a receiver: %w", err)
		}
		slowest = max(slowest, time.Since(begun))
	}
	return slowest, last, nil
}

func statusUnderLoad(ctx context.Context, k *kit) (string, error) {
	slowest, last, err := k.status(ctx)
	switch {
	case err != nil:
		return "", err
	case last.GetState() != publisherv1.GetStatusResponse_STATE_OK && last.GetState() != publisherv1.GetStatusResponse_STATE_DEGRADED:
		return "", fmt.Errorf("its state is %s (%s), want STATE_OK", last.GetState(), clip(last.GetMessage()))
	case slowest > k.patient(time.Second):
		return "", fmt.Errorf("one of 20 answers took %s; hosts restart what does not answer", slowest)
	}
	return fmt.Sprintf("the slowest of 20 answers took %s", slowest.Round(time.Microsecond)), nil
}

func statusPrompt(ctx context.Context, k *kit) (string, error) {
	prompt := k.patient(100 * time.Millisecond)
	slowest, last, err := k.status(ctx)
	switch {
	case err != nil:
		return "", err
	case slowest > prompt:
		return "", fmt.Errorf("one of 20 answers took %s", slowest)
	case last.GetDeliveriesInFlight() == 0:
		return "", errors.New("deliveries_in_flight is 0 while deliveries wait")
	}
	return fmt.Sprintf("%d in flight", last.GetDeliveriesInFlight()), nil
}

// usage is what a process holds.
type usage struct{ kilobytes, threads, files int }

// usageOf reads Linux's account of a process.
func usageOf(pid int) (u usage, err error) {
	dir := "/proc/" + strconv.Itoa(pid)
	text, err := os.ReadFile(dir + "/status")
	if err != nil {
		return u, err
	}
	for line := range bytes.Lines(text) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		number, _, _ := strings.Cut(strings.TrimSpace(string(value)), " ")
		switch string(name) {
		case "VmRSS":
			u.kilobytes, err = strconv.Atoi(number)
		case "Threads":
			u.threads, err = strconv.Atoi(number)
		}
		if err != nil {
			return u, err
		}
	}
	files, err := os.ReadDir(dir + "/fd")
	u.files = len(files)
	return u, err
}

func growth(ctx context.Context, k *kit) (string, error) {
	const warm, batches, most, handles = 200, 1000, 20_000, 16
	if runtime.GOOS != "linux" {
		return "", skip("it reads /proc: run it on Linux")
	}
	t, err := k.behaving(nil, "ok")
	if err != nil {
		return "", err
	}
	p, err := k.ready(ctx)
	if err != nil {
		return "", err
	}
	var before usage
	for i := range warm + batches {
		if i == warm {
			if before, err = usageOf(p.cmd.Process.Pid); err != nil {
				return "", err
			}
		}
		if err := k.deliversTo(ctx, p, t); err != nil {
			return "", err
		}
		if t.at != nil {
			t.at.forget()
		}
	}
	after, err := usageOf(p.cmd.Process.Pid)
	if err != nil {
		return "", err
	}
	grown := fmt.Sprintf("from %d to %d MB, %d to %d threads, %d to %d open files", before.kilobytes/1000, after.kilobytes/1000,
		before.threads, after.threads, before.files, after.files)
	if after.kilobytes-before.kilobytes > most || after.threads-before.threads > handles || after.files-before.files > handles {
		return "", fmt.Errorf("over %d batches it grew %s", batches, grown)
	}
	return grown, nil
}

// logging tempts the plugin to log much.
func logging(ctx context.Context, k *kit) (string, error) {
	const deliveries, long = 100, 100 << 10
	t, err := k.behaving(nil, "ok")
	if err != nil {
		return "", err
	}
	p, err := k.ready(ctx)
	if err != nil {
		return "", err
	}
	lines := p.output.count()
	req := k.request(deliveries, t)
	req.GetDeliveries()[0].Event.Subject = strings.Repeat("long ", long/5)
	begun := time.Now()
	a := k.publish(ctx, p, req)
	if a.err != nil || len(a.results) != deliveries {
		return "", fmt.Errorf("%d of %d answers: %w", len(a.results), deliveries, orNothing(a.err))
	}
	if n := p.output.count() - lines; n > 0 {
		return fmt.Sprintf("%d deliveries and %d lines of log in %s; the longest line has %d bytes",
			deliveries, n, time.Since(begun).Round(time.Millisecond), p.output.longestLine()), nil
	}
	return "", skip("it logs nothing at level debug, so nothing can hold it up")
}

// secrets makes every kind of attempt with a secret in its hands.
func secrets(ctx context.Context, k *kit) (string, error) {
	answers := map[string]http.HandlerFunc{
		"a good answer": echo(http.StatusOK), "status 500": echo(http.StatusInternalServerError), "status 400": echo(http.StatusBadRequest),
		"status 401": echo(http.StatusUnauthorized), "a broken connection": reset,
	}
	used := 0
	for _, answer := range answers {
		t, err := k.observed(answer)
		if errors.Is(err, errSkip) {
			t, err = k.behaving(nil, "ok")
		}
		if err != nil {
			return "", err
		}
		k.entrust(t)
		if _, err := k.one(ctx, t); err != nil {
			return "", err
		}
		if t.at == nil {
			continue
		}
		for _, r := range t.at.got() {
			_, password, _ := (&http.Request{Header: r.header}).BasicAuth()
			if k.canary.in(r.uri + password + fmt.Sprint(r.header) + string(r.body)) {
				used++
			}
		}
	}
	if err := k.nowhere(ctx); err != nil {
		return "", err
	}
	k.drop() // its log is complete now
	k.seen.mu.Lock()
	defer k.seen.mu.Unlock()
	if len(k.seen.leaks) > 0 {
		return "", fmt.Errorf("a secret shows in %s", strings.Join(k.seen.leaks, "\nand in "))
	}
	return fmt.Sprintf("%d kinds of attempts with secrets, %d of which sent them as they are; %d lines of log", len(answers)+1, used, k.seen.lines), nil
}

// entrust gives a destination secrets: those that the fixtures name, or one of the
// usual name, and a password in its URL.
func (k *kit) entrust(t target) {
	if len(t.to.GetSecrets()) == 0 {
		t.to.Secrets["secret"] = []byte(k.canary.secret)
	}
	if u, err := url.Parse(t.to.GetUri()); err == nil && u.Host != "" && u.User == nil && t.at != nil {
		u.User = url.UserPassword("kit", k.canary.password)
		t.to.Uri = u.String()
	}
}

// nowhere tries a receiver that does not exist, with secrets.
func (k *kit) nowhere(ctx context.Context) error {
	t, err := k.observed(nil)
	if errors.Is(err, errSkip) {
		return nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it only finds a free port
	if err != nil {
		return err
	}
	if err := l.Close(); err != nil {
		return err
	}
	t.to.Uri = strings.Replace(t.to.GetUri(), strings.TrimPrefix(k.endpoint.srv.URL, "http://"), l.Addr().String(), 1)
	k.entrust(t)
	_, err = k.one(ctx, t)
	return err
}

// environment gives the plugin what the host does, and nothing besides.
func environment(ctx context.Context, k *kit) (string, error) {
	p, err := k.alone(ctx, launch{env: hostEnv()})
	if err != nil {
		return "", fmt.Errorf("with the host's environment: %w", err)
	}
	defer k.end(p)
	evidence, err := k.works(ctx, p, "it delivered with "+names(hostEnv())+" alone")
	if err != nil && !errors.Is(err, errSkip) {
		err = fmt.Errorf("with %s alone in its environment: %w", names(hostEnv()), err)
	}
	return evidence, err
}

func names(env []string) string {
	list := make([]string, len(env))
	for i, v := range env {
		list[i], _, _ = strings.Cut(v, "=")
	}
	return strings.Join(list, ", ")
}

// outbound takes the permission back that every other check needs.
func outbound(ctx context.Context, k *kit) (string, error) {
	if !k.guarded() {
		return "", skip("its configuration has no member outbound")
	}
	t, err := k.observed(nil)
	if err != nil {
		return "", err
	}
	p, err := k.bare(ctx)
	if err != nil {
		return "", err
	}
	closed, err := k.settings([]string{}, nil)
	if err != nil {
		return "", err
	}
	problems, err := k.tryConfig(ctx, p, &publisherv1.ConfigureRequest{ConfigJson: closed})
	if !k.configured {
		return "", skip("the plugin does not take its configuration, see C5")
	}
	if err != nil || len(problems) > 0 {
		return "", errors.Join(err, fmt.Errorf("configuration %s: %s", closed, strings.Join(problems, "; ")))
	}
	req := k.request(1, t)
	a := k.publish(ctx, p, req)
	got := a.of(req.GetDeliveries()[0])
	if err := k.configure(ctx, p); err != nil {
		return "", err
	}
	if n := len(t.at.got()); n > 0 || got == delivered {
		return "", fmt.Errorf("with an empty outbound it reached 127.0.0.1: %d requests, outcome %s", n, got)
	}
	return got, k.deliversTo(ctx, p, t)
}
