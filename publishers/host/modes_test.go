package host_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fresnel-search/fresnel/plugins/publisherv1"
	"github.com/fresnel-search/fresnel/plugins/sdk"
	"github.com/fresnel-search/fresnel/publishers/host"
	"github.com/fresnel-search/fresnel/publishers/webhook"
)

// runMode is what the test binary does as a plugin; good ones do not return.
func runMode(mode string) int {
	switch mode {
	case "host":
		return runHost()
	case "silent":
		select {}
	case "exit":
		for i := range 30 {
			fmt.Fprintf(os.Stderr, "line %d of its misery\n", i)
		}
		return 3
	case "fail-twice":
		if n, err := os.ReadFile(os.Getenv("COUNTER")); err != nil || len(n) < 2 {
			must(os.WriteFile(os.Getenv("COUNTER"), append(n, 'x'), 0o600))
			return 1
		}
	case "evil-stderr":
		fmt.Fprintln(os.Stderr, strings.Join([]string{
			`{"@message":1}`, `{"@level":5}`, `{"@message":null}`, `{"@timestamp":12}`, `{"level":{},"msg":[]}`, `{`,
			`null`, "\x00\xff", strings.Repeat("x", 1<<20), `{"@level":"warn","@message":"the last of them"}`,
		}, "\n"))
	case "chatty-stdout":
		fmt.Println("Hello, I am a plugin!")
	case "long-stdout":
		stdout := os.Stdout
		go func() {
			for range 20 {
				say(stdout, strings.Repeat("x", 70_000))
			}
			say(os.NewFile(2, "stderr"), `{"level":"warn","msg":"wrote it all"}`)
		}()
	case "grandchild":
		for _, leaves := range []bool{true, false} {
			child := exec.Command("sleep", "60")
			child.Stderr, child.Stdout = os.Stderr, os.Stdout
			child.SysProcAttr = &syscall.SysProcAttr{Setsid: leaves}
			must(child.Start())
			name := map[bool]string{true: "escaped", false: "child"}[leaves]
			say(os.Stderr, fmt.Sprintf("%s=%d", name, child.Process.Pid))
		}
	case "webhook":
		webhook.Main("1.0.0")
		return 0
	case "exit-well":
		return 0
	case "flood-stdout":
		stdout := os.Stdout
		go func() {
			for {
				say(stdout, strings.Repeat("\x00garbage|", 100))
			}
		}()
	case "elsewhere":
		fmt.Println("1|1|tcp|192.0.2.1:443|grpc|")
		select {}
	case "long-misery":
		fmt.Fprintln(os.Stderr, strings.Repeat(strings.Repeat("misery ", 1000)+"\n", 30))
		return 3
	case "old":
		fmt.Println("1|7|unix|/nowhere|grpc|")
		select {}
	case "remote":
		os.Args = append([]string{"plugin"}, strings.Fields(os.Getenv("REMOTE_ARGS"))...)
	case "raw":
		serveRaw(&huge{})
	case "bare":
		serveBare(&huge{})
	}
	sdk.Main(fake())
	return 0
}

