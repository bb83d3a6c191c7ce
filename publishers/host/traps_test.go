package host_test

import (
	"bufio"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/host"
)

func signal(t testing.TB, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatalf("kill(%d, %s): %v", pid, sig, err)
	}
}

func kill(t testing.TB, pid int) { t.Helper(); signal(t, pid, syscall.SIGKILL) }

// gone reports whether there is no such process, or only its corpse.
func gone(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(b), ") Z ")
}

// Trap 1: unexpected types in go-plugin's log format panic its reader.
func TestHostileStderrIsJustText(t *testing.T) {
	s := start(t, config(t, "evil-stderr"))
	s.process(0)
	s.mustDeliver()
	eventually(t, "its last line is logged", func() bool { return s.log.has(slog.LevelWarn, "the last of them") })
}

// Trap 2: go-plugin waits for a frozen process for ever.
func TestStopEndsAFrozenPlugin(t *testing.T) {
	t.Parallel()
	cfg := config(t, "fake")
	cfg.StopGrace = 100 * time.Millisecond
	s := start(t, cfg)
	pid := s.process(0).PID
	signal(t, pid, syscall.SIGSTOP)
	if took := s.stop(); took > 5*time.Second {
		t.Errorf("stopping a frozen plugin took %s", took)
	}
	if !gone(pid) {
		t.Error("the frozen plugin still exists")
	}
}

// Trap 3: go-plugin's ping has no deadline.
func TestFrozenPluginIsReplaced(t *testing.T) {
	t.Parallel()
	cfg := config(t, "fake")
	cfg.HealthInterval = 300 * time.Millisecond
	s := start(t, cfg)
	pid := s.process(0).PID
	signal(t, pid, syscall.SIGSTOP)
	if next := s.process(1).PID; next == pid {
		t.Error("the plugin was not replaced")
	}
	s.mustDeliver()
}

// Trap 3: a plugin whose handlers are all stuck still answers a ping.
func TestPluginThatAnswersForNothingIsReplaced(t *testing.T) {
	t.Parallel()
	cfg := config(t, "raw")
	cfg.HealthInterval, cfg.AttemptTimeout = 100*time.Millisecond, 100*time.Millisecond
	s := start(t, cfg)
	s.process(0)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			err := s.it.Publish(ctx, delivery.Destination{URI: "raw:hang"}, deliveries("d"), func(delivery.Outcome) {})
			if err == nil {
				t.Error("Publish() = nil although nothing was answered")
			}
		}
	}()
	s.process(1)
	cancel()
	<-done
	if !s.log.has(slog.LevelWarn, "answers for none of its deliveries") {
		t.Error("it was replaced for another reason")
	}
}

// Trap 4: go-plugin's shutdown cuts off what runs.
func TestStopLetsDeliveriesFinish(t *testing.T) {
	t.Parallel()
	s := start(t, config(t, "fake"))
	s.process(0)
	acked := make(chan delivery.Outcome, 1)
	begun := make(chan struct{})
	go func() {
		// The first delivery says that the batch arrived.
		err := s.it.Publish(t.Context(), delivery.Destination{URI: "fake://slow/1s"}, deliveries("d"),
			func(o delivery.Outcome) { acked <- o })
		if err != nil {
			t.Error(err)
			close(acked)
		}
	}()
	go func() {
		defer close(begun)
		eventually(t, "the batch is under way", func() bool { return host.InFlight(s.it) == 1 })
	}()
	<-begun
	s.stop()
	if o := <-acked; o.Kind != delivery.Delivered {
		t.Errorf("outcome = %+v, want delivered", o)
	}
}

// Trap 5: go-plugin stops reading stdout at a line of 64 KiB, and the plugin blocks.
func TestLongStdoutLineBlocksNobody(t *testing.T) {
	s := start(t, config(t, "long-stdout"))
	s.process(0)
	eventually(t, "the plugin wrote it all", func() bool { return s.log.has(slog.LevelWarn, "wrote it all") })
	s.mustDeliver()
}

// Trap 6: anything on stdout before the handshake ends the start.
func TestLinesBeforeTheHandshakeAreSkipped(t *testing.T) {
	s := start(t, config(t, "chatty-stdout"))
	s.process(0)
	s.mustDeliver()
	if !s.log.has(slog.LevelWarn, "Hello, I am a plugin!") {
		t.Error("what it said is not in the log")
	}
}

