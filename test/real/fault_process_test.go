//go:build real

package real

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/test/acceptance"
	"github.com/fresnel-search/fresnel/test/harness"
)

// F1, F2, F4, and F8 past 61 s.
func TestProcessesThatDieHangAndComeAndGoLoseAndInventNothing(t *testing.T) {
	each(t, func(t *testing.T, seed uint64) {
		w := newWorld(t, engines(t), seed, 3)
		dead := w.bury(20)
		w.pass(time.Second)
		w.dig(dead)
		died := time.Now()
		for n := range 3 {
			point := ""
			if n > 0 { // between a store's answer and the commit, among others
				points := acceptance.CrashPoints()
				point = fmt.Sprintf("%s:%d", points[w.random.IntN(len(points))], 1+w.random.IntN(5))
			}
			w.dies(n%2, point)
		}
		zombie := w.servers[w.random.IntN(len(w.servers))]
		w.fault("a server stands still and wakes up", func() {
			before := w.changes.Count()
			zombie.Pause()
			defer zombie.Resume()
			w.pass(w.between(12*time.Second, 16*time.Second)) // the lease lasts 10 s
			if w.changes.Count() == before {
				w.Error("no other server took over")
			}
		}, "no answer")
		w.comeAndGo(w.servers[2])
		w.pass(time.Until(died.Add(62 * time.Second)))
		w.dig(dead)
		w.check()
	})
}

// dies kills a server, or has it kill itself at a point, and starts it again.
func (w *world) dies(server int, point string) {
	w.Helper()
	s := w.servers[server]
	w.fault(fmt.Sprintf("server %d dies by kill -9 %s", server, point), func() {
		s.Kill()
		s.Launch("FRESNEL_CRASH=" + point)
		if point != "" {
			select {
			case <-s.Ended():
			case <-time.After(8 * time.Second):
				w.Logf("it never came to %s", point) // another server may have that partition, or lease
				s.Kill()
			}
			s.Launch()
		}
		begin := time.Now()
		s.WaitReady()
		w.Logf("%6s ready again after %s", w.age(), time.Since(begin).Round(10*time.Millisecond))
	})
}

// comeAndGo has a server leave and join five times each, in less than a minute, and
// checks that no partition waits for long.
func (w *world) comeAndGo(guest *harness.Server) {
	w.Helper()
	idle := w.idleness()
	w.fault("a server leaves and joins ten times", func() {
		for n := range 5 {
			if n%2 == 0 {
				guest.Kill()
			} else {
				guest.Stop()
			}
			w.pass(w.between(1500*time.Millisecond, 3*time.Second))
			guest.Start()
			w.pass(w.between(1500*time.Millisecond, 3*time.Second))
		}
	})
	waits := idle()
	if len(waits) != 3*len(lifeTopics) {
		w.Errorf("only of partitions %v was it seen what is committed", waits)
	}
	for p, d := range waits {
		w.Logf("partition %s waited for at most %s", p, d.Round(100*time.Millisecond))
		if d > 10*time.Second {
			w.Errorf("partition %s waited for %s", p, d)
		}
	}
}

// bury tells of images that are created and deleted.
func (w *world) bury(n int) (dead []string) {
	w.Helper()
	var all []stream.Record
	for i := range n {
		id := fmt.Sprintf("dead-%03d", i)
		dead = append(dead, id)
		all = append(all, notify(lifeTopics[0], "image.create", w.base, image(id, "alive", 1)),
			notify(lifeTopics[0], "image.delete", w.base.Add(time.Second), image(id, "alive", 1)))
	}
	w.tell(all...)
	return dead
}

// dig tells of images as if they were not dead: what was said before they died, and
// what should never have been said after.
func (w *world) dig(dead []string) {
	var all []stream.Record
	for _, id := range dead {
		all = append(all, notify(lifeTopics[1], "image.update", w.base.Add(500*time.Millisecond), image(id, "before", 2)),
			notify(lifeTopics[1], "image.update", time.Now(), image(id, "after", 2)))
	}
	w.tell(all...)
}

// idleness watches what the listeners commit, until the function that it returns is
// called: that tells, by partition, for how long at most nothing was committed. All
// partitions watched get records all the time.
func (w *world) idleness() func() map[string]time.Duration {
	longest, last := map[string]time.Duration{}, map[string]int64{}
	moved := map[string]time.Time{}
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			for p, at := range w.committed() {
				if moved[p].IsZero() || at != last[p] {
					last[p], moved[p] = at, time.Now()
				}
				longest[p] = max(longest[p], time.Since(moved[p]))
			}
		}
	})
	return func() map[string]time.Duration {
		close(stop)
		done.Wait()
		return longest
	}
}

// committed are the offsets of the listeners' group; none if nobody answers.
func (w *world) committed() map[string]int64 {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = "fresnel-listener"
	for _, topic := range lifeTopics {
		rt := kmsg.NewOffsetFetchRequestTopic()
		rt.Topic, rt.Partitions = topic, []int32{0, 1, 2}
		req.Topics = append(req.Topics, rt)
	}
	all := map[string]int64{}
	for _, sh := range w.cl.RequestSharded(w.Context(), req) {
		resp, ok := sh.Resp.(*kmsg.OffsetFetchResponse)
		if sh.Err != nil || !ok {
			continue
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				all[fmt.Sprintf("%s/%d", t.Topic, p.Partition)] = p.Offset
			}
		}
		for _, g := range resp.Groups {
			for _, t := range g.Topics {
				for _, p := range t.Partitions {
					all[fmt.Sprintf("%s/%d", t.Topic, p.Partition)] = p.Offset
				}
			}
		}
	}
	return all
}
