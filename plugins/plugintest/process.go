package plugintest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// process is one run of the plugin.
type process struct {
	cmd      *exec.Cmd
	dir      string // PLUGIN_UNIX_SOCKET_DIR and TMPDIR
	lifeline *os.File
	output   *output
	started  time.Duration // until the handshake
	ready    bool          // it has taken its configuration

	line   handshake
	keys   *keys // nil without TLS
	conn   *grpc.ClientConn
	rpc    publisherv1.PublisherClient
	exited chan struct{} // closed when the process is gone and its streams are read
}

// launch says how to start a process; the zero value is how the host does, and more
// generous with time.
type launch struct {
	env       []string // instead of the host's environment
	cwd       string
	user      *syscall.Credential
	protocols []int
	within    time.Duration
}

// hostEnv is what Fresnel's host gives a plugin besides the handshake. HOME is not
// among it: that it is needed shall fail the check that is about it, and no other.
func hostEnv() []string {
	env := []string{"GOMAXPROCS=2", "GOMEMLIMIT=48MiB", publisherv1.LogLevelKey + "=DEBUG"}
	for _, name := range []string{"PATH", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// spawn starts the plugin and connects to it.
func (k *kit) spawn(ctx context.Context, l launch) (*process, error) {
	const patience = 20 * time.Second
	if l.within == 0 {
		l.within = patience
	}
	l.within = k.patient(l.within)
	p, announced, err := k.fork(l)
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(l.within)
	defer timer.Stop()
	select {
	case p.line = <-announced:
		p.started = time.Since(p.output.began)
	case <-p.exited:
		select { // it may have spoken before it died
		case p.line = <-announced:
		default:
		}
		err = fmt.Errorf("it exited before the handshake: %s%s", p.cmd.ProcessState, p.output.last())
	case <-timer.C:
		err = fmt.Errorf("no handshake within %s%s", l.within, p.output.last())
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err == nil {
		err = p.line.err
	}
	if err == nil {
		p.conn, err = dial(p.line, p.keys)
	}
	if err != nil {
		k.end(p)
		return nil, err
	}
	p.rpc = publisherv1.NewPublisherClient(p.conn)
	go p.readStdio(ctx)
	return p, nil
}

// fork starts the process and reads its streams.
func (k *kit) fork(l launch) (*process, <-chan handshake, error) {
	p := &process{dir: filepath.Join(k.dir, strconv.FormatInt(k.serial.Add(1), 10)), exited: make(chan struct{})}
	const mode = 0o700
	if err := os.Mkdir(p.dir, mode); err != nil {
		return nil, nil, err
	}
	if l.user != nil {
		if err := errors.Join(os.Chown(p.dir, int(l.user.Uid), int(l.user.Gid)), os.Chmod(k.dir, 0o755)); err != nil {
			return nil, nil, err
		}
	}
	p.output = &output{canary: k.canary, began: time.Now()}
	p.cmd = &exec.Cmd{
		Path: k.config.Path, Args: append([]string{k.config.Path}, k.config.Args...), Env: k.environ(p, l), Dir: p.dir,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Credential: l.user},
	}
	if l.cwd != "" {
		p.cmd.Dir = l.cwd
	}
	announced, err := p.run()
	return p, announced, err
}

// environ is the environment of a process: what a host gives, with what the kit is
// configured to add, and the handshake.
func (k *kit) environ(p *process, l launch) []string {
	env := l.env
	if env == nil {
		env = append(hostEnv(), "HOME="+p.dir)
	}
	for name, value := range k.config.Env {
		env = append(env, name+"="+value)
	}
	if l.protocols == nil {
		l.protocols = []int{publisherv1.ProtocolVersion}
	}
	versions := make([]string, len(l.protocols))
	for i, v := range l.protocols {
		versions[i] = strconv.Itoa(v)
	}
	env = append(env,
		publisherv1.CookieKey+"="+publisherv1.CookieValue, "TMPDIR="+p.dir,
		"PLUGIN_MIN_PORT=0", "PLUGIN_MAX_PORT=0", "PLUGIN_PROTOCOL_VERSIONS="+strings.Join(versions, ","),
		"PLUGIN_UNIX_SOCKET_DIR="+p.dir)
	if !k.config.NoTLS {
		p.keys = k.keys
		env = append(env, "PLUGIN_CLIENT_CERT="+string(p.keys.pem))
	}
	return slices.DeleteFunc(env, func(v string) bool { return v == "" })
}

// run starts the program with pipes of ours.
func (p *process) run() (<-chan handshake, error) {
	stdin, lifeline, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdin, p.lifeline = stdin, lifeline
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start: %w", err), stdin.Close(), lifeline.Close())
	}
	if err := stdin.Close(); err != nil {
		return nil, err
	}
	announced := make(chan handshake, 1)
	read := make(chan struct{}, 2)
	go func() { p.output.readStdout(stdout, announced); read <- struct{}{} }()
	go func() { p.output.readStderr(stderr); read <- struct{}{} }()
	go p.reap(read, stdout, stderr)
	return announced, nil
}

// reap waits for the process itself, not for strangers that hold its streams.
func (p *process) reap(read <-chan struct{}, streams ...io.Closer) {
	defer close(p.exited)
	state, err := p.cmd.Process.Wait()
	quietly(err)
	p.cmd.ProcessState = state
	const moment = 500 * time.Millisecond
	late := time.After(moment)
	for range streams {
		select {
		case <-read:
		case <-late:
		}
	}
	for _, s := range streams {
		quietly(s.Close())
	}
}

// quietly is for errors of ending what is of no more use.
func quietly(error) {}

// wait reports whether the process ends within d.
func (p *process) wait(d time.Duration) bool {
	select {
	case <-p.exited:
		return true
	case <-time.After(d):
		return false
	}
}

func (p *process) signal(s syscall.Signal) error {
	return p.cmd.Process.Signal(s)
}

// shutdown asks the process to end, as go-plugin does.
func (p *process) shutdown(ctx context.Context) error {
	return p.conn.Invoke(ctx, "/plugin.GRPCController/Shutdown", &emptypb.Empty{}, &emptypb.Empty{})
}

// end ends a process, politely at first, and keeps what it said.
func (k *kit) end(p *process) {
	if p == nil {
		return
	}
	const patience = 2 * time.Second
	if p.conn != nil && !p.gone() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := p.shutdown(ctx); err == nil || !p.gone() {
			p.wait(patience)
		}
		cancel()
	}
	if !p.gone() {
		if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err == nil {
			<-p.exited
		}
	}
	if p.conn != nil {
		quietly(p.conn.Close())
	}
	quietly(p.lifeline.Close())
	k.seen.add(p.output)
	k.processes++
}

