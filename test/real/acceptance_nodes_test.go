//go:build real

package real

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/test/harness"
)

// tiny leaves no room for two who write at once.
const tiny = "ES_CONF=thread_pool.write.queue_size: 1\nthread_pool.write.size: 1"

// F10, F13, and F8 after a restart. By the name of its file it is the first, and the three
// nodes start while tests run that can bear it.
func TestNodesOfElasticsearchThatDieAndHaveNoRoomLoseNothing(t *testing.T) {
	brokers := harness.Need(t, "FRESNEL_TEST_KAFKA")
	lab := harness.NewLab(t, 6000)
	started := make(chan struct{})
	go func() {
		defer close(started)
		lab.Run(t, []string{tiny}, "elasticsearch.sh", "start", "3")
	}()
	t.Cleanup(func() { <-started })
	t.Parallel()
	if <-started; t.Failed() {
		return
	}
	nodes := []string{lab.Elasticsearch(0), lab.Elasticsearch(1), lab.Elasticsearch(2)}
	each(t, func(t *testing.T, seed uint64) {
		w := newWorld(t, harness.On(t, brokers, strings.Join(nodes, ","), "elasticsearch"), seed, 2)
		dead := w.bury(20)
		w.pass(2 * time.Second)
		w.fault("write queues overflow", func() { w.crowd(8 * time.Second) })
		w.Logf("%6s writes of ours: %v", w.age(), w.counted("fresnel_elastic_bulk_items_total"))
		n := strconv.Itoa(w.random.IntN(3))
		w.fault("node "+n+" is killed", func() {
			lab.Run(t, nil, "elasticsearch.sh", "kill9", n)
			w.pass(5 * time.Second)
			lab.Run(t, []string{tiny}, "elasticsearch.sh", "restart", n)
		})
		w.dig(dead)
		n = strconv.Itoa(w.random.IntN(3))
		w.fault("node "+n+" hangs", func() {
			lab.Run(t, nil, "elasticsearch.sh", "pause", n)
			defer lab.Run(t, nil, "elasticsearch.sh", "resume", n)
			w.pass(12 * time.Second)
		})
		w.check()
	})
}

// crowd writes into an index of its own, with many writers, and counts how often the
// cluster had no room for them.
func (w *world) crowd(long time.Duration) {
	w.Helper()
	w.elastic("PUT", "/"+w.e.Prefix+"-crowd", `{"settings": {"number_of_shards": 3, "number_of_replicas": 0}}`)
	var bulk strings.Builder
	for i := range 200 {
		fmt.Fprintf(&bulk, "{\"index\": {}}\n{\"n\": %d}\n", i)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	written, refused := 0, 0
	end := time.Now().Add(long)
	for n := range 12 {
		node := strings.Split(w.nodes, ",")[n%3]
		all.Go(func() {
			for time.Now().Before(end) {
				text, err := ask("POST", node+"/"+w.e.Prefix+"-crowd/_bulk", bulk.String())
				mu.Lock()
				if err != nil || strings.Contains(text, "rejected_execution") {
					refused++
				} else {
					written++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	w.Logf("%6s %d bulks of others were written, %d refused", w.age(), written, refused)
	if refused == 0 {
		w.Error("no queue ever overflowed: nothing was tested")
	}
}
