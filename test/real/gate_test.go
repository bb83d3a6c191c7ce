//go:build real

package real

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// breakage is what a gate does to answers.
type breakage int

const (
	sound       breakage = iota
	refusing             // nobody listens
	hanging              // the request is taken, and nothing ever comes back
	resetting            // carried out; half of the answer, then the connection is reset
	truncating           // carried out; half of the answer, then a proper end
	slow                 // carried out; the answer comes in crumbs
	unavailable          // 503, as a load balancer says it
	tooLarge             // 413 for bodies above largest
)

// largest is what a gate that finds bodies too large lets pass, in bytes.
const largest = 20_000

// gate stands between a server and Elasticsearch. It breaks HTTP where a proxy of TCP
// could not: in the middle of an answer whose request has been carried out.
type gate struct {
	url, upstream string
	client        http.Client

	mu      sync.Mutex
	how     breakage
	changed chan struct{} // closed when how changes
	srv     *http.Server
}

func newGate(t testing.TB, upstream string) *gate {
	t.Helper()
	g := &gate{upstream: upstream, changed: make(chan struct{}), client: http.Client{Transport: &http.Transport{DisableCompression: true}}}
	if err := g.listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.set(t, sound)
		_ = g.srv.Close()
		g.client.CloseIdleConnections()
	})
	return g
}

func (g *gate) listen(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	g.url = "http://" + ln.Addr().String()
	srv := &http.Server{Handler: http.HandlerFunc(g.serve), ReadHeaderTimeout: time.Minute}
	g.srv = srv
	go func() { _ = srv.Serve(ln) }()
	return nil
}

// set changes what the gate does, for requests under way too.
func (g *gate) set(t testing.TB, how breakage) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.how
	g.how = how
	close(g.changed)
	g.changed = make(chan struct{})
	switch {
	case how == refusing:
		if err := g.srv.Close(); err != nil {
			t.Error(err)
		}
	case was == refusing:
		if err := g.listen(strings.TrimPrefix(g.url, "http://")); err != nil {
			t.Error(err)
		}
	}
}

func (g *gate) state() (breakage, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.how, g.changed
}

func (g *gate) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	how, changed := g.state()
	switch {
	case how == hanging:
		select {
		case <-changed:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	case how == unavailable:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, "<html>503 Service Unavailable</html>")
		return
	case how == tooLarge && len(body) > largest:
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	// Some get through whole, so that there is progress to break into.
	if (how == resetting || how == truncating) && rand.IntN(3) == 0 { //nolint:gosec // any
		how = sound
	}
	g.pass(w, r, body, how)
}

// pass has the request carried out, and breaks the answer.
func (g *gate) pass(w http.ResponseWriter, r *http.Request, body []byte, how breakage) {
	ctx := r.Context()
	if how == resetting || how == truncating {
		ctx = context.WithoutCancel(ctx)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, g.upstream+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	req.Header = r.Header.Clone()
	resp, err := g.client.Do(req)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if how == resetting || how == truncating {
		half(w, resp, answer, how)
		return
	}
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	if how == slow {
		drip(ctx, w, answer)
		return
	}
	_, _ = w.Write(answer)
}

// half writes the head and half of the body, and ends the connection.
func half(w http.ResponseWriter, resp *http.Response, answer []byte, how breakage) {
	conn, out, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	resp.Header.Set("Content-Length", fmt.Sprint(len(answer)))
	resp.Header.Del("Transfer-Encoding")
	fmt.Fprintf(out, "HTTP/1.1 %s\r\n", resp.Status)
	_ = resp.Header.Write(out)
	fmt.Fprint(out, "\r\n")
	_, _ = out.Write(answer[:len(answer)/2])
	_ = out.Flush()
	if tcp, ok := conn.(*net.TCPConn); ok && how == resetting {
		_ = tcp.SetLinger(0)
	}
}

// drip writes the answer in ten crumbs, within a second.
func drip(ctx context.Context, w http.ResponseWriter, answer []byte) {
	crumb := len(answer)/10 + 1
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for len(answer) > 0 {
		n := min(crumb, len(answer))
		if _, err := w.Write(answer[:n]); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		answer = answer[n:]
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
