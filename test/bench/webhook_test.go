package bench

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/test/harness"
)

// backlog is how many deliveries wait before the rate is measured.
const backlog = 10_000

// sink is a receiver that reads, notes the time and accepts.
type sink struct {
	URL  string
	n    atomic.Int64
	busy atomic.Int64
	most atomic.Int64 // requests at once

	mu     sync.Mutex
	at     map[string]time.Time // by resource
	bodies [][]byte
	keep   bool
	first  time.Time
	last   time.Time
}

// subject finds the resource in a change, or in a notification of a port.
var subject = regexp.MustCompile(`"subject":"[^"]*/([0-9a-f-]{36})"`)

func newSink(b *testing.B) *sink {
	b.Helper()
	s := &sink{at: map[string]time.Time{}}
	srv := httptest.NewServer(s)
	b.Cleanup(srv.Close)
	s.URL = srv.URL + "/hook"
	return s
}

// ServeHTTP implements http.Handler.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	most := s.busy.Add(1)
	defer s.busy.Add(-1)
	for m := s.most.Load(); most > m && !s.most.CompareAndSwap(m, most); m = s.most.Load() {
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	id := subject.FindSubmatch(body)
	if id == nil {
		id = portID.FindSubmatch(body)
	}
	s.mu.Lock()
	if s.first.IsZero() {
		s.first = now
	}
	s.last = now
	if id != nil {
		if _, ok := s.at[string(id[1])]; !ok {
			s.at[string(id[1])] = now
		}
	}
	if s.keep {
		s.bodies = append(s.bodies, body)
	}
	s.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
	s.n.Add(1)
}

// await waits for n requests.
func (s *sink) await(b *testing.B, n int) {
	b.Helper()
	until(b, 5*time.Millisecond, func() error {
		if got := s.n.Load(); got < int64(n) {
			return fmt.Errorf("%d of %d deliveries", got, n)
		}
		return nil
	})
}

// firsts are the times at which resources were first heard of, zero for none.
func (s *sink) firsts(ids []string) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := make([]time.Time, len(ids))
	for i, id := range ids {
		at[i] = s.at[id]
	}
	return at
}

// poster posts as a plain Go program would.
type poster struct {
	url    string
	client http.Client
	key    []byte
}

func newPoster(url string, connections int) *poster {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(harness.Secret, "whsec_"))
	if err != nil {
		panic(err)
	}
	return &poster{url, http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}, key}
}

// post signs and posts.
func (p *poster) post(b *testing.B, id string, body []byte) {
	now := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, p.key)
	for _, part := range []string{id, ".", now, "."} {
		mac.Write([]byte(part))
	}
	mac.Write(body)
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		b.Error(err)
		return
	}
	req.Header = http.Header{
		"Content-Type": {"application/cloudevents+json"}, "Webhook-Id": {id}, "Webhook-Timestamp": {now},
		"Webhook-Signature": {"v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))},
	}
	resp, err := p.client.Do(req)
	if err != nil {
		b.Error(err)
		return
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		b.Error(err)
	}
	if err := resp.Body.Close(); err != nil {
		b.Error(err)
	}
}

// deliveries has changes pile up while a subscription is not configured, and
// measures how fast they go out once it is back.
func deliveries(b *testing.B, r *report) {
	records, _ := ports(b, 0, backlog)
	got := newSink(b)
	got.keep = true
	with := strings.ReplaceAll(subscribed, "RECEIVER", got.URL)
	s := harness.New(b, with).Start()
	s.Stop() // its place in the change log is known now
	s.Configure(plain)
	s.Start()
	produce(b, client(b, s.Kafka), "", records)
	settled(b, s, backlog)
	s.Stop()
	s.Configure(with)
	s.Start()
	got.await(b, backlog)
	through := float64(backlog) / got.last.Sub(got.first).Seconds()
	plugin, core := rss(child(s.PID())), rss(s.PID())
	own := status(child(s.PID()), "RssAnon")
	s.Stop()
	at := int(got.most.Load())
	bare := barePosts(b, got.bodies, at)
	r.rate("webhook deliveries of a backlog", through, bare, fmt.Sprintf("bare Go client, signed, same bodies, %d at once too", at), "0.5")
	r.size(fmt.Sprintf("RSS of the plugin process after it (%s its own; the rest is the binary, shared with core)", mib(own)), plugin, core, "core after it", "30 MiB")
}

// barePosts posts the bodies in a loop to a fresh receiver, so many at once, and
// returns how many a second.
func barePosts(b *testing.B, bodies [][]byte, at int) float64 {
	b.Helper()
	to := newSink(b)
	p := newPoster(to.URL, at)
	work := make(chan []byte, at)
	var all sync.WaitGroup
	for range at {
		all.Go(func() {
			for body := range work {
				p.post(b, "1", body)
			}
		})
	}
	for _, body := range bodies {
		work <- body
	}
	close(work)
	all.Wait()
	return float64(len(bodies)) / to.last.Sub(to.first).Seconds()
}
