//go:build real

package real

import (
	"fmt"
	"testing"
	"time"
)

// points are the named places where a process dies, each before the next thing that
// would have to happen.
var points = []string{"mutation-produce", "store-write", "change-produce", "handled", "commit", "cascade", "plugin-ack", "save-subscriptions"}

func TestProcessesThatAreKilledLoseAndInventNothing(t *testing.T) { // F1
	each(t, func(t *testing.T, seed uint64) {
		w := newWorld(t, engines(t), seed, 2)
		w.pass(2 * time.Second)
		for n := range 6 {
			s := w.servers[n%len(w.servers)]
			point := ""
			if n >= 2 { // between a store's answer and the commit, among others
				point = fmt.Sprintf("%s:%d", points[w.random.IntN(len(points))], 1+w.random.IntN(20))
			}
			w.fault(fmt.Sprintf("server %d dies by kill -9 %s", n%len(w.servers), point), func() {
				s.Kill()
				s.Launch("FRESNEL_CRASH=" + point)
				if point != "" {
					select {
					case <-s.Ended():
					case <-time.After(10 * time.Second):
						w.Logf("it never came to %s", point)
						s.Kill()
					}
					s.Launch()
				}
				begin := time.Now()
				s.WaitReady()
				w.Logf("%6s ready again after %s", w.age(), time.Since(begin).Round(10*time.Millisecond))
			})
			w.pass(w.between(0, 2*time.Second))
		}
		w.check()
	})
}