func say(f *os.File, line string) {
	_, err := f.WriteString(line + "\n")
	must(err)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

type fakeConfig struct {
	Outbound sdk.Outbound `json:"outbound,omitzero"`
	Greeting string       `json:"greeting,omitempty"`
	Token    sdk.Secret   `json:"token,omitzero"`
}

// fake does what the destination says.
func fake() sdk.Publisher[fakeConfig, struct{}] {
	return sdk.Publisher[fakeConfig, struct{}]{
		Name: cmp.Or(os.Getenv("TEST_NAME"), "fake"), Version: cmp.Or(os.Getenv("TEST_VERSION"), "1.2.3"), Schemes: []string{"fake"}, Publish: fakePublish,
	}
}

func fakePublish(ctx context.Context, c *fakeConfig, d *sdk.Destination[struct{}], ev *sdk.Event) error {
	verb, arg, _ := strings.Cut(strings.TrimPrefix(d.URI, "fake://"), "/")
	switch verb {
	case "ok":
		return nil
	case "config":
		return sdk.Reject(errors.New(c.Greeting + " " + strings.Join(c.Outbound.Allow, " ")))
	case "token":
		if string(c.Token.Reveal()) == arg {
			return nil
		}
		return errors.New("another token")
	case "not-yet":
		return sdk.NotYet(time.Hour, errors.New("as asked"))
	case "code":
		return &sdk.Failure{Code: arg, Final: true, Err: errors.New("as asked")}
	case "env":
		value, set := os.LookupEnv(arg)
		return sdk.Reject(fmt.Errorf("%q %v of %d", value, set, len(os.Environ())))
	case "print":
		fmt.Println("printed to stdout")
		fmt.Fprintln(os.Stderr, "printed to stderr")
		log := slog.Default()
		log.Error("logged by slog", "secret", d.Secrets["secret"])
		return nil
	case "flood":
		log := slog.Default()
		for i := range 20_000 {
			log.Info("flood", "i", i)
		}
		return nil
	case "exit-on":
		if ev.DeliveryID == arg {
			<-ctx.Done() // the test kills us
		}
		return nil
	case "slow":
		pause, err := time.ParseDuration(arg)
		must(err)
		select {
		case <-time.After(pause):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	case "hang":
		<-ctx.Done()
		return ctx.Err()
	case "deadlock":
		select {}
	case "panic":
		panic("at the delivery of " + ev.DeliveryID)
	case "poison": // of a batch, those ids are deadly
		if slices.Contains(strings.Split(arg, ","), ev.DeliveryID) {
			os.Exit(9)
		}
		return nil
	case "deadly":
		os.Exit(9)
	case "write": // one line for each event, with our version
		f, err := os.OpenFile("/"+arg, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
		must(err)
		say(f, ev.Subject+" "+ev.DeliveryID+" "+os.Getenv("TEST_VERSION"))
		return f.Close()
	case "eat": // memory
		var eaten [][]byte
		for range 2 << 10 {
			eaten = append(eaten, bytes.Repeat([]byte("x"), 1<<20))
		}
		return fmt.Errorf("%d MiB eaten", len(eaten))
	case "limits":
		return sdk.Reject(errors.New(limitsOfSelf()))
	case "crash":
		go panic("in a goroutine of its own")
		<-ctx.Done()
	}
	return errors.New("unknown verb")
}

// limitsOfSelf is what the kernel says that this process may use.
func limitsOfSelf() string {
	b, err := os.ReadFile("/proc/self/limits")
	must(err)
	var out []string
	for line := range strings.Lines(string(b)) {
		for _, name := range []string{"Max open files", "Max data size", "Max core file size"} {
			if rest, ok := strings.CutPrefix(line, name); ok {
				out = append(out, name+" "+strings.Fields(rest)[0])
			}
		}
	}
	st, err := os.ReadFile("/proc/self/stat")
	must(err)
	const nice = 16
	fields := strings.Fields(string(st)[strings.LastIndex(string(st), ")")+1:])
	return strings.Join(append(out, "nice "+fields[nice]), ", ")
}

// huge is a publisher by hand, without the SDK: no lifeline, no ignored signals, and
// an answer of 8 MiB to GetStatus once a file says so.
type huge struct {
	publisherv1.UnimplementedPublisherServer
	configured atomic.Int32
}

func (*huge) GetInfo(context.Context, *publisherv1.GetInfoRequest) (*publisherv1.GetInfoResponse, error) {
	return &publisherv1.GetInfoResponse{Name: "raw", Version: "0.1.0", Schemes: []string{"raw"}}, nil
}

func (h *huge) Configure(context.Context, *publisherv1.ConfigureRequest) (*publisherv1.ConfigureResponse, error) {
	h.configured.Add(1)
	return &publisherv1.ConfigureResponse{}, nil
}

func (*huge) GetStatus(context.Context, *publisherv1.GetStatusRequest) (*publisherv1.GetStatusResponse, error) {
	st := &publisherv1.GetStatusResponse{State: publisherv1.GetStatusResponse_STATE_OK}
	if _, err := os.Stat(os.Getenv("HUGE")); err == nil {
		st.Message = strings.Repeat("x", 8<<20)
	}
	if _, err := os.Stat(os.Getenv("FAILED")); err == nil {
		st.State = publisherv1.GetStatusResponse_STATE_FAILED
	}
	return st, nil
}

// Publish acks twice, acks strangers, and leaves out the last one; or it hangs, or
// refuses batches as a whole.
func (h *huge) Publish(req *publisherv1.PublishRequest, stream publisherv1.Publisher_PublishServer) error {
	ds := req.GetDeliveries()
	switch req.GetDestinations()[0].GetUri() {
	case "raw:never":
		return nil
	case "raw:all":
		results := make([]*publisherv1.DeliveryResult, len(ds))
		for i, d := range ds {
			results[i] = &publisherv1.DeliveryResult{DeliveryId: d.GetDeliveryId(), Outcome: &publisherv1.DeliveryResult_Delivered{}}
		}
		return stream.Send(&publisherv1.PublishResponse{Results: results})
	case "raw:forgetful":
		if h.configured.Load() < 2 {
			return status.Error(codes.FailedPrecondition, "not configured")
		}
		ds = append(ds, nil) // nobody is left out
	case "raw:busy":
		return status.Error(codes.ResourceExhausted, "too much")
	case "raw:picky":
		for _, d := range ds {
			if d.GetDeliveryId() == "bad" {
				return status.Error(codes.InvalidArgument, "there is something wrong with the batch")
			}
		}
		ds = append(ds, nil) // nobody is left out
	}
	if req.GetDestinations()[0].GetUri() == "raw:hang" {
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	ok := &publisherv1.DeliveryResult_Delivered{Delivered: &publisherv1.Delivered{}}
	results := []*publisherv1.DeliveryResult{{DeliveryId: "stranger", Outcome: ok}}
	for _, d := range ds[:len(ds)-1] {
		r := &publisherv1.DeliveryResult{DeliveryId: d.GetDeliveryId(), Outcome: ok}
		results = append(results, r, r)
	}
	return stream.Send(&publisherv1.PublishResponse{Results: results})
}

type rawPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	server publisherv1.PublisherServer
}

func (p rawPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	publisherv1.RegisterPublisherServer(s, p.server)
	return nil
}

func (rawPlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("not a host")
}

func serveRaw(server publisherv1.PublisherServer) {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			MagicCookieKey: publisherv1.CookieKey, MagicCookieValue: publisherv1.CookieValue,
		},
		VersionedPlugins: map[int]plugin.PluginSet{1: {publisherv1.PluginName: rawPlugin{server: server}}},
		GRPCServer:       plugin.DefaultGRPCServer,
	})
	os.Exit(0)
}

// serveBare serves without go-plugin: no health, no shutdown, no TLS.
func serveBare(server publisherv1.PublisherServer) {
	path := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "plugin-bare")
	l, err := net.Listen("unix", path)
	must(err)
	s := grpc.NewServer()
	publisherv1.RegisterPublisherServer(s, server)
	fmt.Println("1|1|unix|" + path + "|grpc|")
	must(s.Serve(l))
}

// runHost is a host in a process of its own, for tests that kill it. It prints the
// pid of its plugin.
func runHost() int {
	self, err := os.Executable()
	must(err)
	cfg := host.DefaultConfig()
	cfg.RunDir = os.Getenv("RUN_DIR")
	cfg.Plugins = map[string]host.PluginConfig{"it": {
		Path: self, Args: []string{"-test.run=^$"}, Env: map[string]string{modeKey: os.Getenv("INNER_MODE")}, TLS: "off",
	}}
	h, err := host.New(cfg, nil, nil)
	must(err)
	h.Plugin("it")
	go func() {
		for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
			if ps := h.Processes(); len(ps) == 1 && ps[0].State == host.Ready {
				fmt.Println(ps[0].PID)
				return
			}
		}
	}()
	must(h.Run(context.Background()))
	return 0
}
