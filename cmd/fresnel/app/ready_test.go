package app

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fresnel-search/fresnel/searchapi"
)

func TestPartsAreAskedTogetherAndWithinOneDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &system{}
		slow := func(d time.Duration) func(context.Context) error {
			return func(context.Context) error {
				time.Sleep(d) // sleep: on the fake clock
				return nil
			}
		}
		for i := range 5 {
			s.check(fmt.Sprint("slow ", i), slow(1500*time.Millisecond))
		}
		s.degrades("hangs", slow(time.Minute))
		s.check("hangs too", slow(time.Minute))
		s.check("broken", func(context.Context) error { return errors.New("broken") })
		began := time.Now()
		parts := s.readiness()
		if took := time.Since(began); took > readyTimeout {
			t.Errorf("readiness took %s, at most %s is promised", took, readyTimeout)
		}
		want := []searchapi.State{searchapi.Up, searchapi.Up, searchapi.Up, searchapi.Up, searchapi.Up, searchapi.Degraded, searchapi.Down, searchapi.Down}
		for i, p := range parts {
			if p.State != want[i] || p.Name != s.ready[i].name || (p.State == searchapi.Up) != (p.Reason == "") {
				t.Errorf("part %d is %+v, want it %s, in its place", i, p, want[i])
			}
		}
		time.Sleep(time.Hour) // sleep: on the fake clock, for those that hang
	})
}

func TestClusterThatDoesNotTellRetentionsIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		r := &retentions{ask: func(context.Context, []string) (map[string]time.Duration, error) {
			asked++
			return nil, errors.New("no answer")
		}}
		for range 60 {
			if err := r.compare(t.Context(), []string{"a"}, time.Hour); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) // sleep: on the fake clock
		}
		if asked != 1 {
			t.Errorf("in a minute of probes the cluster was asked %d times", asked)
		}
	})
}
