package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/cmd/fresnel/app"
	"github.com/fresnel-search/fresnel/configs"
	"github.com/fresnel-search/fresnel/test/acceptance"
	"github.com/fresnel-search/fresnel/test/harness"
)

func TestSecondServerOnADataFolderIsRefusedWithThePidOfTheFirst(t *testing.T) {
	t.Parallel()
	s := harness.New(t, acceptance.Admin).Start()
	out, err := s.Run("serve", "--data", s.Data(), "--listen", "127.0.0.1:0")
	if err == nil {
		t.Fatalf("the second server has served:\n%s", out)
	}
	want := fmt.Sprintf("data folder %s is in use by process %d; stop it, or choose another with --data", s.Data(), s.PID())
	if !strings.Contains(out, want) {
		t.Errorf("the second server says %q, want %q in it", out, want)
	}
	if err := s.Get("/readyz", nil); err != nil {
		t.Errorf("the first server has suffered: %v", err)
	}
}

func TestServerStopsInTimeAndComesBack(t *testing.T) {
	t.Parallel()
	s := harness.New(t, acceptance.Admin)
	for _, folder := range []string{"an empty data folder", "a used data folder"} {
		begin := time.Now()
		s.Start()
		ready := time.Since(begin)
		t.Logf("ready on %s after %s", folder, ready.Round(time.Millisecond))
		if ready > 10*time.Second { // 3 s where the machine has nothing else to do
			t.Errorf("ready on %s only after %s", folder, ready)
		}
		if folder == "an empty data folder" {
			s.Play("notifications/glance.jsonl.gz")
			acceptance.Settled(t, s, acceptance.Count(t, "notifications/glance.jsonl.gz"), "")
		}
		code, took := s.Stop()
		if code != 0 || took > 10*time.Second {
			t.Errorf("SIGTERM: exit code %d after %s, want 0 within 10s", code, took)
		}
	}
	out := s.Output()
	for _, want := range []string{s.URL, s.Kafka, s.Data(), "notifications", "fresnel search --url " + s.URL} {
		if !strings.Contains(out, want) {
			t.Errorf("the server has not printed %q", want)
		}
	}
}

func TestServerTellsHowItIs(t *testing.T) {
	t.Parallel()
	s := harness.New(t, acceptance.Admin).Start()
	var health, ready json.RawMessage
	if err := s.Get("/healthz", &health); err != nil {
		t.Errorf("/healthz: %v", err)
	}
	if err := s.Get("/readyz", &ready); err != nil {
		t.Errorf("/readyz: %v", err)
	}
	for _, part := range []string{"store", "listener", "indexer", "publishers"} {
		if !strings.Contains(string(ready), `"`+part+`"`) {
			t.Errorf("/readyz does not name %s: %s", part, ready)
		}
	}
	metrics := body(t, s.URL+"/metrics")
	for _, name := range []string{
		`fresnel_listener_records_total{`, `fresnel_indexer_`, `fresnel_publishers_`, `fresnel_searchapi_`, "go_goroutines", "process_resident_memory_bytes",
	} {
		if !strings.Contains(metrics, "\n"+name) {
			t.Errorf("/metrics lacks %s", name)
		}
	}
}

func body(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d, %v", url, resp.StatusCode, err)
	}
	return string(b)
}

func TestDeadLettersAreListedShownReplayedAndDropped(t *testing.T) {
	t.Parallel()
	s := harness.New(t, acceptance.Admin).Start()
	s.Play(s.File("poison.jsonl", `{"topic":"notifications.error","partition":2,"key":null,"value":"no notification {"}`+"\n"))
	const id = "notification/notifications.error/2/0"
	s.Eventually("the poison is a dead letter", func() error {
		if ids := acceptance.DeadLetters(t, s); len(ids) != 1 || ids[0] != id {
			return fmt.Errorf("dead letters %v", ids)
		}
		return nil
	})
	if out := s.MustRun("deadletters", "list"); !strings.Contains(out, id) {
		t.Errorf("list prints %s", out)
	}
	if out := s.MustRun("deadletters", "show", id); !strings.Contains(out, "no notification {") || !strings.Contains(out, `"offset": 0`) {
		t.Errorf("show prints %s", out)
	}
	s.MustRun("deadletters", "replay", id)
	var again string
	s.Eventually("the replayed poison is a dead letter of its own", func() error {
		ids := acceptance.DeadLetters(t, s)
		if len(ids) != 1 || ids[0] == id {
			return fmt.Errorf("dead letters %v", ids)
		}
		again = ids[0]
		return nil
	})
	s.MustRun("deadletters", "drop", again)
	if ids := acceptance.DeadLetters(t, s); len(ids) != 0 {
		t.Errorf("after drop there are %v", ids)
	}
	for _, args := range [][]string{{"show", id}, {"drop", again}, {"replay", id}} {
		if out, err := s.Run(append([]string{"deadletters"}, args...)...); err == nil || !strings.Contains(out, "404") {
			t.Errorf("deadletters %v: %v, prints %q; want that it is not there", args, err, out)
		}
	}
	acceptance.Settled(t, s, 2, "")
}

