package host_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/host"
)

func TestPublishHandsOutOutcomes(t *testing.T) {
	cfg := config(t, "fake")
	cfg.Plugins["it"] = func() host.PluginConfig {
		p := cfg.Plugins["it"]
		p.TLS, p.Config = "auto", map[string]any{"greeting": "hello"}
		return p
	}()
	cfg.Outbound.Allow = []string{"127.0.0.0/8"}
	s := start(t, cfg)
	p := s.process(0)
	if p.Version != "1.2.3" || p.PID == 0 || p.RSS == 0 {
		t.Errorf("process = %+v, want its version, pid and memory", p)
	}
	s.mustDeliver()
	t.Run("configuration and outbound reach the plugin", func(t *testing.T) {
		got, err := s.publish("fake://config", "d")
		want := delivery.Outcome{ID: "d", Kind: delivery.Rejected, Code: "rejected", Message: "hello 127.0.0.0/8"}
		if diff := cmp.Diff(want, got["d"]); diff != "" || err != nil {
			t.Error(err, diff)
		}
	})
	t.Run("a panic costs one attempt", func(t *testing.T) {
		got, err := s.publish("fake://panic", "d")
		if err != nil || got["d"].Kind != delivery.Retry || got["d"].Code != "panic" {
			t.Errorf("Publish() = %v, %v, want a retry", got, err)
		}
		s.mustDeliver()
	})
	t.Run("what is to come later has not failed", func(t *testing.T) {
		got, err := s.publish("fake://not-yet", "d")
		want := delivery.Outcome{ID: "d", Kind: delivery.Deferred, Code: "not_yet", Message: "as asked", After: time.Hour}
		if diff := cmp.Diff(want, got["d"]); diff != "" || err != nil {
			t.Error(err, diff)
		}
	})
	t.Run("many deliveries go in batches", func(t *testing.T) {
		var ids []string
		for i := range 1234 {
			ids = append(ids, fmt.Sprint(i))
		}
		got, err := s.publish("fake://ok", ids...)
		if err != nil || len(got) != len(ids) {
			t.Errorf("Publish() answered for %d of %d, %v", len(got), len(ids), err)
		}
	})
}

func TestHungAttemptIsAnsweredBeforeTheHostGivesUp(t *testing.T) {
	t.Parallel()
	cfg := config(t, "fake")
	cfg.AttemptTimeout = 2 * time.Second
	s := start(t, cfg)
	s.process(0)
	for _, uri := range []string{"fake://hang", "fake://deadlock"} {
		began := time.Now()
		got, err := s.publish(uri, "d")
		if err != nil || got["d"].Kind != delivery.Retry || got["d"].Code != "timeout" {
			t.Errorf("Publish(%s) = %v, %v, want a retry", uri, got, err)
		}
		if took := time.Since(began); took > cfg.AttemptTimeout+600*time.Millisecond {
			t.Errorf("Publish(%s) took %s", uri, took)
		}
	}
}

// TestAttemptMayHaveLittleTime: a subscription may set a time-out that is a fraction of
// the common one.
func TestAttemptMayHaveLittleTime(t *testing.T) {
	t.Parallel()
	s := start(t, config(t, "fake")) // 10 s for an attempt
	s.process(0)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	var got delivery.Outcome
	err := s.it.Publish(ctx, delivery.Destination{URI: "fake://ok"}, deliveries("d"), func(o delivery.Outcome) { got = o })
	if err != nil || got.Kind != delivery.Delivered {
		t.Errorf("Publish() = %+v, %v, want it delivered", got, err)
	}
}

func TestHungDestinationDelaysNoOther(t *testing.T) {
	t.Parallel()
	s := start(t, config(t, "fake"))
	s.process(0)
	ctx, cancel := context.WithCancel(context.Background())
	hung := make(chan error, 10)
	for range cap(hung) { // more than its share of batches
		go func() {
			hung <- s.it.Publish(ctx, delivery.Destination{Subscription: "dead", URI: "fake://hang"},
				deliveries("a", "b", "c"), func(delivery.Outcome) {})
		}()
	}
	for range 20 {
		began := time.Now()
		s.mustDeliver()
		if took := time.Since(began); took > time.Second {
			t.Errorf("a delivery beside a dead destination took %s", took)
		}
	}
	cancel()
	for range cap(hung) {
		if err := <-hung; err == nil {
			t.Error("a cancelled Publish returned nil")
		}
	}
}

func TestPublishBeforeReadyIsNoAttempt(t *testing.T) {
	s := start(t, config(t, "silent"))
	if got, err := s.publish("fake://ok", "d"); !unavailable(err) || len(got) > 0 {
		t.Errorf("Publish() = %v, %v, want ErrUnavailable", got, err)
	}
	s.stop()
	if _, err := s.publish("fake://ok", "d"); !unavailable(err) {
		t.Errorf("Publish() after the end = %v, want ErrUnavailable", err)
	}
}

func TestLostProcessKeepsAcksAlreadyGiven(t *testing.T) {
	t.Parallel()
	s := start(t, config(t, "fake"))
	pid := s.process(0).PID
	acks := map[string]bool{}
	err := s.it.Publish(t.Context(), delivery.Destination{Subscription: "sub", URI: "fake://exit-on/c"},
		deliveries("a", "b", "c"), func(o delivery.Outcome) {
			if acks[o.ID] = true; len(acks) == 2 {
				kill(t, pid)
			}
		})
	if !unavailable(err) {
		t.Errorf("Publish() = %v, want an error that says that the attempt does not count", err)
	}
	if diff := cmp.Diff(map[string]bool{"a": true, "b": true}, acks); diff != "" {
		t.Error(diff)
	}
	s.process(1)
	s.mustDeliver()
}

