package elastic

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/elastic/go-elasticsearch/v8/esapi"
)

// refreshes has those share a refresh who need one at the same time: one that begins
// after somebody asked is as good as his own. Servers have few threads for refreshes, and
// a cascade on each partition may ask for one.
type refreshes struct {
	mu      sync.Mutex
	waiting map[string]*refreshed    // those that have not begun, by alias
	turns   map[string]chan struct{} // one refresh at a time
}

// refreshed is one refresh; err is set when done is closed.
type refreshed struct {
	done chan struct{}
	err  error
}

// do returns when a refresh of the alias has ended that began after the call.
func (rs *refreshes) do(ctx context.Context, alias string, refresh func(context.Context, string) error) error {
	rs.mu.Lock()
	r := rs.waiting[alias]
	if r == nil {
		if rs.waiting == nil {
			rs.waiting, rs.turns = map[string]*refreshed{}, map[string]chan struct{}{}
		}
		turn := rs.turns[alias]
		if turn == nil {
			turn = make(chan struct{}, 1)
			rs.turns[alias] = turn
		}
		r = &refreshed{done: make(chan struct{})}
		rs.waiting[alias] = r
		ctx := context.WithoutCancel(ctx) // for all who wait, whoever goes
		go func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			rs.mu.Lock()
			delete(rs.waiting, alias)
			rs.mu.Unlock()
			r.err = refresh(ctx, alias)
			close(r.done)
		}()
	}
	rs.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// refresh makes searches of an alias see all that was acknowledged before the call.
func (s *Store) refresh(ctx context.Context, alias string) error {
	answer, err := s.c.do(ctx, esapi.IndicesRefreshRequest{Index: []string{alias}})
	if err != nil {
		return err
	}
	var shards struct {
		Shards struct {
			Failed int `json:"failed"`
		} `json:"_shards"`
	}
	if err := json.Unmarshal(answer, &shards); err != nil || shards.Shards.Failed > 0 {
		return fmt.Errorf("refresh of %s: %d shards failed", alias, shards.Shards.Failed)
	}
	return nil
}