func (p *process) gone() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// ready returns the process that checks share, configured; a new one if there is none.
func (k *kit) ready(ctx context.Context) (*process, error) {
	p, err := k.bare(ctx)
	if err != nil {
		return nil, err
	}
	if p.ready {
		return p, nil
	}
	return p, k.configure(ctx, p)
}

// alone starts a process while no other runs: that two can is for P8 to say.
func (k *kit) alone(ctx context.Context, l launch) (*process, error) {
	k.drop()
	return k.spawn(ctx, l)
}

// bare returns the shared process as it is.
func (k *kit) bare(ctx context.Context) (*process, error) {
	if k.current != nil && !k.current.gone() {
		return k.current, nil
	}
	k.drop()
	var err error
	k.current, err = k.spawn(ctx, launch{})
	return k.current, err
}

// drop ends the shared process.
func (k *kit) drop() {
	k.end(k.current)
	k.current = nil
}

// died says that the shared process is gone, which no check wants of it.
func (k *kit) died() error {
	if k.current == nil || !k.current.gone() {
		return nil
	}
	p := k.current
	k.drop()
	return fmt.Errorf("the plugin has died: %s%s", p.cmd.ProcessState, p.output.last())
}

// readStdio takes what go-plugin's servers send of os.Stdout and os.Stderr.
func (p *process) readStdio(ctx context.Context) {
	stream, err := p.conn.NewStream(context.WithoutCancel(ctx), &grpc.StreamDesc{ServerStreams: true}, "/plugin.GRPCStdio/StreamStdio")
	if err != nil {
		return
	}
	if err := errors.Join(stream.SendMsg(&emptypb.Empty{}), stream.CloseSend()); err != nil {
		return
	}
	for {
		m := &emptypb.Empty{} // what was printed is among its unknown fields
		if err := stream.RecvMsg(m); err != nil {
			return
		}
		p.output.printed(m.ProtoReflect().GetUnknown())
	}
}

// eachLine calls f with each line, cut at 1 MiB.
func eachLine(r io.Reader, f func(line string)) {
	const longest = 1 << 20
	br := bufio.NewReaderSize(r, 64<<10)
	for {
		var line []byte
		for {
			part, err := br.ReadSlice('\n')
			if len(line) < longest {
				line = append(line, part...)
			}
			if errors.Is(err, bufio.ErrBufferFull) {
				continue
			}
			if len(line) > 0 {
				f(strings.TrimRight(string(line), "\r\n"))
			}
			if err != nil {
				return
			}
			break
		}
	}
}
