package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/fresnel-search/fresnel/plugins/manifest"
	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/host"
)

// runOptions are the flags of plugins run.
type runOptions struct {
	to, data, config string
	options, secrets map[string]string
	allow            []string
	count            int
	noTLS            bool
	out, errs        io.Writer
}

func pluginsRunCommand(out, errs io.Writer) *cobra.Command {
	o := runOptions{out: out, errs: errs}
	cmd := &cobra.Command{
		Use:   "run PLUGIN [-- ARG...]",
		Short: "Run a plugin as a server would, and hand it deliveries to try it out",
		Long: `Runs a publisher plugin, a program or a folder with a plugin.yaml, as a server does:
with its limits, its clean environment and its supervision. What the plugin logs is
printed. With --to it is handed one delivery, or --count, to that destination, and what
came of each is printed; the exit code is 1 if not all were delivered. Without --to the
plugin runs until it is interrupted.`,
		Example: `  fresnel plugins run ./sms --to sms:+4915112345678 --option sender=me
  fresnel plugins run ./ntfy --to http://127.0.0.1:8080/topic --allow 127.0.0.0/8 --data event.json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0], args[1:]) },
	}
	fs := cmd.Flags()
	fs.StringVar(&o.to, "to", "", "`URI` of a destination to deliver to")
	fs.StringVar(&o.data, "data", "", "`file` with the body of the event, - for standard input; a sample if not given")
	fs.IntVar(&o.count, "count", 1, "how many deliveries to make")
	fs.StringToStringVar(&o.options, "option", nil, "option of the destination, as `name=value`; may be repeated")
	fs.StringToStringVar(&o.secrets, "secret-file", nil, "file with a secret of the destination, as `name=path`; may be repeated")
	fs.StringVar(&o.config, "config", "", "YAML or JSON `file` with the plugin's configuration")
	fs.StringSliceVar(&o.allow, "allow", nil, "`network` that may be reached although it is not public; may be repeated")
	fs.BoolVar(&o.noTLS, "no-tls", false, "do without TLS, for gRPC libraries that cannot verify P-521 certificates")
	return cmd
}

func (o *runOptions) run(ctx context.Context, path string, args []string) error {
	name, err := pluginName(path)
	if err != nil {
		return err
	}
	if path, err = filepath.Abs(path); err != nil { // or another one might be found in PATH
		return err
	}
	p := host.PluginConfig{Path: path, Args: args, TLS: "auto"}
	if o.noTLS {
		p.TLS = "off"
	}
	if o.config != "" {
		b, err := os.ReadFile(o.config)
		if err != nil {
			return err
		}
		if err := yaml.Unmarshal(b, &p.Config); err != nil {
			return fmt.Errorf("%s: %w", o.config, err)
		}
	}
	to, event, err := o.delivery(name)
	if err != nil {
		return err
	}
	cfg := host.DefaultConfig()
	cfg.Outbound.Allow = o.allow
	cfg.Plugins = map[string]host.PluginConfig{name: p}
	log := slog.New(slog.NewTextHandler(o.errs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return hosted(ctx, cfg, log, func(h *host.Host, p *host.Plugin) error {
		if o.to == "" {
			<-ctx.Done()
			return nil
		}
		for _, err := range h.CheckDestination(name, to) {
			fmt.Fprintln(o.errs, "fresnel: the destination:", err)
		}
		return o.publish(ctx, p, to, event)
	})
}

// publish makes the deliveries and prints what came of them.
func (o *runOptions) publish(ctx context.Context, p *host.Plugin, to delivery.Destination, event delivery.Event) error {
	ds := make([]delivery.Delivery, o.count)
	for i := range ds {
		e := event
		e.ID = uuid.NewString()
		ds[i] = delivery.Delivery{ID: e.ID, Attempt: 1, Event: e}
	}
	delivered, began := 0, time.Now()
	err := p.Publish(ctx, to, ds, func(a delivery.Outcome) {
		if a.Kind == delivery.Delivered {
			delivered++
		}
		fmt.Fprintln(o.out, a.ID, outcomeText(a))
	})
	fmt.Fprintf(o.errs, "fresnel: %d of %d delivered in %s\n", delivered, len(ds), time.Since(began).Round(time.Millisecond))
	if err == nil && delivered < len(ds) {
		err = errors.New("not all were delivered")
	}
	return err
}

func outcomeText(o delivery.Outcome) string {
	took := o.Took.Round(time.Microsecond)
	switch o.Kind {
	case delivery.Delivered:
		return strings.TrimSpace(fmt.Sprintf("delivered in %s %s", took, o.RemoteID))
	case delivery.Retry:
		after := ""
		if o.After > 0 {
			after = fmt.Sprintf(", not before %s", o.After)
		}
		return fmt.Sprintf("to be tried again (%s)%s: %s", o.Code, after, o.Message)
	case delivery.Deferred:
		return fmt.Sprintf("to be sent after %s (%s): %s", o.After, o.Code, o.Message)
	case delivery.Rejected:
		return fmt.Sprintf("rejected (%s): %s", o.Code, o.Message)
	default:
		return "no answer"
	}
}

// sample is a change as subscribers get it.
const sample = `{"type":"OS::Nova::Server","id":"d2b1f8f0-6d4e-4c59-9a63-1f0d7a7f8c11","action":"updated","revision":2,` +
	`"resource":{"name":"web-1","status":"ACTIVE"}}`

// delivery is what the flags say.
func (o *runOptions) delivery(name string) (delivery.Destination, delivery.Event, error) {
	to := delivery.Destination{Subscription: "plugins-run", URI: o.to, Options: o.options, Secrets: map[string][]byte{}}
	for _, key := range slices.Sorted(maps.Keys(o.secrets)) {
		b, err := os.ReadFile(o.secrets[key])
		if err != nil {
			return to, delivery.Event{}, err
		}
		to.Secrets[key] = []byte(strings.TrimSpace(string(b)))
	}
	data := []byte(sample)
	var err error
	switch o.data {
	case "":
	case "-":
		data, err = io.ReadAll(os.Stdin)
	default:
		data, err = os.ReadFile(o.data)
	}
	if o.count < 1 {
		err = errors.Join(err, errors.New("--count: must be at least 1"))
	}
	return to, delivery.Event{
		Type: "org.fresnel.resource.updated", Source: "/fresnel/plugins/run/" + name, Subject: "OS::Nova::Server/d2b1f8f0-6d4e-4c59-9a63-1f0d7a7f8c11",
		Time: time.Now().UTC(), ContentType: "application/json", Data: data,
	}, err
}

// pluginName is the name that a plugin has, or for a program one made of its file's.
func pluginName(path string) (string, error) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		m, err := manifest.Read(path)
		return m.Name, err
	}
	if err != nil {
		return "", err
	}
	name := regexp.MustCompile(`[^a-z0-9-]+`).ReplaceAllString(strings.ToLower(filepath.Base(path)), "-")
	const longest = 60
	return "p" + strings.Trim(name[:min(len(name), longest)], "-"), nil
}

// hosted runs one plugin until do, which is called when it is ready, has returned.
func hosted(ctx context.Context, cfg host.Config, log *slog.Logger, do func(*host.Host, *host.Plugin) error) error {
	h, err := host.New(cfg, log, nil)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- h.Run(running) }()
	p := h.Plugin(h.Processes()[0].Name)
	err = becomeReady(ctx, h)
	if err == nil {
		err = do(h, p)
	}
	stop()
	return errors.Join(err, <-ended)
}

// becomeReady waits until the one plugin of a host is ready, or says why it is not.
func becomeReady(ctx context.Context, h *host.Host) error {
	const pause = 10 * time.Millisecond
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		switch p := h.Processes()[0]; p.State {
		case host.Ready:
			return nil
		case host.Backoff, host.Quarantined:
			return errors.New(p.Problem)
		default:
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// manifestOf starts a program, asks it what it is, and returns a manifest with the
// program as the entry of this platform.
func manifestOf(ctx context.Context, path string, errs io.Writer) (manifest.Manifest, error) {
	name, err := pluginName(path)
	if err != nil {
		return manifest.Manifest{}, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return manifest.Manifest{}, err
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return manifest.Manifest{}, err
	}
	cfg := host.DefaultConfig()
	cfg.Plugins = map[string]host.PluginConfig{name: {Path: path}}
	cfg.AskOnly = true
	var m manifest.Manifest
	log := slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: slog.LevelWarn}))
	err = hosted(ctx, cfg, log, func(h *host.Host, _ *host.Plugin) (err error) {
		m, err = h.Manifest(name)
		return err
	})
	sum := sha256.Sum256(program)
	m.Entry = map[string]manifest.Entry{
		runtime.GOOS + "/" + runtime.GOARCH: {Path: filepath.Base(path), SHA256: hex.EncodeToString(sum[:])},
	}
	return m, err
}
