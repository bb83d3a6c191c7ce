//go:build real

package real

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/test/harness"
)

func TestReindexThatIsKilledGoesOnAndNoSearchFails(t *testing.T) { // F14
	each(t, func(t *testing.T, seed uint64) {
		w := newWorld(t, engines(t), seed, 2)
		w.pass(5 * time.Second)
		stop := w.searches()
		w.fault("images are indexed anew, and each server dies meanwhile", func() {
			harness.Eventually(t, "the reindex is asked for", func() error {
				out, err := w.servers[1].Run("reindex", "--force", "--detach", "--rate", "150", "--grace", "1s", imageType)
				if err != nil {
					err = fmt.Errorf("%w: %s", err, out)
				}
				return err
			})
			for n := range w.servers {
				w.pass(w.between(200*time.Millisecond, 2*time.Second))
				w.alive.Store(int64(1 - n))
				w.servers[n].Kill()
				w.servers[n].Start()
			}
			harness.Eventually(t, "the new index serves", func() error {
				if _, of := w.writeAlias(w.e.Prefix + "-os-glance-image-*"); !strings.HasSuffix(of, "000002") {
					return fmt.Errorf("%s serves", of)
				}
				return nil
			})
		})
		w.pass(3 * time.Second)
		if n := stop(); n < 20 {
			t.Errorf("only %d searches were made: nothing was tested", n)
		}
		w.check()
	})
}

// searches asks the server that is alive for images, all the time, until the function
// that it returns is called: that tells how many searches there were. None may fail or
// find nothing.
func (w *world) searches() func() int {
	ended := make(chan struct{})
	var done sync.WaitGroup
	var n atomic.Int64
	body := map[string]any{"type": imageType, "size": 10, "all_projects": true, "query": map[string]any{"term": map[string]any{"owner": owner}}}
	harness.Eventually(w.T, "there are images to be found", func() error {
		var a struct{ Hits struct{ Total int } }
		if err := w.servers[0].Call("POST", "/v1/search", "", body, &a); err != nil || a.Hits.Total == 0 {
			return fmt.Errorf("%d hits, %w", a.Hits.Total, err)
		}
		return nil
	})
	done.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
			}
			var a struct {
				Partial bool
				Hits    struct{ Total int }
			}
			asked := w.alive.Load()
			err := w.servers[asked].Call("POST", "/v1/search", "", body, &a)
			if asked != w.alive.Load() {
				continue // it may have been killed
			}
			if n.Add(1); err != nil || a.Hits.Total == 0 || a.Partial {
				w.Errorf("search of server %d at %s: %d hits, %v", asked, time.Now().Format("15:04:05.000"), a.Hits.Total, err)
			}
		}
	})
	stop := sync.OnceFunc(func() {
		close(ended)
		done.Wait()
	})
	w.Cleanup(stop) // before the servers end
	return func() int {
		stop()
		return int(n.Load())
	}
}
