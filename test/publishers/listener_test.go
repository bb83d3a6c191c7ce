//go:build real

package publishers_test

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"

	"github.com/fresnel-search/fresnel/test/harness"
)

// notification is what a listener of oslo.messaging was told.
type notification struct {
	Priority    string          `json:"priority"`
	PublisherID string          `json:"publisher_id"`
	EventType   string          `json:"event_type"`
	Payload     json.RawMessage `json:"payload"`
	MessageID   string          `json:"message_id"`
	Timestamp   string          `json:"timestamp"`
}

// listener is a Python process with an unmodified listener of oslo.messaging.
type listener struct {
	mu  sync.Mutex
	got []notification
}

// listen starts one that is told of all priorities of a topic, and returns when it is.
func listen(t *testing.T, url, topic string) *listener {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), harness.Need(t, "FRESNEL_TEST_OSLO_PYTHON"), harness.Testdata(t, "lab/oslo/listen.py"), url, topic)
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
	l := &listener{}
	ready, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		l.read(t, out, ready)
	}()
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		<-ended
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("listener: %v", err)
		}
	})
	select {
	case <-ready:
	case <-ended:
		t.Fatal("the listener has ended")
	}
	return l
}

func (l *listener) read(t *testing.T, out io.Reader, ready chan<- struct{}) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if lines.Text() == "ready" {
			close(ready)
			continue
		}
		var n notification
		if err := json.Unmarshal(lines.Bytes(), &n); err != nil {
			t.Errorf("listener: %v: %s", err, lines.Text())
			continue
		}
		l.mu.Lock()
		l.got = append(l.got, n)
		l.mu.Unlock()
	}
}

// all are the notifications so far.
func (l *listener) all() []notification {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}
