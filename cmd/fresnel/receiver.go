package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/fresnel-search/fresnel/plugins/change"
)

// receiver is the demo's webhook endpoint: it verifies each delivery with the
// Standard Webhooks library, an implementation that is not ours, and prints it.
type receiver struct {
	hook  *standardwebhooks.Webhook
	out   io.Writer
	lines int // deliveries printed one by one; the rest are only counted

	mu       sync.Mutex
	verified int
	refused  int
	repeated int
	actions  map[change.Action]int
	seen     map[string]bool
	last     time.Time
}

func newReceiver(secret string, out io.Writer, lines int) (*receiver, error) {
	hook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return nil, fmt.Errorf("the demo's secret: %w", err)
	}
	return &receiver{hook: hook, out: out, lines: lines, actions: map[change.Action]int{}, seen: map[string]bool{}}, nil
}

// listen serves the receiver until stop is called.
func (r *receiver) listen(ctx context.Context, addr string) (stop func(), err error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("the demo's receiver: %w", err)
	}
	srv := &http.Server{Handler: r, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(r.out, "receiver stopped:", err)
		}
	}()
	return func() {
		if err := srv.Close(); err != nil {
			fmt.Fprintln(r.out, "receiver:", err)
		}
		<-done
	}, nil
}

// ServeHTTP takes one delivery: 204 if the signature is right, else 401.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, 8<<20))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = time.Now()
	if err := r.hook.Verify(body, req.Header); err != nil {
		r.refused++
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	var event struct {
		ID   string        `json:"id"`
		Data change.Change `json:"data"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		r.refused++
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.take(event.ID, event.Data)
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) take(id string, c change.Change) {
	if r.seen[id] {
		r.repeated++
		return
	}
	r.seen[id] = true
	r.verified++
	r.actions[c.Action]++
	switch {
	case r.verified <= r.lines:
		fmt.Fprintf(r.out, "  delivered  %-8s %-28s %s  revision %d  by %s\n", c.Action, c.Resource.Type, c.Resource.ID, c.Revision, c.Cause.EventType)
	case r.verified == r.lines+1:
		fmt.Fprintln(r.out, "  delivered  ... (the rest is counted)")
	}
}

// counts says what came so far and how long ago the last delivery was.
func (r *receiver) counts() (verified, refused, repeated int, idle time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.verified, r.refused, r.repeated, time.Since(r.last)
}
