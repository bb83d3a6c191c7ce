//go:build real

package real

import (
	"encoding/json"
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
		w.fault("images are indexed anew, and who does it is killed while writers wait", w.killWhileWritersWait)
		w.pass(3 * time.Second)
		if n := stop(); n < 20 {
			t.Errorf("only %d searches were made: nothing was tested", n)
		}
		w.check()
	})
}

// killWhileWritersWait has images indexed anew and kills the server that does it while
// the old index takes no writes. Another one must let writers go on within 10 s.
func (w *world) killWhileWritersWait() {
	w.Helper()
	old, owner := w.blockedByReindex()
	w.alive.Store(int64(1 - owner))
	w.servers[owner].Kill()
	killed := time.Now()
	if !w.takesNoWrites(old) {
		w.Logf("server %d let writers go on before it was killed", owner)
	}
	harness.Eventually(w.T, "writers go on", func() error {
		if w.takesNoWrites(old) {
			return fmt.Errorf("%s takes no writes", old)
		}
		return nil
	})
	w.Logf("%6s writers went on %s after server %d was killed", w.age(), time.Since(killed).Round(10*time.Millisecond), owner)
	if d := time.Since(killed); d > 10*time.Second {
		w.Errorf("writers waited for %s, want 10s at most", d)
	}
	w.servers[owner].Start()
	harness.Eventually(w.T, "the next index serves", func() error {
		if _, of := w.writeAlias(w.e.Prefix + "-os-glance-image-*"); of == old {
			return fmt.Errorf("%s serves", of)
		}
		return nil
	})
}

// blockedByReindex has images indexed anew, again and again, until it sees that the old
// index takes no writes. It returns that one, and the server that is at it.
func (w *world) blockedByReindex() (old string, owner int) {
	w.Helper()
	for begin := time.Now(); time.Since(begin) < time.Minute; {
		_, old = w.writeAlias(w.e.Prefix + "-os-glance-image-*")
		if out, err := w.servers[0].Run("reindex", "--force", "--detach", "--grace", "1s", imageType); err != nil {
			w.Fatalf("%v: %s", err, out)
		}
		for owner = -1; owner < 0 && time.Since(begin) < time.Minute; {
			owner = w.reindexer()
		}
		for serves := old; serves == old && time.Since(begin) < time.Minute; {
			for range 20 {
				if w.takesNoWrites(old) {
					return old, owner
				}
			}
			_, serves = w.writeAlias(w.e.Prefix + "-os-glance-image-*")
		}
	}
	w.Fatal("writers were never seen to wait: nothing was tested")
	return "", -1
}

// takesNoWrites reports whether an index is blocked; one that is gone is not.
func (w *world) takesNoWrites(index string) bool {
	w.Helper()
	text := w.elastic("GET", "/"+index+"/_settings/index.blocks.write?ignore_unavailable=true&flat_settings=true", "")
	return strings.Contains(text, `"index.blocks.write":"true"`)
}

// reindexer is the server that has the lease for reindexes; -1 if none has.
func (w *world) reindexer() int {
	w.Helper()
	var a struct {
		Hits struct {
			Hits []struct {
				Source struct{ Value []byte } `json:"_source"`
			}
		}
	}
	found := w.elastic("GET", "/"+w.e.Prefix+"-*/_search", `{"query": {"ids": {"values": ["leases/reindex"]}}}`)
	if err := json.Unmarshal([]byte(found), &a); err != nil {
		w.Fatal(err)
	}
	for _, h := range a.Hits.Hits {
		var lease struct{ ID, Owner string }
		if err := json.Unmarshal(h.Source.Value, &lease); err != nil {
			w.Fatal(err)
		}
		for n, s := range w.servers {
			if lease.ID != "" && strings.HasSuffix(lease.Owner, fmt.Sprintf("-%d", s.PID())) {
				return n
			}
		}
	}
	return -1
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
