//go:build real

package publishers_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/fresnel-search/fresnel/test/harness"
)

// lab runs a script of the lab that the tests run in.
func lab(t *testing.T, script string, args ...string) {
	t.Helper()
	harness.SharedLab(t).Run(t, nil, script, args...)
}

// proxy forwards to a server what spoil has left of a request, and returns its URL.
func proxy(t *testing.T, to string, spoil func(*http.Request)) string {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(u)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		spoil(r)
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

// python runs a script of the lab's until the test ends and hands what it says, line by
// line, to hear.
func python(t *testing.T, hear func(line []byte), script string, args ...string) {
	t.Helper()
	cmd := exec.Command(harness.Need(t, "FRESNEL_TEST_HUB_PYTHON"), append([]string{harness.Testdata(t, "lab/hub/"+script)}, args...)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			hear(lines.Bytes())
		}
	})
	t.Cleanup(func() {
		_, _ = in.Close(), cmd.Process.Kill()
		reading.Wait()
		_ = cmd.Wait() // it was killed, if it has not ended by itself
	})
}

// startHub runs the lab's own hub with options, and returns its URL.
func startHub(t *testing.T, options ...string) string {
	t.Helper()
	port := freePort(t)
	python(t, func([]byte) {}, "hub.py", append([]string{port}, options...)...)
	hub := "http://127.0.0.1:" + port + "/"
	harness.Eventually(t, "the hub listens", func() error {
		resp, err := http.Get(hub)
		if err == nil {
			err = resp.Body.Close()
		}
		return err
	})
	return hub
}

// subscriber is Flask-WebSub's, with what has come to it and was signed as it should be.
type subscriber struct {
	mu       sync.Mutex
	verified bool
	contents []heard
}

// heard is what feedparser makes of content.
type heard struct {
	Verified string            `json:"verified"`
	Topic    string            `json:"topic"`
	Bozo     bool              `json:"bozo"`
	Links    map[string]string `json:"links"`
	Entries  []struct {
		ID      string   `json:"id"`
		Content []string `json:"content"`
	} `json:"entries"`
}

// subscribe subscribes to a topic at a hub, which has verified it on return.
func subscribe(t *testing.T, hub, topic string) *subscriber {
	t.Helper()
	s := &subscriber{}
	python(t, func(line []byte) {
		var h heard
		if err := json.Unmarshal(line, &h); err != nil {
			t.Errorf("subscriber: %v: %s", err, line)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if h.Verified != "" {
			s.verified = true
			return
		}
		s.contents = append(s.contents, h)
	}, "subscriber.py", freePort(t), hub, topic, "s3cret-of-"+freePort(t))
	harness.Eventually(t, "the subscription is verified", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.verified {
			return fmt.Errorf("not yet, at %s", hub)
		}
		return nil
	})
	return s
}

// last is what came last; false if nothing has.
func (s *subscriber) last() (heard, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.contents) == 0 {
		return heard{}, false
	}
	return s.contents[len(s.contents)-1], true
}
