package plugintest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// firstStart starts the plugin and asks what it is.
func firstStart(ctx context.Context, k *kit) (string, error) {
	p, err := k.alone(ctx, launch{})
	if err != nil {
		return "", err
	}
	defer k.end(p)
	if p.line.protocol != publisherv1.ProtocolVersion {
		return "", fmt.Errorf("it announces version %d of the contract, the host spoke of %d", p.line.protocol, publisherv1.ProtocolVersion)
	}
	info, err := k.ask(ctx, p)
	if err != nil {
		return "", err
	}
	k.info = info
	k.report.Plugin.Name, k.report.Plugin.Version = info.GetName(), info.GetVersion()
	return fmt.Sprintf("%s %s serves %s; handshake after %s", info.GetName(), info.GetVersion(),
		strings.Join(info.GetSchemes(), ", "), p.started.Round(time.Millisecond)), nil
}

// ask asks a process what it is.
func (k *kit) ask(ctx context.Context, p *process) (*publisherv1.GetInfoResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, k.patient(attempt))
	defer cancel()
	info, err := p.rpc.GetInfo(ctx, &publisherv1.GetInfoRequest{HostVersion: "kit"})
	if err != nil {
		return nil, fmt.Errorf("GetInfo: %w%s", err, p.output.last())
	}
	return info, nil
}

// withoutCookie starts the program as a curious user would.
func withoutCookie(ctx context.Context, k *kit) (string, error) {
	patience := k.patient(5 * time.Second)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, k.config.Path, k.config.Args...)
	cmd.Env, cmd.WaitDelay = append(hostEnv(), "HOME="+k.dir), time.Second
	for name, value := range k.config.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var said strings.Builder
	cmd.Stderr = &said
	printed, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("started without %s in its environment it still runs after %s", publisherv1.CookieKey, patience)
	case err == nil:
		return "", fmt.Errorf("started without %s in its environment it exits with status 0", publisherv1.CookieKey)
	case !errors.As(err, &exit):
		return "", err
	case len(printed) > 0:
		return "", fmt.Errorf("started without %s it writes to stdout: %q", publisherv1.CookieKey, clip(string(printed)))
	case exit.ExitCode() < 0:
		return "", fmt.Errorf("started without %s it dies of %s", publisherv1.CookieKey, exit.ProcessState)
	}
	return fmt.Sprintf("%s; it says %q", exit.ProcessState, clip(strings.TrimSpace(said.String()))), nil
}

func emptyEnvironment(ctx context.Context, k *kit) (string, error) {
	const within = 5 * time.Second
	p, err := k.alone(ctx, launch{env: []string{""}, within: within})
	if err != nil {
		return "", fmt.Errorf("with nothing but the handshake in its environment: %w", err)
	}
	defer k.end(p)
	if _, err := k.ask(ctx, p); err != nil {
		return "", fmt.Errorf("with nothing but the handshake in its environment: %w", err)
	}
	return fmt.Sprintf("ready after %s", time.Since(p.output.began).Round(time.Millisecond)), nil
}

func socketPlace(ctx context.Context, k *kit) (string, error) {
	p, err := k.bare(ctx)
	if err != nil {
		return "", err
	}
	if p.line.network != "unix" {
		return "", fmt.Errorf("it listens on %s %s, where every local user can reach it; want a unix socket in PLUGIN_UNIX_SOCKET_DIR",
			p.line.network, p.line.address)
	}
	if filepath.Dir(filepath.Clean(p.line.address)) != p.dir {
		return "", fmt.Errorf("its socket is %s, not in PLUGIN_UNIX_SOCKET_DIR=%s; hosts refuse that", p.line.address, p.dir)
	}
	return "its socket is " + filepath.Base(p.line.address), nil
}

func socketGone(ctx context.Context, k *kit) (string, error) {
	p, err := k.alone(ctx, launch{})
	if err != nil {
		return "", err
	}
	k.end(p)
	if p.line.network != "unix" {
		return "", skip("it listens on no unix socket")
	}
	if _, err := os.Stat(p.line.address); err == nil {
		return "", errors.New("its socket is still there after it was asked to exit")
	}
	return "the socket went with the process", nil
}

// strangers connects as other processes of the same user could.
func strangers(ctx context.Context, k *kit) (string, error) {
	if k.config.NoTLS {
		return "", skip("it is verified without TLS, so anyone who reaches its socket may call it")
	}
	p, err := k.bare(ctx)
	if err != nil {
		return "", err
	}
	other, err := newKeys()
	if err != nil {
		return "", err
	}
	for who, creds := range map[string]credentials.TransportCredentials{
		"without TLS":                insecure.NewCredentials(),
		"without a certificate":      credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}),
		"with a certificate of ours": credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{other.pair}}),
	} {
		if err := k.admitted(ctx, p, creds); err != nil {
			return "", fmt.Errorf("a client %s %w", strings.Replace(who, "of ours", "other than the host's", 1), err)
		}
	}
	_, err = k.ask(ctx, p)
	return "three kinds of strangers were refused, the host was answered", err
}