func TestCatalogCommandsWork(t *testing.T) {
	t.Parallel()
	s := harness.New(t, acceptance.Admin) // is not started: these commands need no server
	if out := s.MustRun("catalog", "check"); !strings.Contains(out, "resource types: ok") {
		t.Errorf("catalog check prints %s", out)
	}
	files, err := filepath.Glob(filepath.Join("notifications", "*.jsonl.gz"))
	if err != nil || len(files) < 8 {
		t.Fatalf("recordings %v, %v", files, err)
	}
	for _, f := range files {
		if out := s.MustRun("catalog", "try", f); !strings.Contains(out, " -> ") && !strings.Contains(out, "OS::") {
			t.Errorf("catalog try %s prints %.300s", f, out)
		}
	}
}

// inProcess is a whole Fresnel in the process of the test.
type inProcess struct {
	*harness.Server // the same things done over its addresses; it has no process
	out             *printed
	stop            context.CancelFunc
	ended           chan error
}

// printed collects what is written, by several goroutines.
type printed struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.Write(b)
}

// find returns what a pattern's group matches, or nothing yet.
func (p *printed) find(pattern string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := regexp.MustCompile(pattern).FindSubmatch(p.b.Bytes()); m != nil {
		return string(m[1])
	}
	return ""
}

// runInProcess serves a system with a subscription that r receives.
func runInProcess(t *testing.T, r *harness.Receiver) *inProcess {
	t.Helper()
	text := strings.NewReplacer("RECEIVER", r.URL, "SEARCH_ADDR", "127.0.0.1:0", "KAFKA_ADDR", "127.0.0.1:0").Replace(acceptance.Delivering)
	c, err := configs.Parse([]byte(text), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c.Data = t.TempDir()
	s := &inProcess{Server: harness.New(t, acceptance.Admin), out: &printed{}, ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	s.stop = cancel
	go func() {
		s.ended <- app.Run(ctx, app.Options{
			Config: c, Version: "test", Out: s.out, Log: slog.New(slog.NewTextHandler(s.out, nil)), Executable: s.Binary(),
		})
	}()
	harness.Eventually(t, "the system in this process listens", func() error {
		select {
		case err := <-s.ended:
			t.Fatalf("it has ended: %v", err)
		default:
		}
		s.URL, s.Kafka = s.out.find(`search API +(http://\S+)`), s.out.find(`embedded Kafka +(\S+)`)
		if s.URL == "" || s.Kafka == "" {
			return errors.New("nothing printed")
		}
		return s.Get("/readyz", nil)
	})
	return s
}

func TestTwoSystemsInOneProcessKnowNothingOfEachOther(t *testing.T) {
	t.Parallel()
	type side struct {
		recording, prefix string
		receiver          *harness.Receiver
		system            *inProcess
	}
	sides := []*side{
		{recording: "notifications/glance.jsonl.gz", prefix: "OS::Glance::"},
		{recording: "notifications/cinder.jsonl.gz", prefix: "OS::Cinder::"},
	}
	for _, a := range sides {
		a.receiver = harness.NewReceiver(t)
		a.system = runInProcess(t, a.receiver)
	}
	for _, a := range sides {
		a.system.Play(a.recording)
	}
	for _, a := range sides {
		b := acceptance.Settled(t, a.system.Server, acceptance.Count(t, a.recording), "")
		all := acceptance.Dump(t, a.system.Server, "")
		if len(all) == 0 {
			t.Errorf("%s: no documents", a.recording)
		}
		for key := range all {
			if !strings.HasPrefix(key, a.prefix) {
				t.Errorf("the system that heard %s has %s", a.recording, key)
			}
		}
		a.system.Eventually("something is delivered", func() error {
			if len(a.receiver.Deliveries()) == 0 {
				return fmt.Errorf("no deliveries; books %+v", b)
			}
			return nil
		})
	}
	for _, a := range sides {
		a.system.stop()
		if err := <-a.system.ended; err != nil {
			t.Errorf("%s: the system ended with %v\n%s", a.recording, err, a.system.out.find(`(?s)(.*)`))
		}
		for _, d := range a.receiver.Deliveries() {
			if !strings.HasPrefix(d.Change.Resource.Type, a.prefix) {
				t.Errorf("the receiver of %s got %+v", a.recording, d.Change.Resource)
			}
		}
		if errs := a.receiver.Errors(); len(errs) > 0 {
			t.Errorf("%s: deliveries: %v", a.recording, errs)
		}
	}
}