func TestAcksAreHandedOutOnceAndOnlyToWhoAsked(t *testing.T) {
	s := start(t, config(t, "raw"))
	s.process(0)
	var acks []string
	err := s.it.Publish(t.Context(), delivery.Destination{URI: "raw:"}, deliveries("a", "b"),
		func(o delivery.Outcome) { acks = append(acks, o.ID) })
	if diff := cmp.Diff([]string{"a"}, acks); diff != "" || err == nil {
		t.Errorf("acks %s, err %v, want one ack and an error for the other", diff, err)
	}
}

// Trap 17: a plugin takes 4 MiB in one message unless it says otherwise.
func TestBatchesStayWithinTheLimits(t *testing.T) {
	t.Parallel()
	s := start(t, config(t, "raw")) // a server with gRPC's own limit
	s.process(0)
	big := func(id string, size int) delivery.Delivery {
		return delivery.Delivery{ID: id, Event: delivery.Event{Data: bytes.Repeat([]byte("x"), size)}}
	}
	var ds []delivery.Delivery
	for i := range 80 {
		ds = append(ds, big(fmt.Sprint(i), 100<<10), big(fmt.Sprint("also", i), 1))
	}
	ds = append(ds, big("too big", 2<<20))
	got := map[string]delivery.Outcome{}
	err := s.it.Publish(t.Context(), delivery.Destination{URI: "raw:"}, ds, func(o delivery.Outcome) { got[o.ID] = o })
	// The raw plugin leaves out the last of each batch, which is how batches are seen.
	if missing := len(ds) - len(got); missing < 8 || missing > 16 {
		t.Errorf("%d batches, want about 8 of at most 1 MiB; %v", missing, err)
	}
	if o := got["too big"]; o.Kind != delivery.Rejected || o.Code != "too_large" {
		t.Errorf("outcome of what fits in no batch = %+v", o)
	}
}

func TestConfigNamesEveryProblem(t *testing.T) {
	cfg := host.DefaultConfig()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	cfg.AttemptTimeout, cfg.BatchesPerDestination = 0, 0
	cfg.Outbound.Allow = []string{"10.0.0.1"}
	cfg.PluginLimits = host.Limits{Memory: 1, Files: 1, Nice: -1}
	cfg.Plugins = map[string]host.PluginConfig{
		"Bad Name": {TLS: "maybe", Schemes: []string{"Http"}, Limits: host.Limits{Nice: 20}},
		"near":     {CAFile: "ca.pem"}, "far": {Address: "far", Path: "x"}, "open": {Address: "example.net:1", TLS: "off"},
	}
	err := cfg.Validate()
	for _, key := range []string{
		"attempt_timeout:", "batches_per_destination:", "outbound.allow[0]:",
		"plugin_limits.memory:", "plugin_limits.files:", "plugin_limits.nice:",
		"plugins.Bad Name:", "plugins.Bad Name.schemes:", "plugins.Bad Name.tls:", "plugins.Bad Name.limits.nice:",
		"plugins.near.address: required", "plugins.far.address: \"far\" is not", "plugins.far.address: a plugin that runs elsewhere",
		"plugins.far.ca_file: required", "plugins.open.tls: off is for plugins on this machine",
	} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("Validate() = %v, want %s in it", err, key)
		}
	}
}

// Trap 13.
func TestLongRunDirIsRefusedInWords(t *testing.T) {
	cfg := host.DefaultConfig()
	cfg.RunDir = "/" + strings.Repeat("x", host.MaxRunDir)
	if _, err := host.New(cfg, nil, nil); err == nil || !strings.Contains(err.Error(), "run_dir: ") {
		t.Errorf("New() = %v, want it to name run_dir", err)
	}
	cfg = config(t, "fake")
	parent, err := os.MkdirTemp("", "host") //nolint:usetesting // t.TempDir is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(parent); err != nil {
			t.Error(err)
		}
	})
	cfg.RunDir = parent + "/" + strings.Repeat("y", host.MaxRunDir-len(parent)-1)
	s := start(t, cfg)
	s.process(0)
	s.mustDeliver()
}

func TestUnknownPluginIsNil(t *testing.T) {
	h, err := host.New(host.DefaultConfig(), nil, nil)
	if err != nil || h.Plugin("nobody") != nil {
		t.Errorf("New() = %v, or it has a plugin nobody configured", err)
	}
	if ps := h.Processes(); len(ps) != 0 {
		t.Errorf("Processes() = %v", ps)
	}
}

func TestRefusedConfigurationIsSaid(t *testing.T) {
	t.Parallel()
	cfg := config(t, "fake")
	p := cfg.Plugins["it"]
	p.Config = map[string]any{"greetings": "x"}
	cfg.Plugins["it"] = p
	s := start(t, cfg)
	eventually(t, "the problem is named", func() bool {
		return s.log.has(slog.LevelWarn, "/greetings: is not a known key; known are greeting, outbound, token")
	})
}
