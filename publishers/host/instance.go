package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fresnel-search/fresnel/plugins/client"
	"github.com/fresnel-search/fresnel/plugins/manifest"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// instance is one run of a plugin that is ready: a process of ours or a connection to
// a remote one.
type instance struct {
	publisher *client.Publisher
	manifest  manifest.Manifest // as the plugin answered
	limits    batchLimits
	config    []byte // what it was configured with
	pid       int    // 0 if it runs elsewhere
	progress  progress
	calls     calls
	ended     atomic.Bool // we ended it

	lost   <-chan struct{} // closed when it is gone
	why    func() error    // valid then
	kill   func()          // ends it at once; returns before it is gone
	stop   func()          // ends it whatever state it is in, and cleans up
	finish func(ctx context.Context, grace time.Duration) error
}

// batchLimits are what the plugin asked for, within what we allow.
type batchLimits struct{ deliveries, bytes, batches int }

func limitsOf(l *publisherv1.Limits) batchLimits {
	const deliveries, size, batches = 100, 1 << 20, 4
	const mostDeliveries, mostSize, mostBatches = 1000, 3 << 20, 64
	or := func(v uint32, otherwise, most int) int {
		if v == 0 {
			return otherwise
		}
		return min(int(v), most)
	}
	return batchLimits{
		deliveries: or(l.GetMaxBatchDeliveries(), deliveries, mostDeliveries),
		bytes:      or(l.GetMaxBatchBytes(), size, mostSize),
		batches:    or(l.GetMaxBatchesInFlight(), batches, mostBatches),
	}
}

// errFinal marks what no new start can mend: a person has to change something.
var errFinal = errors.New("not started again before something changes")

func final(err error) error { return fmt.Errorf("%w: %w", errFinal, err) }

// introduce asks the plugin what it is, which must be what is known of it, gives it
// its configuration, and asks whether it works. Only then is it ready.
func (i *instance) introduce(ctx context.Context, s source, cfg Config, configuring func()) error {
	info, err := i.publisher.Info(ctx, cfg.Version)
	if err != nil {
		return fmt.Errorf("ask the plugin what it is: %w", err)
	}
	if i.manifest, err = manifest.FromInfo(info); err != nil {
		return final(fmt.Errorf("the plugin's answer to GetInfo: %s", bounded(err.Error())))
	}
	if s.manifest.Name != "" {
		if err := s.manifest.Agrees(info); err != nil {
			return final(fmt.Errorf("it is not what its manifest says: %s", bounded(err.Error())))
		}
	} else if missing := missing(s.schemes, i.manifest.Schemes); missing != "" {
		return final(fmt.Errorf("it does not serve %s, as plugins.%s.schemes says, but %s", missing, s.name, strings.Join(i.manifest.Schemes, ", ")))
	}
	i.limits = limitsOf(info.GetLimits())
	if cfg.AskOnly {
		return nil
	}
	configuring()
	if i.config, err = s.configFor(i.manifest.ConfigSchema, cfg.Outbound); err != nil {
		return final(err)
	}
	if err := i.configure(ctx); err != nil {
		return err
	}
	return i.healthy(ctx, cfg.StartTimeout)
}

// bounded makes a plugin's text, or one that repeats it, fit for a line.
func bounded(s string) string {
	const longest = 4 << 10
	return strings.ToValidUTF8(strings.ReplaceAll(s[:min(len(s), longest)], "\n", "; "), "�")
}

func missing(wanted, there []string) string {
	for _, w := range wanted {
		found := false
		for _, t := range there {
			found = found || t == w
		}
		if !found {
			return w
		}
	}
	return ""
}

// configure gives the plugin its configuration, again if it has forgotten it.
func (i *instance) configure(ctx context.Context) error {
	_, err := i.publisher.Configure(ctx, i.config)
	switch {
	case err == nil:
		return nil
	case status.Code(err) == codes.Unknown: // no RPC error: the plugin's own objections
		return final(fmt.Errorf("configure the plugin: %s", bounded(err.Error())))
	default:
		return fmt.Errorf("configure the plugin: %w", err)
	}
}

// healthy asks for the plugin's status. go-plugin's own ping has no deadline and
// answers well while every handler hangs.
func (i *instance) healthy(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	st, err := i.publisher.Status(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("ask for the plugin's status: %w", err)
	case st.GetState() == publisherv1.GetStatusResponse_STATE_FAILED:
		return fmt.Errorf("%w: %s", errFailed, clip(st.GetMessage()))
	}
	return nil
}

// errFailed is a plugin's own word: it asks for a new start.
var errFailed = errors.New("plugin reports that it failed")

// gone reports whether it is lost.
func (i *instance) gone() bool {
	select {
	case <-i.lost:
		return true
	default:
		return false
	}
}

// retire lets what is under way finish, within grace, and ends the instance.
func (i *instance) retire(ctx context.Context, grace time.Duration) error {
	defer func() {
		i.ended.Store(true)
		i.stop()
	}()
	const margin = time.Second
	patient, cancel := context.WithTimeoutCause(ctx, grace, errors.New("stop_grace"))
	defer cancel()
	// What we have sent may not have arrived, and a plugin that drains would refuse it.
	if err := i.calls.drain(patient); err != nil {
		return err
	}
	ending, cancel := context.WithTimeout(ctx, margin)
	defer cancel()
	return i.finish(ending, margin)
}

// calls counts the batches that an instance has, so that it can be ended when there
// are none.
type calls struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // made by drain, closed when n is 0
}

func (c *calls) enter() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
}

func (c *calls) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n--; c.n == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
}

// drain waits until there are no calls; no new ones may come.
func (c *calls) drain(ctx context.Context) error {
	c.mu.Lock()
	if c.n > 0 && c.idle == nil {
		c.idle = make(chan struct{})
	}
	n, idle := c.n, c.idle
	c.mu.Unlock()
	if n == 0 {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%d batches did not end in time", n)
	}
}

// configFor is the plugin's configuration as JSON, with outbound if it knows that key
// and was not given its own, and with secrets read from their files.
func (s source) configFor(schema manifest.Schema, out Outbound) ([]byte, error) {
	config := map[string]any{}
	maps.Copy(config, s.config.Config)
	known := false
	for _, name := range schema.Properties() {
		known = known || name == "outbound"
		path, isRef := strings.CutPrefix(fmt.Sprint(config[name]), "file:")
		if !schema.Secret(name) || !isRef {
			continue
		}
		if !filepath.IsAbs(path) {
			return nil, fmt.Errorf("plugins.%s.config.%s: file: needs an absolute path", s.name, name)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("plugins.%s.config.%s: %w", s.name, name, err)
		}
		config[name] = strings.TrimSpace(string(b))
	}
	if _, given := config["outbound"]; known && !given {
		config["outbound"] = out
	}
	return json.Marshal(config)
}
