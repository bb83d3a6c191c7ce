package app

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/fresnel-search/fresnel/listener/stream"
)

const (
	// lagEvery is how often a cluster is asked how many mutations wait, lagTimeout how
	// long it may take to answer.
	lagEvery   = time.Second
	lagTimeout = 5 * time.Second
)

// lagger is a Kafka that knows how far a group is behind.
type lagger interface {
	Lag(ctx context.Context, group string, topics ...string) (map[stream.Partition]int64, error)
}

// backlog is how many mutations wait for the indexers of all processes, as a cluster
// last said. While it does not answer, the last answer counts.
type backlog struct {
	kafka        lagger
	group, topic string
	log          *slog.Logger
	waiting      atomic.Int64
}

// run asks until ctx is done.
func (b *backlog) run(ctx context.Context) error {
	tick := time.NewTicker(lagEvery)
	defer tick.Stop()
	for {
		b.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (b *backlog) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lagTimeout)
	defer cancel()
	lags, err := b.kafka.Lag(ctx, b.group, b.topic)
	if err != nil {
		b.log.Debug("length of the mutation log unknown", "err", err)
		return
	}
	var sum int64
	for _, n := range lags {
		sum += n
	}
	b.waiting.Store(sum)
}
