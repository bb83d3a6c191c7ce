package kafka

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/fresnel-search/fresnel/listener/stream"
)

// lagIntervals is how many of topics_interval lie between two looks at a group's lag
// in the whole cluster.
const lagIntervals = 3

// survey asks the cluster from time to time how far the group is, in partitions that
// other processes hold too, and in those whose reader hears nothing.
func (g *group) survey(ctx context.Context) {
	for sleep(ctx, lagIntervals*g.c.cfg.TopicsInterval) {
		g.mu.Lock()
		topics := slices.Collect(maps.Keys(g.topics))
		g.mu.Unlock()
		ends, done, err := g.c.progress(ctx, g.cfg.Group, topics)
		if err != nil {
			g.c.log.Debug("lag not known", "group", g.cfg.Group, "err", err)
			continue
		}
		g.note(ends, done)
	}
}

// note takes in what a survey found.
func (g *group) note(ends map[stream.Partition]span, done map[stream.Partition]Committed) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lags = make(map[stream.Partition]int64, len(ends))
	for p, s := range ends {
		g.lags[p] = max(0, s.end-max(s.first, done[p].Offset))
		if w := g.workers[p]; w != nil {
			w.heard(s.end, time.Now())
		}
	}
}

// progress tells the bounds of topics and what a group has committed in them.
// Partitions without a leader are left out.
func (c *Client) progress(ctx context.Context, group string, topics []string) (map[stream.Partition]span, map[stream.Partition]Committed, error) {
	there, err := c.topics(ctx)
	if err != nil {
		return nil, nil, err
	}
	var ps []stream.Partition
	for _, t := range topics {
		for id := range there[t].partitions {
			ps = append(ps, stream.Partition{Topic: t, ID: id})
		}
	}
	if len(ps) == 0 {
		return nil, nil, nil
	}
	ends, err := c.bounds(ctx, ps)
	if len(ends) == 0 && err != nil {
		return nil, nil, err
	}
	done, err := c.committed(ctx, group, ps)
	return ends, done, err
}

// heard takes in that the log ends at end.
func (w *worker) heard(end int64, now time.Time) {
	w.show(func() {
		w.high = max(w.high, end)
		switch atHand := !w.took.IsZero() || w.feed != nil && !w.feed.head().IsZero(); {
		case atHand || w.high <= w.next:
			w.unread = time.Time{}
		case w.unread.IsZero():
			w.unread = now
		}
	})
}
