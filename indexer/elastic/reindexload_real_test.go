//go:build real

package elastic_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/indexer/elastic"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/storetest"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// load is what goes on while documents are moved: writers that count up, one document
// after another, and searches.
type load struct {
	t     *testing.T
	ctx   context.Context
	wg    sync.WaitGroup
	n     int // documents there were at the start
	mu    sync.Mutex
	acked map[string]int // the size last acknowledged, by id
	gone  map[string]bool
	// longest is the longest that one write took, its repeats included.
	longest           time.Duration
	writes, lookups   atomic.Int64
	conflicts, paused atomic.Int64
}

func startLoad(t *testing.T, n int, stores ...*elastic.Store) (*load, func()) {
	ctx, stop := context.WithCancel(t.Context())
	l := &load{t: t, ctx: ctx, n: n, acked: map[string]int{}, gone: map[string]bool{}}
	for i, s := range stores {
		l.wg.Go(func() { l.write(s, i, len(stores)) })
		l.wg.Go(func() { l.search(s) })
		l.wg.Go(func() { l.read(s) })
	}
	return l, func() { stop(); l.wg.Wait() }
}

// write changes the documents of one worker, makes new ones and deletes some.
func (l *load) write(s *elastic.Store, worker, workers int) {
	next := l.n + worker
	for round := 1; l.ctx.Err() == nil; round++ {
		i := rand.IntN(l.n/workers)*workers + worker
		switch rand.IntN(10) {
		case 0:
			i, next = next, next+workers
		case 1:
			i = next - workers*(1+rand.IntN(3)) // a hot one
			i = max(i, worker)
		}
		began := time.Now()
		if l.one(s, serverRef(i), round) {
			l.mu.Lock()
			l.longest = max(l.longest, time.Since(began))
			l.mu.Unlock()
			l.writes.Add(1)
		}
		l.breathe(2 * time.Millisecond)
	}
}

// one changes one document as the indexer does: load, fold, write, and again after a
// conflict.
func (l *load) one(s *elastic.Store, ref resource.Ref, size int) bool {
	for l.ctx.Err() == nil {
		docs, err := s.Load(l.t.Context(), []resource.Ref{ref})
		if err != nil {
			l.paused.Add(1)
			continue
		}
		d := docs[0]
		if d.Version == 0 {
			version := d.Version
			d = serverDoc(0, size)
			d.Ref, d.Version = ref, version
		}
		d.Fields["size"] = json.RawMessage(fmt.Sprint(size))
		d.Deleted = rand.IntN(20) == 0
		// Not cut off at the end: what became of it must be known.
		out, err := s.Write(l.t.Context(), []resource.Document{d})
		if err == nil {
			err = out[0].Err
		}
		switch {
		case err == nil:
			l.mu.Lock()
			l.acked[ref.ID], l.gone[ref.ID] = size, d.Deleted
			l.mu.Unlock()
			return true
		case errors.Is(err, resource.ErrConflict):
			l.conflicts.Add(1)
		default:
			l.paused.Add(1)
			l.breathe(20 * time.Millisecond)
		}
	}
	return false
}

// breathe leaves the servers a moment: they share two cores with all of this.
func (l *load) breathe(d time.Duration) {
	select {
	case <-time.After(d):
	case <-l.ctx.Done():
	}
}

// search expects that no search fails, is partial, or misses many documents.
func (l *load) search(s *elastic.Store) {
	for l.ctx.Err() == nil {
		res, err := s.Search(l.ctx, query.Request{
			Types: []string{storetest.Server}, Query: query.Term{Field: "flavor.id", Value: "none"}, Scope: &query.Scope{All: true, Hidden: true},
		})
		if err == nil {
			res, err = s.Search(l.ctx, query.Request{
				Types: []string{storetest.Server}, Query: query.Range{Field: "size", GTE: json.Number("0")}, Size: 3,
				Scope: &query.Scope{All: true, Hidden: true},
			})
		}
		if l.ctx.Err() != nil {
			return
		}
		if err != nil || res.Partial != "" || res.Total < l.n/2 || len(res.Hits) != 3 {
			l.t.Errorf("Search = %d of %d, partial %q, %v", res.Total, l.n, res.Partial, err)
			return
		}
		l.lookups.Add(1)
		l.breathe(20 * time.Millisecond)
	}
}

// read gets single documents, which are always there (Searchlight's D12).
func (l *load) read(s *elastic.Store) {
	for l.ctx.Err() == nil {
		ref := serverRef(rand.IntN(l.n))
		docs, err := s.Load(l.ctx, []resource.Ref{ref})
		if l.ctx.Err() != nil {
			return
		}
		if err != nil || docs[0].Version == 0 || len(docs[0].Fields) == 0 {
			l.t.Errorf("Load of %s = %+v, %v", ref, docs, err)
			return
		}
		l.lookups.Add(1)
		l.breathe(20 * time.Millisecond)
	}
}

// check compares the documents with what was acknowledged.
func (l *load) check(s *elastic.Store) {
	l.t.Helper()
	var refs []resource.Ref
	for id := range l.acked {
		refs = append(refs, resource.Ref{Type: storetest.Server, ID: id})
	}
	docs, err := s.Load(l.t.Context(), refs)
	if err != nil {
		l.t.Fatal(err)
	}
	lost := 0
	for _, d := range docs {
		if string(d.Fields["size"]) != fmt.Sprint(l.acked[d.Ref.ID]) || d.Deleted != l.gone[d.Ref.ID] {
			if lost++; lost < 5 {
				l.t.Errorf("%s has size %s, deleted %t; acknowledged %d, %t", d.Ref, d.Fields["size"], d.Deleted, l.acked[d.Ref.ID], l.gone[d.Ref.ID])
			}
		}
	}
	if lost > 0 {
		l.t.Errorf("%d of %d acknowledged writes are lost", lost, len(docs))
	}
}
