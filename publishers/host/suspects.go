package host

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/fresnel-search/fresnel/publishers/delivery"
)

// suspects are deliveries that a plugin had in hand when its process died. Once may be
// chance; of those that it had twice, one may have killed it. They are tried again with
// nothing beside them, in ever smaller groups, until the one is found that kills it
// alone. That is a verdict only if the plugin has answered for others meanwhile: one
// that dies of every delivery is broken, and it is not the deliveries' fault.
type suspects struct {
	acks atomic.Int64 // deliveries answered for, ever
	any  atomic.Bool

	mu        sync.Mutex
	by        map[accused]*suspect
	explained bool // the last crash was part of the search, and the plugin works else
}

// accused is a delivery: several subscriptions have the same change under the same id.
type accused struct{ subscription, id string }

type suspect struct {
	times int   // that the plugin died with it
	group int   // how many are tried together
	alone int   // crashes with nothing else in hand
	acks  int64 // when it came under suspicion
}

// mostSuspects bounds those that are remembered. Some may never come again, so beyond
// it the search begins anew.
const mostSuspects = 10_000

// crashed blames those of a subscription that had no answer when the process died;
// tried says that nothing else was in hand.
func (s *suspects) crashed(subscription string, ids []string, tried bool) {
	acks := s.acks.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[accused]*suspect{}
	}
	s.explained = tried && slices.ContainsFunc(ids, func(id string) bool {
		sp := s.by[accused{subscription, id}]
		return sp != nil && acks > sp.acks
	})
	if len(s.by)+len(ids) > mostSuspects {
		clear(s.by)
	}
	for _, id := range ids {
		sp := s.by[accused{subscription, id}]
		switch {
		case sp == nil:
			s.by[accused{subscription, id}] = &suspect{times: 1, group: len(ids), acks: acks}
			continue
		case !tried:
			sp.group = len(ids)
		case len(ids) == 1:
			sp.alone++
		default:
			sp.group = (len(ids) + 1) / 2
		}
		sp.times++
	}
	s.any.Store(len(s.by) > 0)
}

// cleared says that the plugin answered for a delivery.
func (s *suspects) cleared(subscription, id string) {
	s.acks.Add(1)
	if !s.any.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.by, accused{subscription, id})
	s.any.Store(len(s.by) > 0)
}

// sort parts deliveries of a subscription into those above suspicion, groups to be tried each by itself,
// and those that are found to kill the plugin. Large groups come first, so that the
// plugin can show soon that it works with others.
func (s *suspects) sort(
	subscription string, ds []delivery.Delivery,
) (free []delivery.Delivery, groups [][]delivery.Delivery, guilty []delivery.Delivery) {
	if !s.any.Load() {
		return ds, nil, nil
	}
	const twice = 2
	s.mu.Lock()
	defer s.mu.Unlock()
	bySize := map[int][]delivery.Delivery{}
	for _, d := range ds {
		sp := s.by[accused{subscription, d.ID}]
		switch {
		case sp == nil || sp.times < twice:
			free = append(free, d)
		case sp.alone >= twice && s.acks.Load() > sp.acks:
			delete(s.by, accused{subscription, d.ID})
			guilty = append(guilty, d)
		case sp.alone > 0:
			bySize[1] = append(bySize[1], d)
		default:
			bySize[sp.group] = append(bySize[sp.group], d)
		}
	}
	for _, size := range slices.Backward(slices.Sorted(maps.Keys(bySize))) {
		groups = slices.AppendSeq(groups, slices.Chunk(bySize[size], size))
	}
	s.any.Store(len(s.by) > 0)
	return free, groups, guilty
}

// explains reports whether the last crash was part of a search that gets on.
func (s *suspects) explains() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.explained
}

// accept forgets the reason of the last crash, once it was dealt with.
func (s *suspects) accept() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.explained = false
}