// Trap 6: the cause of a failed start is only at debug.
func TestFailedStartCarriesTheLastLines(t *testing.T) {
	s := start(t, config(t, "exit"))
	eventually(t, "the start failed", func() bool {
		for _, p := range s.host.Processes() {
			if p.State == host.Backoff {
				for _, want := range []string{"exit status 3", "line 29 of its misery", "line 10 of"} {
					if !strings.Contains(p.Problem, want) {
						t.Fatalf("problem = %q, want %q in it", p.Problem, want)
					}
				}
				return true
			}
		}
		return false
	})
}

// Trap 7: a grandchild that holds stderr hides the exit.
func TestGrandchildHidesNoExit(t *testing.T) {
	t.Parallel()
	s := start(t, config(t, "grandchild"))
	p := s.process(0)
	said := regexp.MustCompile(`child=(\d+)`)
	eventually(t, "the child is known", func() bool { return said.MatchString(s.log.String()) })
	child, err := strconv.Atoi(said.FindStringSubmatch(s.log.String())[1])
	if err != nil || gone(child) {
		t.Fatalf("child %d: %v", child, err)
	}
	kill(t, p.PID)
	began := time.Now()
	s.process(1)
	if took := time.Since(began); took > 20*time.Second { // the grandchild lives for 60 s
		t.Errorf("it took %s to see the exit and restart", took)
	}
	eventually(t, "the child that stayed in the group is gone", func() bool { return gone(child) })
}

// Traps 8 and 9: plugins outlive a host that was killed.
func TestPluginsDieWithTheHost(t *testing.T) {
	for _, mode := range []string{
		"fake", // by its lifeline, wherever it runs
		"raw",  // by the kernel: it does not look at stdin
	} {
		t.Run(mode, func(t *testing.T) {
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(self, "-test.run=^$")
			cmd.Env = append(os.Environ(), modeKey+"=host", "INNER_MODE="+mode, "RUN_DIR="+config(t, "").RunDir)
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(stdout).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil || gone(pid) {
				t.Fatalf("pid %q: %v", line, err)
			}
			kill(t, cmd.Process.Pid)
			if err := cmd.Wait(); err == nil {
				t.Error("the host was not killed")
			}
			eventually(t, "the plugin is gone", func() bool { return gone(pid) })
		})
	}
}

// Trap 8: where the kernel sends no parent-death signal, the end of stdin tells.
func TestPluginExitsWhenItsLifelineCloses(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^$")
	cmd.Env = append(os.Environ(), modeKey+"=fake", publisherv1.CookieKey+"="+publisherv1.CookieValue,
		"PLUGIN_PROTOCOL_VERSIONS=1", "PLUGIN_UNIX_SOCKET_DIR="+filepath.Dir(config(t, "").RunDir))
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || !strings.HasPrefix(line, "1|1|unix|") {
		t.Errorf("handshake %q, %v", line, err)
	}
	if err := lifeline.Close(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// Trap 9: the parent-death signal fires when the forking thread ends.
func TestPluginOutlivesTheThreadThatAskedForIt(t *testing.T) {
	var s *started
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		s = start(t, config(t, "raw"))
		s.process(0)
	}()
	<-done
	pid := s.process(0).PID
	for range 50 { // have the runtime retire threads
		ended := make(chan struct{})
		go func() { runtime.LockOSThread(); close(ended) }()
		<-ended
	}
	if p := s.process(0); p.PID != pid || p.Restarts != 0 || gone(pid) {
		t.Errorf("process = %+v, want pid %d alive", p, pid)
	}
}

// Trap 10: signals to a service or a terminal reach its plugins too.
func TestPluginIgnoresSignalsOfTheGroup(t *testing.T) {
	s := start(t, config(t, "fake"))
	p := s.process(0)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		signal(t, p.PID, sig)
	}
	s.mustDeliver()
	if now := s.process(0); now.PID != p.PID {
		t.Error("the plugin was restarted")
	}
	if group, err := syscall.Getpgid(p.PID); err != nil || group != p.PID {
		t.Errorf("process group = %d, %v, want one of its own", group, err)
	}
}

// Traps 11 and 12: sockets in /tmp are swept, and those of killed plugins stay.
func TestSocketsLiveInRunDirAndGoAfterACrash(t *testing.T) {
	cfg := config(t, "fake")
	s := start(t, cfg)
	for i := range 3 {
		p := s.process(i)
		sockets, err := filepath.Glob(cfg.RunDir + "/*/plugin*")
		if err != nil || len(sockets) != 1 {
			t.Fatalf("sockets = %v, %v, want one", sockets, err)
		}
		kill(t, p.PID)
	}
	s.process(3)
	s.stop()
	if left, err := filepath.Glob(cfg.RunDir + "/*"); err != nil || len(left) > 0 {
		t.Errorf("left in the run directory: %v, %v", left, err)
	}
}

