//go:build real

package real

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/test/harness"
)

// fromStore are texts of which readiness says one when the store is in trouble.
var fromStore = []string{"store is", "indexer is"}

func TestElasticsearchThatBreaksOrRefusesLosesNothing(t *testing.T) { // F11, F12
	each(t, func(t *testing.T, seed uint64) {
		e := engines(t)
		node, _, _ := strings.Cut(e.Search, ",")
		g := newGate(t, node)
		e.Search = g.url
		w := newWorld(t, e, seed, 1)
		w.nodes = node
		w.pass(2 * time.Second)
		broken := append(w.throughGate(g), w.byHand()...)
		lasting := w.random.IntN(len(broken))
		for len(broken[lasting].said) == 0 { // readiness need not tell
			lasting = w.random.IntN(len(broken))
		}
		for i, b := range broken {
			w.fault(b.name, func() {
				b.breaks()
				defer b.mends()
				w.pass(long(i == lasting))
			}, b.said...)
		}
		w.check()
	})
}

// ill is one way in which Elasticsearch is not well.
type ill struct {
	name          string
	breaks, mends func()
	said          []string
}

// throughGate are troubles on the way to Elasticsearch.
func (w *world) throughGate(g *gate) (all []ill) {
	for _, b := range []struct {
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
	} {
		all = append(all, ill{b.name, func() { g.set(w.T, b.how) }, func() { g.set(w.T, sound) }, b.said})
	}
	return all
}

// byHand is what full disks and operators do to indices.
func (w *world) byHand() (all []ill) {
	w.Helper()
	index := w.e.Prefix + "-os-glance-image-000001"
	alias, _ := w.writeAlias(index)
	stranger := w.e.Prefix + "-stranger"
	w.elastic("PUT", "/"+stranger, "")
	for _, b := range []struct{ name, verb, path, breaks, mends string }{
		{
			"the disk is at its flood stage", "PUT", "/" + w.e.Prefix + "-*/_settings",
			`{"index.blocks.read_only_allow_delete": true}`, `{"index.blocks.read_only_allow_delete": null}`,
		},
		{"an index is closed", "POST", "/" + index, "_close", "_open"},
		{"an alias is missing", "POST", "/_aliases", action("remove", alias, index), action("add", alias, index)},
		{"an alias points to two indices", "POST", "/_aliases", action("add", alias, stranger), action("remove", alias, stranger)},
	} {
		send := func(what string) func() {
			if strings.HasPrefix(what, "{") {
				return func() { w.elastic(b.verb, b.path, what) }
			}
			return func() { w.elastic(b.verb, b.path+"/"+what, "") }
		}
		all = append(all, ill{b.name, send(b.breaks), send(b.mends), fromStore})
	}
	return all
}

// long is how long a fault lasts: one of those that readiness must tell lasts until it
// must have, which one is left to the seed; to break something a moment is enough.
func long(lasting bool) time.Duration {
	if lasting {
		return 11 * time.Second
	}
	return 3 * time.Second
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
