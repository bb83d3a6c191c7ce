package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// retentionFor is how long an answer about topics' retention holds.
const retentionFor = 10 * time.Minute

// retentions compares how long topics are kept with how long tombstones are.
type retentions struct {
	ask func(ctx context.Context, topics []string) (map[string]time.Duration, error)

	mu     sync.Mutex
	topics []string
	at     time.Time
	err    error
}

// compare names each topic that is kept for longer than tombstones are. It asks the
// cluster rarely, and says nothing while the cluster does not answer or may not tell.
func (r *retentions) compare(ctx context.Context, topics []string, tombstones time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.at) < retentionFor && slices.Equal(topics, r.topics) {
		return r.err
	}
	found, err := r.ask(ctx, topics)
	if err != nil {
		return r.err
	}
	var errs []error
	for _, t := range topics {
		kept, known := found[t]
		switch {
		case !known || kept >= 0 && kept <= tombstones:
		case kept < 0:
			errs = append(errs, fmt.Errorf("topic %s is kept for ever, tombstones for %s (indexer.tombstone_retention): "+
				"reading it again can bring deleted resources back", t, tombstones))
		default:
			errs = append(errs, fmt.Errorf("topic %s is kept for %s, tombstones only for %s (indexer.tombstone_retention): "+
				"reading it again can bring deleted resources back", t, kept, tombstones))
		}
	}
	r.topics, r.at, r.err = slices.Clone(topics), time.Now(), errors.Join(errs...)
	return r.err
}