// Trap 15: the host's environment leaks to plugins and overrides theirs.
func TestEnvironmentDoesNotLeak(t *testing.T) {
	t.Setenv("DB_PASSWORD", "canary")
	t.Setenv("HTTPS_PROXY", "http://canary")
	t.Setenv("GOMAXPROCS", "77")
	cfg := config(t, "fake")
	cfg.Plugins["it"].Env["GREETING"] = "hello"
	s := start(t, cfg)
	s.process(0)
	for name, want := range map[string]string{
		"DB_PASSWORD": `"" false`, "HTTPS_PROXY": `"" false`, "HOME": `"" false`, "GREETING": `"hello" true`,
		"PATH": strconv.Quote(os.Getenv("PATH")) + " true", "GOMAXPROCS": `"` + strconv.Itoa(min(2, runtime.NumCPU())),
	} {
		got, err := s.publish("fake://env/"+name, "d")
		if err != nil || !strings.HasPrefix(got["d"].Message, want) {
			t.Errorf("%s is %s, %v, want %s", name, got["d"].Message, err, want)
		}
	}
}

// Trap 16: go-plugin lets a plugin answer with up to 2 GiB.
func TestHugeAnswerIsRefused(t *testing.T) {
	t.Parallel()
	cfg := config(t, "raw")
	cfg.HealthInterval = 100 * time.Millisecond
	flag := filepath.Join(t.TempDir(), "huge")
	cfg.Plugins["it"].Env["HUGE"] = flag
	s := start(t, cfg)
	s.process(0)
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the answer is refused", func() bool { return s.log.has(slog.LevelWarn, "ResourceExhausted") })
}

// Trap 18: a client that is not killed after a crash leaks; goleak in TestMain looks
// too, but only at the end.
func TestCrashesLeakNothing(t *testing.T) {
	cfg := config(t, "fake")
	cfg.Supervision.Crashes = 100
	s := start(t, cfg)
	kill(t, s.process(0).PID)
	s.process(1)
	before := runtime.NumGoroutine()
	for i := 1; i < 5; i++ {
		kill(t, s.process(i).PID)
	}
	s.process(5)
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= before+2 })
}

// Trap 19: a go-plugin client cannot be started twice.
func TestPluginStartsAfterFailedStarts(t *testing.T) {
	t.Parallel()
	cfg := config(t, "fail-twice")
	cfg.Plugins["it"].Env["COUNTER"] = filepath.Join(t.TempDir(), "counter")
	s := start(t, cfg)
	if p := s.process(2); p.Restarts != 2 {
		t.Errorf("restarts = %d, want 2", p.Restarts)
	}
	s.mustDeliver()
}

// Trap 20: what is printed after the start goes to a stream that nobody reads.
func TestPrintedLinesReachTheLog(t *testing.T) {
	t.Parallel()
	s := start(t, config(t, "fake"))
	s.process(0)
	if _, err := s.publish("fake://print", "d"); err != nil {
		t.Fatal(err)
	}
	for text, level := range map[string]slog.Level{
		"printed to stdout": slog.LevelWarn, "printed to stderr": slog.LevelWarn, "logged by slog": slog.LevelError,
	} {
		eventually(t, text, func() bool { return s.log.has(level, text) })
	}
}

func TestFloodOfLogLinesIsCut(t *testing.T) {
	t.Parallel()
	s := start(t, config(t, "fake"))
	s.process(0)
	if _, err := s.publish("fake://flood", "d"); err != nil {
		t.Fatal(err)
	}
	s.stop()
	if n := strings.Count(s.log.String(), `"flood"`); n == 0 || n > 10_000 {
		t.Errorf("%d of 20000 lines logged", n)
	}
}

func TestPanicOfAPluginIsLoggedAsError(t *testing.T) {
	t.Parallel()
	s := start(t, config(t, "fake"))
	s.process(0)
	if _, err := s.publish("fake://crash", "d"); err == nil {
		t.Error("Publish() = nil although the process died")
	}
	s.process(1)
	if !s.log.has(slog.LevelError, "panic: in a goroutine of its own") {
		t.Error("the panic is not in the log")
	}
}
