package app

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fresnel-search/fresnel/listener/kafka/embedded"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// produced notes how many records each call appends.
type produced struct{ calls []int }

func (p *produced) Produce(_ context.Context, rs []stream.Record) error {
	p.calls = append(p.calls, len(rs))
	return nil
}

func TestListenerAppendsInSmallStepsWhileRoomIsScarce(t *testing.T) {
	t.Parallel()
	batch := make([]stream.Record, 250)
	for _, c := range []struct {
		used int64
		want []int
	}{{49, []int{250}}, {50, []int{100, 100, 50}}} {
		p := &produced{}
		r := room{func() embedded.Usage { return embedded.Usage{Bytes: c.used, Cap: 100} }, func() int64 { return 1 }}
		if err := (frugal{p, r}).Produce(t.Context(), batch); err != nil || !slices.Equal(p.calls, c.want) {
			t.Errorf("with %d %% used: calls of %v, %v; want %v", c.used, p.calls, err, c.want)
		}
	}
	p := &produced{}
	if err := (frugal{p, room{}}).Produce(t.Context(), batch); err != nil || len(p.calls) != 1 {
		t.Errorf("with another Kafka: calls of %v, %v", p.calls, err)
	}
}

func TestListenerWaitsForRoomOnlyWhileTheIndexerHasWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, lag := &produced{}, int64(1)
		r := room{func() embedded.Usage { return embedded.Usage{Bytes: 90, Cap: 100} }, func() int64 { return lag }}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := (frugal{p, r}).Produce(ctx, make([]stream.Record, 1)); !errors.Is(err, context.DeadlineExceeded) || len(p.calls) > 0 {
			t.Errorf("with mutations waiting: %v, calls of %v", err, p.calls)
		}
		lag = 0
		if err := (frugal{p, r}).Produce(t.Context(), make([]stream.Record, 1)); err != nil || len(p.calls) != 1 {
			t.Errorf("with none waiting: %v, calls of %v", err, p.calls)
		}
	})
}
