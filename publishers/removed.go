package publishers

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/fresnel-search/fresnel/indexer/record"
)

const (
	// keepRemoved is how long the state of a name is kept that is configured no more.
	keepRemoved = 7 * 24 * time.Hour
	sweepEvery  = time.Hour
)

// sweep removes the state of names that were removed long ago, until ctx is done.
func (e *Engine) sweep(ctx context.Context) {
	for ctx.Err() == nil {
		if err := e.sweepOnce(ctx, time.Now().UTC()); err != nil && ctx.Err() == nil {
			e.log.Warn("removed subscriptions not swept", "err", err)
		}
		pause(ctx, sweepEvery)
	}
}

func (e *Engine) sweepOnce(ctx context.Context, now time.Time) error {
	const page = 100
	for after := ""; ; {
		rs, err := e.records.Scan(ctx, subscriptionsTable, after, page)
		if err != nil {
			return err
		}
		for _, r := range rs {
			after = r.Key
			if slices.ContainsFunc(e.subs, func(s *subscription) bool { return s.config.Name == r.Key }) {
				continue
			}
			if err := e.removed(ctx, r, now); err != nil {
				return err
			}
		}
		if len(rs) < page {
			return nil
		}
	}
}

// removed marks the state of a removed name, or deletes it when its time has come:
// first what is parked, so that a crash leaves nothing that nobody finds.
func (e *Engine) removed(ctx context.Context, r record.Record, now time.Time) error {
	var st stateRecord
	if err := json.Unmarshal(r.Value, &st); err != nil {
		return err
	}
	switch {
	case st.Removed.IsZero():
		st.Removed = now
		b, err := json.Marshal(st)
		if err != nil {
			return err
		}
		r.Value = b
		e.log.Info("subscription is not configured any more", "subscription", r.Key, "wait", keepRemoved)
		return saveOne(ctx, e.records, r)
	case now.Sub(st.Removed) < keepRemoved:
		return nil
	}
	err := scan(ctx, e.records, parkedTable, parkedKey(r.Key, ""), func(p record.Record) error {
		p.Value = nil
		return saveOne(ctx, e.records, p)
	})
	if err != nil {
		return err
	}
	r.Value = nil
	e.log.Info("state of a removed subscription deleted", "subscription", r.Key)
	return saveOne(ctx, e.records, r)
}