// admitted returns an error if a client with these credentials is answered.
func (k *kit) admitted(ctx context.Context, p *process, creds credentials.TransportCredentials) error {
	const patience = 5 * time.Second
	conn, err := grpc.NewClient(address(p.line), grpc.WithTransportCredentials(creds), grpc.WithNoProxy())
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := publisherv1.NewPublisherClient(conn).GetInfo(ctx, &publisherv1.GetInfoRequest{}); err == nil {
		return errors.New("is answered: require and verify the certificate in PLUGIN_CLIENT_CERT")
	}
	return nil
}

func health(ctx context.Context, k *kit) (string, error) {
	p, err := k.bare(ctx)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, k.patient(attempt))
	defer cancel()
	resp, err := healthv1.NewHealthClient(p.conn).Check(ctx, &healthv1.HealthCheckRequest{Service: "plugin"})
	if err != nil {
		return "", fmt.Errorf("service grpc.health.v1.Health, asked for \"plugin\": %w", err)
	}
	if resp.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		return "", fmt.Errorf("its health is %s, want SERVING", resp.GetStatus())
	}
	return "its health is SERVING", nil
}

// signals are what a process group or a service manager sends to all at once.
func signals(ctx context.Context, k *kit) (string, error) {
	const moment = 150 * time.Millisecond
	p, err := k.alone(ctx, launch{})
	if err != nil {
		return "", err
	}
	defer k.end(p)
	if _, err := k.ask(ctx, p); err != nil {
		return "", err
	}
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		if err := p.signal(s); err != nil {
			return "", err
		}
		if p.wait(moment) {
			return "", fmt.Errorf("signal %q ends it (%s) and so what it is delivering; it is to end when its host says so", s, p.cmd.ProcessState)
		}
	}
	if _, err := k.ask(ctx, p); err != nil {
		return "", fmt.Errorf("after the signals: %w", err)
	}
	return "it answers after three signals", nil
}

func otherUser(ctx context.Context, k *kit) (string, error) {
	if os.Geteuid() != 0 {
		return "", skip("only root can start it as another user: try sudo")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return "", skip("there is no user nobody")
	}
	uid, err1 := strconv.ParseUint(nobody.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(nobody.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	cwd := filepath.Join(k.dir, "read-only")
	const mode = 0o555
	if err := os.Mkdir(cwd, mode); err != nil {
		return "", err
	}
	p, err := k.alone(ctx, launch{user: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, cwd: cwd})
	if errors.Is(err, os.ErrPermission) {
		return "", skip("the user nobody may not run %s where it lies", k.config.Path)
	}
	if err != nil {
		return "", err
	}
	defer k.end(p)
	return k.works(ctx, p, "it delivered as user nobody")
}

// works configures a process and has it deliver, if the kit knows where to.
func (k *kit) works(ctx context.Context, p *process, evidence string) (string, error) {
	if err := k.configure(ctx, p); err != nil {
		return "", err
	}
	t, err := k.behaving(nil, "ok")
	if err != nil {
		return "", err
	}
	return evidence, k.deliversTo(ctx, p, t)
}

func twice(ctx context.Context, k *kit) (string, error) {
	defer k.drop() // the checks that follow want a process that is not configured
	first, err := k.bare(ctx)
	if err != nil {
		return "", err
	}
	second, err := k.spawn(ctx, launch{})
	if err != nil {
		return "", fmt.Errorf("while another one runs, as at every reload: %w", err)
	}
	defer k.end(second)
	for _, p := range []*process{second, first} {
		if evidence, err := k.works(ctx, p, "both delivered"); err != nil {
			return evidence, fmt.Errorf("while another one runs, as at every reload: %w", err)
		}
	}
	return "two at once delivered", nil
}

func protocols(ctx context.Context, k *kit) (string, error) {
	if k.config.Manifest == nil {
		return "", skip("there is no manifest: give the folder with plugin.yaml instead of the program")
	}
	for _, v := range k.config.Manifest.Protocols {
		p, err := k.alone(ctx, launch{protocols: []int{v}})
		if err != nil {
			return "", fmt.Errorf("for a host that speaks version %d only: %w", v, err)
		}
		k.end(p)
		if p.line.protocol != v {
			return "", fmt.Errorf("its manifest promises version %d of the contract, but to a host that speaks only that it announces %d",
				v, p.line.protocol)
		}
	}
	return fmt.Sprintf("it announced %v", k.config.Manifest.Protocols), nil
}
