package plugintest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"
)

// endpoint plays the receivers of plugins that speak HTTP. A request belongs to the
// mark that is found in it: in its URL, else its header, else its body.
type endpoint struct {
	srv   *httptest.Server
	mu    sync.Mutex
	marks map[string]*mark
	free  chan struct{} // closed when what hangs may go
}

// mark is one receiver: how it answers, and what it got.
type mark struct {
	id     string
	answer http.HandlerFunc // nil answers 200

	mu       sync.Mutex
	requests []*request
	news     chan struct{} // closed and replaced when a request comes
}

// request is what a receiver got.
type request struct {
	uri    string
	header http.Header
	body   []byte
	over   chan struct{} // closed when it was answered or the client has gone
}

func newEndpoint() *endpoint {
	e := &endpoint{marks: map[string]*mark{}, free: make(chan struct{})}
	e.srv = httptest.NewServer(e)
	return e
}

func (e *endpoint) close() {
	e.release()
	e.srv.CloseClientConnections()
	e.srv.Close()
}

// release lets go of what hangs.
func (e *endpoint) release() {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.free)
	e.free = make(chan struct{})
}

func (e *endpoint) freed() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.free
}

// firstMark begins with digits that no country has, as a mark may be taken for a
// telephone number.
const firstMark = 999_000_000_000

// mark makes a receiver.
func (e *endpoint) mark(answer http.HandlerFunc) *mark {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := &mark{id: strconv.Itoa(firstMark + len(e.marks)), answer: answer, news: make(chan struct{})}
	e.marks[m.id] = m
	return m
}

var digits = regexp.MustCompile(`999\d{9}`)

// ServeHTTP finds out whom a request is for.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const most = 16 << 20
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err != nil {
		return // the client has gone, or sends without end
	}
	m := e.find(r.RequestURI, fmt.Sprint(r.Header), string(body))
	if m == nil {
		http.Error(w, "no mark in the request", http.StatusNotImplemented)
		return
	}
	over := make(chan struct{})
	defer close(over)
	m.take(&request{uri: r.RequestURI, header: r.Header, body: body, over: over})
	if m.answer != nil {
		m.answer(w, r)
	}
}

func (e *endpoint) find(places ...string) *mark {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, place := range places {
		for _, id := range digits.FindAllString(place, -1) {
			if m := e.marks[id]; m != nil {
				return m
			}
		}
	}
	return nil
}

func (m *mark) take(r *request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests = append(m.requests, r)
	close(m.news)
	m.news = make(chan struct{})
}

// got returns the requests so far.
func (m *mark) got() []*request {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.requests)
}

// forget makes room for more requests.
func (m *mark) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests = nil
}

// await waits until there are n requests.
func (m *mark) await(ctx context.Context, n int) bool {
	for {
		m.mu.Lock()
		have, news := len(m.requests), m.news
		m.mu.Unlock()
		if have >= n {
			return true
		}
		select {
		case <-news:
		case <-ctx.Done():
			return false
		}
	}
}

// left reports whether the client has gone, or was answered, within d.
func (r *request) left(d time.Duration) bool {
	select {
	case <-r.over:
		return true
	case <-time.After(d):
		return false
	}
}

// status answers with a status.
func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// hang answers never, until the check is over.
func (e *endpoint) hang() http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-e.freed():
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
}

// holds answers 200 when the channel is closed.
func (e *endpoint) holds(until <-chan struct{}) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-until:
		case <-r.Context().Done():
		case <-e.freed():
		}
	}
}

// reset breaks off without an answer.
func reset(w http.ResponseWriter, _ *http.Request) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		quietly(conn.Close())
	}
}

// echo answers with a status and with all that was asked, as careless receivers do.
func echo(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(code)
		user, password, _ := r.BasicAuth()
		fmt.Fprintf(w, "%s %s %v %s %s\n", r.Method, r.RequestURI, r.Header, user, password)
	}
}
