package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/configs"
	"github.com/fresnel-search/fresnel/indexer/record"
)

// What is embedded is one process's alone, and what it is fed by or feeds must be so,
// too: an embedded store may have no partner in its consumer group, and an embedded
// Kafka none in its store. A configuration does not show that another process has the
// same one, so both are looked for.

const (
	soleLook = 500 * time.Millisecond
	// soleGrace is how much longer than its membership or lease lasts a dead process is
	// waited for.
	soleGrace = 5 * time.Second
)

// sole fails if another process is there that must not be.
func (s *system) sole(ctx context.Context) error {
	switch embeddedKafka := s.broker != nil; {
	case !s.Config.Shared() && !embeddedKafka:
		others := func(ctx context.Context) ([]string, error) { return s.kafka.Others(ctx, s.Config.Indexer.Group) }
		s.check("store alone", func(ctx context.Context) error { return halved(ctx, others) })
		return s.awaitAlone(ctx, others, s.Config.Listener.Kafka.SessionTimeout+soleGrace)
	case s.Config.Shared() && embeddedKafka:
		l := record.NewLease(s.store, "embedded_kafka", s.name)
		if err := claimed(ctx, l); err != nil {
			return err
		}
		s.add("store's only log", func(ctx context.Context) error { return claim(ctx, l) }, nil)
	}
	return nil
}

// halved says that others read what this process's store is to hold.
func halved(ctx context.Context, others func(context.Context) ([]string, error)) error {
	who, err := others(ctx)
	if err != nil || len(who) == 0 {
		return nil //nolint:nilerr // that Kafka does not answer is said elsewhere
	}
	return fmt.Errorf("%s reads the same consumer group, and indexer.store is %s, which one process has alone: each would hold a part of all documents. "+
		"Stop one, or set indexer.store: %s in both", strings.Join(who, ", "), configs.StoreSQLite, configs.StoreElasticsearch)
}

// awaitAlone waits for others to go: one that was killed is a member for a while.
func (s *system) awaitAlone(ctx context.Context, others func(context.Context) ([]string, error), limit time.Duration) error {
	for began, said := time.Now(), false; ; {
		err := halved(ctx, others)
		if err == nil || time.Since(began) > limit {
			return err
		}
		if !said {
			s.Log.Warn("waiting for another process to go", "limit", limit, "err", err)
			said = true
		}
		if !pause(ctx, soleLook) {
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// twoLogs says that another process feeds the store from a Kafka of its own.
func twoLogs(l *record.Lease) error {
	return fmt.Errorf("%s feeds the same store from an embedded Kafka of its own: what one appends, the other never delivers. "+
		"Set listener.kafka.brokers in both, or another indexer.elasticsearch.prefix in one", l.Holder())
}

// claimed takes the lease; one of a process that was killed runs out meanwhile.
func claimed(ctx context.Context, l *record.Lease) error {
	for began := time.Now(); ; {
		held, err := l.Acquire(ctx)
		switch {
		case held:
			return nil
		case time.Since(began) > record.LeaseLength+soleGrace:
			if err == nil {
				err = twoLogs(l)
			}
			return err
		}
		if !pause(ctx, soleLook) {
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// claim keeps the lease until ctx is done. That the store does not answer for a while
// does no harm: only that somebody else has the lease then is the end.
func claim(ctx context.Context, l *record.Lease) error {
	for ctx.Err() == nil {
		if l.Valid() {
			err := l.Hold(ctx, func(ctx context.Context) error {
				<-ctx.Done()
				return nil
			})
			if ctx.Err() != nil {
				return err
			}
			continue
		}
		if _, err := l.Acquire(ctx); err == nil && !l.Valid() && l.Holder() != "" {
			return twoLogs(l)
		}
		pause(ctx, soleLook)
	}
	return nil
}

// pause waits for d, and answers false if ctx was done before.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
