//go:build real

package real

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/test/harness"
	"github.com/fresnel-search/fresnel/test/oracle"
)

// watcher looks at the servers all the time, as a dashboard and a monitor would, and
// writes down what it sees.
type watcher struct {
	client http.Client
	mu     sync.Mutex
	urls   []string

	sightings []oracle.Sighting
	health    []oracle.Health
	vitals    []oracle.Vitals
}

// watch looks at the servers and the resources until the test ends.
func watch(t testing.TB, servers []*harness.Server, refs []resource.Ref) *watcher {
	t.Helper()
	w := &watcher{client: http.Client{Timeout: 2 * time.Second}}
	for _, s := range servers {
		w.urls = append(w.urls, s.URL)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	every := func(d time.Duration, look func(n int)) {
		all.Go(func() {
			tick := time.NewTicker(d)
			defer tick.Stop()
			for n := 0; ; n++ {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					look(n)
				}
			}
		})
	}
	for i := range w.urls {
		every(500*time.Millisecond, func(int) { w.ready(ctx, i) })
		every(2*time.Second, func(int) { w.vital(ctx, i) })
	}
	every(50*time.Millisecond, func(n int) {
		w.see(ctx, refs[n%len(refs)], (n/len(refs))%len(w.urls))
	})
	t.Cleanup(func() {
		cancel()
		all.Wait()
		w.client.CloseIdleConnections()
	})
	return w
}

// get asks a server; the body of a refusal is decoded too.
func (w *watcher) get(ctx context.Context, server int, path string, decode func(*http.Response) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.urls[server]+path, nil)
	if err != nil {
		return err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return decode(resp)
}

// ready asks how a server is.
func (w *watcher) ready(ctx context.Context, server int) {
	h := oracle.Health{Server: server}
	var answer struct {
		Ready bool
		Parts []struct{ Name, State, Reason string }
	}
	err := w.get(ctx, server, "/readyz", func(r *http.Response) error { return json.NewDecoder(r.Body).Decode(&answer) })
	if err != nil {
		h.Troubles = []string{"no answer: " + err.Error()}
	}
	h.Ready = answer.Ready && err == nil
	for _, p := range answer.Parts {
		if p.State != "up" {
			h.Troubles = append(h.Troubles, p.Name+" is "+p.State+": "+p.Reason)
		}
	}
	h.At = time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.health = append(w.health, h)
}

// see looks at one resource. Only answers count: a server may be down.
func (w *watcher) see(ctx context.Context, ref resource.Ref, server int) {
	s := oracle.Sighting{Ref: ref}
	err := w.get(ctx, server, "/v1/resources/"+url.PathEscape(ref.Type)+"/"+url.PathEscape(ref.ID), func(r *http.Response) error {
		switch r.StatusCode {
		case http.StatusNotFound:
			return nil
		case http.StatusOK:
			return json.NewDecoder(r.Body).Decode(&s)
		}
		return fmt.Errorf("status %d", r.StatusCode)
	})
	if err != nil {
		return
	}
	s.Ref, s.At = ref, time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sightings = append(w.sightings, s)
}

// vital reads what a process takes.
func (w *watcher) vital(ctx context.Context, server int) {
	v := oracle.Vitals{Server: server}
	err := w.get(ctx, server, "/metrics", func(r *http.Response) error {
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			name, text, _ := strings.Cut(lines.Text(), " ")
			n, err := strconv.ParseFloat(text, 64)
			if err != nil {
				continue
			}
			switch name {
			case "go_goroutines":
				v.Goroutines = int(n)
			case "process_open_fds":
				v.Files = int(n)
			case "process_resident_memory_bytes":
				v.Memory = int64(n)
			}
		}
		return lines.Err()
	})
	if err != nil {
		return
	}
	v.At = time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.vitals = append(w.vitals, v)
}

// into writes what was seen into the history.
func (w *watcher) into(h *oracle.History) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h.Sightings, h.Health, h.Vitals = slices.Clone(w.sightings), slices.Clone(w.health), slices.Clone(w.vitals)
}
