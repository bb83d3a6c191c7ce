package acceptance

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/test/harness"
)

// CrashPlan says where and how often a process dies.
type CrashPlan struct {
	// Points are named places, each before the next thing that would have to happen;
	// the process dies there when it comes by for each of Nth times.
	Points []string
	Nth    []int
	// Kills is how often it is killed at a random moment within the time after it is
	// ready and has got its records.
	Kills  int
	Within time.Duration
}

// CrashPoints are all named places.
func CrashPoints() []string {
	return []string{
		"mutation-produce", "store-write", "change-produce", "handled", "commit", "cascade",
		"plugin-ack", "save-parked_deliveries", "save-subscriptions",
	}
}

// AllCrashes is every point at three times, and twenty kills.
func AllCrashes() CrashPlan {
	return CrashPlan{Points: CrashPoints(), Nth: []int{1, 2, 4}, Kills: 20, Within: 1200 * time.Millisecond}
}

// Crashes has a server die as the plan says while clouds are played and deliveries go
// out, and compares what came of it with the oracle.
func Crashes(t testing.TB, e *harness.Engines, plan CrashPlan) {
	t.Helper()
	h := NewHistory(t)
	c := &crashes{t: t, h: h, s: e.New(t, h.Config())}
	c.s.Start()
	h.Begin(c.s)
	c.s.Kill()
	for _, p := range plan.Points {
		for _, nth := range plan.Nth {
			c.round(fmt.Sprintf("%s:%d", p, nth), 60*time.Second)
		}
	}
	for range plan.Kills {
		c.round("", rand.N(plan.Within))
	}
	c.s.Start()
	if err := h.Play(t.Context(), c.s.Kafka, h.Next()); err != nil {
		t.Fatal(err)
	}
	h.Rest(c.s)
	h.Verify(c.s)
}

// crashes is a server that dies again and again.
type crashes struct {
	t testing.TB
	h *History
	s *harness.Server
}

// round plays one more cloud into a server that dies by itself, or is killed, and
// plays it again if it died too early.
func (c *crashes) round(crash string, after time.Duration) {
	c.t.Helper()
	cloud, begin := c.h.Next(), time.Now()
	defer func() { c.t.Logf("%-26s %s", crash, time.Since(begin).Round(time.Millisecond)) }()
	c.s.Launch("FRESNEL_CRASH=" + crash)
	if err := c.answering(); err == nil {
		ctx, cancel := context.WithCancel(context.Background())
		ended := c.s.Ended()
		go func() {
			select {
			case <-ended:
				cancel()
			case <-ctx.Done():
			}
		}()
		err := c.h.Play(ctx, c.s.Kafka, cloud)
		if err == nil {
			cloud = nil
		} else if ctx.Err() == nil {
			c.t.Fatalf("the server runs, but: %v", err)
		}
		cancel()
	}
	select {
	case <-c.s.Ended():
	case <-time.After(after):
		if crash != "" {
			c.t.Fatalf("the server never came to %s", crash)
		}
		c.s.Kill()
	}
	if cloud != nil {
		c.s.Start()
		if err := c.h.Play(c.t.Context(), c.s.Kafka, cloud); err != nil {
			c.t.Fatal(err)
		}
		c.s.Kill()
	}
}

// answering waits until the server takes records, or has died.
func (c *crashes) answering() error {
	c.t.Helper()
	var err error
	late := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-c.s.Ended():
			return errors.New("ended")
		case <-late:
			c.t.Fatalf("the server is not ready: %v", err)
		case <-tick.C:
		}
		if err = c.s.Get("/readyz", nil); err == nil {
			return nil
		}
	}
}
