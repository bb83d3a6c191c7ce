// Package harness runs the real binary as a process for the acceptance tests and the
// benchmark: it starts, kills and restarts a server, plays recordings into it,
// receives its deliveries and reads it back over its API.
//
// It imports no subsystem, so that what it sees is what any client sees. Its
// invariant: nothing is left running when a test ends.
package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait of the harness.
const patience = 90 * time.Second

// build compiles the binary once for all tests of a process; FRESNEL_BINARY names one
// that is there already.
var build = sync.OnceValues(func() (string, error) {
	if bin := os.Getenv("FRESNEL_BINARY"); bin != "" {
		return filepath.Abs(bin)
	}
	dir, err := os.MkdirTemp("", "fresnel-test-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "fresnel")
	cmd := exec.Command("go", "build", "-tags", "faults", "-o", bin, "github.com/fresnel-search/fresnel/cmd/fresnel")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return bin, nil
})

// Server is a running fresnel serve.
type Server struct {
	t     testing.TB
	bin   string
	dir   string
	cmd   *exec.Cmd
	out   *buffer
	ended chan struct{}
	// On is what the server stands on.
	On *Engines
	// Roles are the parts that run in this process, parted by commas; all if empty.
	Roles string
	// Flags are more flags of serve.
	Flags []string
	// URL is the search API's; Kafka is a list of brokers, or the embedded one.
	URL, Kafka string
}

// buffer collects a process's output.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// New is Embedded().New: a server that brings all it needs.
func New(t testing.TB, config string) *Server {
	t.Helper()
	return Embedded().New(t, config)
}

// New prepares a server in a folder of its own. config is YAML in which SEARCH_ADDR
// stands for the address of the API and KAFKA_ADDR for the embedded broker's; on real
// engines their addresses are added, and settings of the embedded ones taken out.
func (e *Engines) New(t testing.TB, config string) *Server {
	t.Helper()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, bin: bin, dir: t.TempDir(), On: e, URL: "http://" + freeAddr(t), Kafka: e.Kafka}
	if !e.IsReal() {
		s.Kafka = freeAddr(t)
	}
	e.mu.Lock()
	e.servers = append(e.servers, s)
	e.mu.Unlock()
	s.Configure(config)
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("server output:\n%s", tail(s.Output(), 30000))
		}
	})
	return s
}

// Configure replaces the configuration, for the next start.
func (s *Server) Configure(config string) {
	s.t.Helper()
	config = strings.ReplaceAll(config, "SEARCH_ADDR", strings.TrimPrefix(s.URL, "http://"))
	text, err := s.On.settings(strings.ReplaceAll(config, "KAFKA_ADDR", s.Kafka))
	if err != nil {
		s.t.Fatal(err)
	}
	s.File("config.yaml", text)
}

func tail(s string, n int) string {
	if len(s) > n {
		return "..." + s[len(s)-n:]
	}
	return s
}

func freeAddr(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// File writes a file beside the configuration and returns its path.
func (s *Server) File(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// Data is the server's data folder.
func (s *Server) Data() string { return filepath.Join(s.dir, "data") }

// Binary is the compiled program.
func (s *Server) Binary() string { return s.bin }

// Output is everything that all runs of the server have printed.
func (s *Server) Output() string {
	if s.out == nil {
		return ""
	}
	return s.out.String()
}

// Start runs the server, with additional environment, and waits until it is ready.
func (s *Server) Start(env ...string) *Server {
	s.t.Helper()
	s.Launch(env...)
	s.WaitReady()
	return s
}

// Launch runs the server without waiting.
func (s *Server) Launch(env ...string) {
	s.t.Helper()
	if s.out == nil {
		s.out = &buffer{}
	}
	args := []string{"serve", "--config", filepath.Join(s.dir, "config.yaml"), "--data", s.Data()}
	if s.Roles != "" {
		args = append(args, "--roles", s.Roles)
	}
	s.cmd = exec.Command(s.bin, append(args, s.Flags...)...)
	s.cmd.Dir = s.dir
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	cmd, ended := s.cmd, make(chan struct{})
	s.ended = ended
	go func() {
		defer close(ended)
		if err := cmd.Wait(); err != nil {
			fmt.Fprintf(s.out, "\nthe server ended: %v\n", err)
		}
	}()
}

// PID is the process id of the current run.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// WaitReady waits until the server says that it is ready.
func (s *Server) WaitReady() {
	s.t.Helper()
	s.Eventually("the server is ready", func() error {
		select {
		case <-s.ended:
			s.t.Fatalf("server ended: %v\n%s", s.cmd.ProcessState, tail(s.Output(), 4000))
		default:
		}
		return s.Get("/readyz", nil)
	})
}

// Kill ends the server as kill -9 does. A server that does not run is left alone.
func (s *Server) Kill() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	if err := s.cmd.Process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("kill: %v", err)
	}
	<-s.ended
}

