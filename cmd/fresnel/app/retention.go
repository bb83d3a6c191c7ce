package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// retentionFor is how long an answer about topics' retention holds, and retentionAgain
// how long a cluster is left alone that did not answer.
const (
	retentionFor   = 10 * time.Minute
	retentionAgain = time.Minute
)

// retentions compares how long topics are kept with how long tombstones are.
type retentions struct {
	ask func(ctx context.Context, topics []string) (map[string]time.Duration, error)

	mu     sync.Mutex
	topics []string
	until  time.Time // when the cluster is to be asked again
	err    error
}

// compare names each topic that is kept for longer than tombstones are. It asks the
// cluster rarely, and says nothing while the cluster does not answer or may not tell.
func (r *retentions) compare(ctx context.Context, topics []string, tombstones time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(r.until) && slices.Equal(topics, r.topics) {
		return r.err
	}
	found, err := r.ask(ctx, topics)
	r.topics = slices.Clone(topics)
	if err != nil {
		r.until = time.Now().Add(retentionAgain)
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
	r.until, r.err = time.Now().Add(retentionFor), errors.Join(errs...)
	return r.err
}
