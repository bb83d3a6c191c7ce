package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// runner starts one process for go-plugin and owns its pipes. go-plugin's own command
// runner is not used: one line on stderr can crash it, a long line on stdout stops it,
// and a grandchild that holds stderr hides the plugin's exit.
type runner struct {
	argv   []string
	env    []string // before what go-plugin adds
	limits Limits
	cgroup *cgroup // or nil
	output *output

	mu     sync.Mutex
	pid    int    // 0 before the start and after the exit
	tmpDir string // the folder that go-plugin made for this process

	handshake *io.PipeReader // what go-plugin reads of stdout: one line
	announce  *io.PipeWriter
	exited    chan struct{} // closed when the process is gone
	over      chan struct{} // closed when nothing of it is left
	exit      error         // valid after exited
	begun     atomic.Bool   // Start was called
}

func newRunner(argv, env []string, l Limits, cg *cgroup, out *output) *runner {
	r := &runner{
		argv: argv, env: env, limits: l, cgroup: cg, output: out, exited: make(chan struct{}), over: make(chan struct{}),
	}
	r.handshake, r.announce = io.Pipe()
	return r
}

// prepare takes what go-plugin wants the process to have.
func (r *runner) prepare(env []string, tmpDir string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tmpDir = tmpDir
	r.env = append(r.env, env...)
	r.env = append(r.env, "TMPDIR="+tmpDir)
}

// pipes are the ends of a process's standard streams.
type pipes struct{ stdin, lifeline, stdout, stdoutW, stderr, stderrW *os.File }

func openPipes() (p pipes, err error) {
	for _, ends := range [][2]**os.File{
		{&p.stdin, &p.lifeline}, {&p.stdout, &p.stdoutW}, {&p.stderr, &p.stderrW},
	} {
		if *ends[0], *ends[1], err = os.Pipe(); err != nil {
			return p, errors.Join(err, closeAll(p.stdin, p.lifeline, p.stdout, p.stdoutW))
		}
	}
	return p, nil
}

// Start starts the process. The process lives on when ctx is done.
func (r *runner) Start(context.Context) error {
	r.begun.Store(true)
	p, err := openPipes()
	if err != nil {
		close(r.exited)
		close(r.over)
		return errors.Join(err, r.cgroup.remove())
	}
	started := make(chan error, 1)
	go r.live(p, started)
	return <-started
}

// live starts the process and waits for it on one OS thread, because the parent-death
// signal is bound to the thread that forks.
func (r *runner) live(p pipes, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(r.over)
	cmd := &exec.Cmd{
		Path: r.argv[0], Args: r.argv, Env: r.env, Dir: r.tmpDir,
		Stdin: p.stdin, Stdout: p.stdoutW, Stderr: p.stderrW, SysProcAttr: processAttributes(r.cgroup),
	}
	err := cmd.Start()
	if closing := closeAll(p.stdin, p.stdoutW, p.stderrW); err == nil && closing != nil {
		r.output.log.Warn("plugin pipe not closed", "err", closing)
	}
	if err != nil {
		r.exit = err
		close(r.exited)
		started <- errors.Join(err, r.announce.Close(), closeAll(p.lifeline, p.stdout, p.stderr), r.cgroup.remove())
		return
	}
	r.setPID(cmd.Process.Pid)
	started <- r.restrain()

	var readers sync.WaitGroup
	readers.Go(func() { r.output.readStdout(p.stdout, r.announce) })
	readers.Go(func() { r.output.readStderr(p.stderr) })
	err = cmd.Wait()
	r.killGroup() // children it left behind
	r.output.closed(r.cgroup.remove())
	r.setPID(0)
	r.exit = err
	close(r.exited)
	// What it wrote last is worth a moment; a stranger that holds the pipes is not.
	const moment = 200 * time.Millisecond
	cut := time.AfterFunc(moment, func() { r.output.closed(closeAll(p.stdout, p.stderr)) })
	readers.Wait()
	if cut.Stop() {
		r.output.closed(closeAll(p.stdout, p.stderr))
	}
	r.output.closed(closeAll(p.lifeline))
}

// restrain bounds what the process may use. It may have done a little already.
func (r *runner) restrain() error {
	err := restrain(r.processID(), r.limits)
	if err != nil {
		r.killGroup()
		return fmt.Errorf("limit what the plugin may use: %w", err)
	}
	return nil
}

func (r *runner) setPID(pid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pid = pid
}

func (r *runner) processID() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pid
}

// killGroup kills the process and its children; without a process it does nothing.
func (r *runner) killGroup() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pid == 0 {
		return
	}
	r.cgroup.kill() // also those that left the group
	if err := syscall.Kill(-r.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		r.output.log.Warn("plugin not killed", "err", err)
	}
}

// Wait waits for the process to exit.
func (r *runner) Wait(ctx context.Context) error {
	select {
	case <-r.exited:
		return r.exit
	case <-ctx.Done():
		return ctx.Err()
	}
}

// exitReason is how the process ended; valid after exited.
func (r *runner) exitReason() error {
	if r.exit == nil {
		return errors.New("plugin exited with status 0")
	}
	return fmt.Errorf("plugin exited: %w", r.exit)
}

// Kill kills the process and its children.
func (r *runner) Kill(context.Context) error {
	r.killGroup()
	return nil
}

// Stdout gives go-plugin the handshake line and then the end.
func (r *runner) Stdout() io.ReadCloser { return r.handshake }

// Stderr is empty: what the plugin says there is ours to read.
func (r *runner) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name returns the program's path.
func (r *runner) Name() string { return r.argv[0] }

// ID returns the process id. go-plugin takes an empty one for "nothing to clean up",
// so it is never empty.
func (r *runner) ID() string { return strconv.Itoa(r.processID()) }

// Diagnose says what is known about a process that did not announce itself.
func (r *runner) Diagnose(context.Context) string {
	const moment = time.Second
	select {
	case <-r.over:
		if r.exit != nil {
			return r.exit.Error()
		}
		return "it exited with status 0"
	case <-time.After(moment):
		return "it is still running"
	}
}

// PluginToHost takes the address of the handshake. A socket has to be in the folder
// made for it, a port on this machine, else the plugin could have us talk to somebody
// else.
func (r *runner) PluginToHost(network, address string) (hostNetwork, hostAddress string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if network == "unix" && filepath.Dir(filepath.Clean(address)) != filepath.Clean(r.tmpDir) {
		return "", "", fmt.Errorf("its socket %s is not in PLUGIN_UNIX_SOCKET_DIR", address)
	}
	if at, err := netip.ParseAddrPort(address); network != "unix" && (err != nil || !at.Addr().IsLoopback()) {
		return "", "", fmt.Errorf("its address %s is not a loopback one", address)
	}
	return network, address, nil
}

// HostToPlugin leaves addresses as they are.
func (*runner) HostToPlugin(network, address string) (pluginNetwork, pluginAddress string, err error) {
	return network, address, nil
}

// isHandshake recognises the line by which a plugin announces where it listens.
var isHandshake = regexp.MustCompile(`^\d+\|\d+\|(unix|tcp)\|`).Match

func closeAll(files ...*os.File) error {
	var errs []error
	for _, f := range files {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
