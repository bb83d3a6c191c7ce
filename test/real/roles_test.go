//go:build real

package real

import (
	"context"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/test/acceptance"
	"github.com/fresnel-search/fresnel/test/harness"
)

func TestRollingRestartOfSplitRolesUnderLoadLosesNothing(t *testing.T) {
	e := harness.Real(t)
	h := acceptance.NewHistory(t)
	var processes []*harness.Server
	for _, role := range []string{"searchapi", "listener", "listener", "indexer", "indexer", "publishers", "publishers"} {
		s := e.New(t, h.Config())
		s.Roles = role
		s.Launch()
		processes = append(processes, s)
	}
	for _, s := range processes {
		s.WaitReady()
	}
	h.Begin(processes...)
	ctx, enough := context.WithCancel(t.Context())
	played := make(chan error)
	go func() {
		defer close(played)
		for ctx.Err() == nil {
			if err := h.Play(t.Context(), e.Kafka, h.Next()); err != nil {
				played <- err
				return
			}
		}
	}()
	for _, s := range processes[1:] {
		code, took := s.Stop()
		if code != 0 || took > 10*time.Second {
			t.Errorf("SIGTERM under load: %s ended with %d after %s", s.Roles, code, took)
		}
		begin := time.Now()
		s.Start()
		t.Logf("%-10s stopped in %s, ready again in %s", s.Roles, took.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
		<-time.After(time.Second)
	}
	enough()
	if err := <-played; err != nil {
		t.Fatal(err)
	}
	h.Rest(processes...)
	h.Verify(processes[0])
}