// Pause stops the process as it is, as SIGSTOP does, until Resume.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("%s: %v", sig, err)
	}
}

// Refresh makes searches find what has been written.
func (s *Server) Refresh() {
	s.t.Helper()
	s.On.Refresh(s.t)
}

// Ended is closed when the current run has ended.
func (s *Server) Ended() <-chan struct{} { return s.ended }

// Stop ends the server with SIGTERM and returns its exit code and how long it took.
func (s *Server) Stop() (code int, took time.Duration) {
	s.t.Helper()
	begin := time.Now()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		s.t.Fatal("server did not stop in 30 s")
	}
	return s.cmd.ProcessState.ExitCode(), time.Since(begin)
}

// Run runs another command of the binary against this server and returns its output.
func (s *Server) Run(args ...string) (string, error) {
	cmd := exec.Command(s.bin, args...)
	cmd.Env = append(os.Environ(), "FRESNEL_URL="+s.URL, "FRESNEL_TOKEN=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// MustRun is Run for commands that must succeed.
func (s *Server) MustRun(args ...string) string {
	s.t.Helper()
	out, err := s.Run(args...)
	if err != nil {
		s.t.Fatalf("fresnel %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// Play replays recordings into the server's broker.
func (s *Server) Play(args ...string) {
	s.t.Helper()
	s.MustRun(append([]string{"play", "--brokers", s.Kafka}, args...)...)
}

// Text reads an answer of the API that is no JSON.
func (s *Server) Text(path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = &StatusError{Code: resp.StatusCode, Body: string(b)}
	}
	return string(b), err
}

// Get reads a JSON answer of the API.
func (s *Server) Get(path string, into any) error { return s.Call("GET", path, "", nil, into) }

// Call sends a JSON request with a token and decodes the answer; an error carries
// the status and the body.
func (s *Server) Call(method, path, token string, body, into any) error {
	var rd io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		rd = bytes.NewReader(b)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, rd)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("X-Auth-Token", token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return &StatusError{Code: resp.StatusCode, Body: string(b)}
	}
	if into == nil {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	return dec.Decode(into)
}

// StatusError is an answer that refuses.
type StatusError struct {
	Code int
	Body string
}

// Error gives status and body.
func (e *StatusError) Error() string { return fmt.Sprintf("status %d: %s", e.Code, e.Body) }

// Eventually waits until the condition holds, looking again every few milliseconds.
func (s *Server) Eventually(what string, ok func() error) {
	s.t.Helper()
	Eventually(s.t, what, ok)
}

// Eventually waits until the condition holds, and fails the test if it does not.
func Eventually(t testing.TB, what string, ok func() error) {
	t.Helper()
	err := errors.New("not looked at")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		if err = ok(); err == nil {
			return
		}
	}
	t.Fatalf("waited %s, but not: %s: %v", patience, what, err)
}

// stall is how long Patiently waits without progress.
const stall = 90 * time.Second

// Patiently waits until the condition holds, for as long as its progress grows, and
// fails the test when it does not any more.
func Patiently(t testing.TB, what string, ok func() (progress int64, err error)) {
	t.Helper()
	most, moved := int64(-1), time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		n, err := ok()
		if err == nil {
			return
		}
		if n > most {
			most, moved = n, time.Now()
		}
		if time.Since(moved) > stall {
			t.Fatalf("nothing moved for %s, but not: %s: %v", stall, what, err)
		}
	}
}
