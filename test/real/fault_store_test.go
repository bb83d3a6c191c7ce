//go:build real

package real

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/test/harness"
)

// fromStore are texts of which readiness says one when the store is in trouble.
var fromStore = []string{"store is", "indexer is"}

func TestAnswersOfElasticsearchThatBreakLoseNothing(t *testing.T) { // F11
	each(t, func(t *testing.T, seed uint64) {
		e := engines(t)
		node, _, _ := strings.Cut(e.Search, ",")
		g := newGate(t, node)
		e.Search = g.url
		w := newWorld(t, e, seed, 1)
		w.pass(3 * time.Second)
		breaks := []struct {
			name string
			how  breakage
			said []string
		}{
			{"Elasticsearch refuses connections", refusing, fromStore},
			{"Elasticsearch hangs", hanging, fromStore},
			{"a load balancer says 503", unavailable, fromStore},
			{"answers are reset in the middle", resetting, nil},
			{"answers are cut in the middle", truncating, nil},
			{"answers come slowly", slow, nil},
			{"large bodies are refused", tooLarge, nil},
		}
		lasting := w.random.IntN(3)
		for i, b := range breaks {
			w.fault(b.name, func() {
				g.set(t, b.how)
				defer g.set(t, sound)
				w.pass(long(i == lasting))
			}, b.said...)
			w.pass(time.Second)
		}
		w.check()
	})
}

func TestIndicesThatCannotBeWrittenStopAndLoseNothing(t *testing.T) { // F12
	each(t, func(t *testing.T, seed uint64) {
		w := newWorld(t, engines(t), seed, 1)
		w.pass(3 * time.Second)
		index, lasting := w.e.Prefix+"-os-glance-image-000001", w.random.IntN(4)
		alias, _ := w.writeAlias(index)
		w.elastic("PUT", "/"+w.e.Prefix+"-stranger", "")
		for i, b := range []struct{ name, verb, path, breaks, mends string }{
			{
				"the disk is at its flood stage", "PUT", "/" + w.e.Prefix + "-*/_settings",
				`{"index.blocks.read_only_allow_delete": true}`, `{"index.blocks.read_only_allow_delete": null}`,
			},
			{"an index is closed", "POST", "/" + index, "_close", "_open"},
			{"an alias is missing", "POST", "/_aliases", action("remove", alias, index), action("add", alias, index)},
			{
				"an alias points to two indices", "POST", "/_aliases",
				action("add", alias, w.e.Prefix+"-stranger"), action("remove", alias, w.e.Prefix+"-stranger"),
			},
		} {
			send := func(what string) {
				if strings.HasPrefix(what, "{") {
					w.elastic(b.verb, b.path, what)
					return
				}
				w.elastic(b.verb, b.path+"/"+what, "")
			}
			w.fault(b.name, func() {
				send(b.breaks)
				defer send(b.mends)
				w.pass(long(i == lasting))
			}, fromStore...)
			w.pass(time.Second)
		}
		w.check()
	})
}

// long is how long a fault lasts: one of those that readiness must tell lasts until it
// must have, which one is left to the seed; to break something a moment is enough.
func long(lasting bool) time.Duration {
	if lasting {
		return 11 * time.Second
	}
	return 4 * time.Second
}

func action(verb, alias, index string) string {
	return fmt.Sprintf(`{"actions": [{%q: {"index": %q, "alias": %q}}]}`, verb, index, alias)
}

// writeAlias is the alias by which one of the indices is written, and its index.
func (w *world) writeAlias(indices string) (alias, of string) {
	w.Helper()
	var all map[string]struct{ Aliases map[string]any }
	if err := json.Unmarshal([]byte(w.elastic("GET", "/"+indices+"/_alias", "")), &all); err != nil {
		w.Fatal(err)
	}
	for of, a := range all {
		for alias := range a.Aliases {
			if strings.HasSuffix(alias, "-write") {
				return alias, of
			}
		}
	}
	w.Fatalf("%s has no write alias: %v", indices, all)
	return "", ""
}

// elastic sends a request to the first node that answers.
func (w *world) elastic(method, path, body string) string {
	w.Helper()
	var text string
	harness.Eventually(w.T, method+" "+path, func() (err error) {
		for node := range strings.SplitSeq(w.nodes, ",") {
			if text, err = ask(method, node+path, body); err == nil {
				return nil
			}
		}
		return err
	})
	return text
}

func ask(method, uri, body string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, uri, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, b)
	}
	return string(b), err
}

func TestNodesOfElasticsearchThatDieLoseNothing(t *testing.T) { // F13, F10, and F8 after a restart
	each(t, func(t *testing.T, seed uint64) {
		e, lab := cluster(t)
		w := newWorld(t, e, seed, 2)
		dead := w.bury(20)
		w.pass(3 * time.Second)
		node := func() string { return strconv.Itoa(w.random.IntN(3)) }
		n := node()
		w.fault("node "+n+" is killed", func() {
			lab.Run(t, nil, "elasticsearch.sh", "kill9", n)
			w.pass(8 * time.Second)
			lab.Run(t, nil, "elasticsearch.sh", "restart", n)
		})
		w.pass(3 * time.Second)
		n = node()
		w.fault("node "+n+" hangs", func() {
			lab.Run(t, nil, "elasticsearch.sh", "pause", n)
			defer lab.Run(t, nil, "elasticsearch.sh", "resume", n)
			w.pass(12 * time.Second)
		})
		w.pass(3 * time.Second)
		w.fault("all nodes restart, with write queues of one", func() {
			w.restart(lab, "thread_pool.write.queue_size: 1\nthread_pool.write.size: 1")
		}, append([]string{"searchapi is"}, fromStore...)...)
		t.Cleanup(func() { w.restart(lab, "") })
		w.dig(dead)
		w.fault("write queues overflow", func() { w.crowd(10 * time.Second) })
		w.check()
	})
}

// restart restarts all nodes at once.
func (w *world) restart(lab *harness.Lab, settings string) {
	w.Helper()
	var all sync.WaitGroup
	for n := range 3 {
		all.Go(func() { lab.Run(w.T, []string{"ES_CONF=" + settings}, "elasticsearch.sh", "restart", strconv.Itoa(n)) })
	}
	all.Wait()
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
