package host_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/host"
)

func TestCrashLoopEndsInQuarantineAndTheNeighbourFeelsNothing(t *testing.T) {
	t.Parallel()
	f, cfg := inFolder(t)
	sick := installed(t, filepath.Dir(f.dir), "sick")
	sick.mode = "exit-well" // without a word
	sick.write()
	cfg.Plugins["sick"] = host.PluginConfig{TLS: "off"}
	cfg.Supervision.First, cfg.Supervision.Longest = time.Millisecond, 10*time.Millisecond
	cfg.Supervision.Probe = 300 * time.Millisecond
	s := start(t, cfg)
	s.process(0)
	if s.host.Plugin("sick") == nil {
		t.Fatal("there is no plugin sick")
	}
	sickness := func() host.Process {
		for _, p := range s.host.Processes() {
			if p.Name == "sick" {
				return p
			}
		}
		return host.Process{}
	}
	eventually(t, "sick is in quarantine", func() bool { return sickness().State == host.Quarantined })
	if p := sickness(); p.Restarts != 4 || !strings.Contains(p.Problem, "exited with status 0") {
		t.Errorf("sick in quarantine: %+v, want it after 5 ends", p)
	}
	s.mustDeliver()
	eventually(t, "it got another chance, and one only", func() bool { p := sickness(); return p.State == host.Quarantined && p.Restarts == 5 })
	if it := s.process(0); it.Restarts != 0 {
		t.Errorf("the neighbour was restarted %d times", it.Restarts)
	}
	sick.mode = "fake"
	sick.write()
	if err := s.host.Resume(t.Context(), "sick"); err != nil {
		t.Errorf("Resume() = %v", err)
	}
	if p := sickness(); p.State != host.Ready || p.Problem != "" {
		t.Errorf("after Resume() it is %+v", p)
	}
	if err := s.host.Resume(t.Context(), "sick"); err == nil || !strings.Contains(err.Error(), "is ready already") {
		t.Errorf("Resume() of what runs = %v", err)
	}
	if err := s.host.Reload(t.Context(), "nobody"); err == nil || !strings.Contains(err.Error(), "there are it, sick") {
		t.Errorf("Reload() of nobody = %v", err)
	}
}

func TestPluginOfAnotherContractIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	s := start(t, config(t, "old"))
	if p := s.state(host.Quarantined); !strings.Contains(p.Problem, "incompatible API version") {
		t.Errorf("problem %q", p.Problem)
	}
	if n := strings.Count(s.log.String(), "plugin is not running"); n != 1 {
		t.Errorf("it was started %d times", n)
	}
}

// TestUpgradeUnderLoadLosesNothingAndKeepsOrder replaces a plugin by its next version,
// and that by the first one, while lanes of deliveries go through it.
func TestUpgradeUnderLoadLosesNothingAndKeepsOrder(t *testing.T) {
	t.Parallel()
	f, cfg := inFolder(t)
	s := start(t, cfg)
	pids := []int{s.process(0).PID}
	out := filepath.Join(t.TempDir(), "out")
	const lanes = 8
	stop := make(chan struct{})
	var mu sync.Mutex
	var slowest time.Duration
	sent := make([]int, lanes)
	var all sync.WaitGroup
	for lane := range lanes {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					sent[lane] = n
					return
				default:
				}
				began := time.Now()
				s.insist(lane, n, out)
				mu.Lock()
				slowest = max(slowest, time.Since(began))
				mu.Unlock()
			}
		})
	}
	for _, version := range []string{"2.0.0", "1.0.0", "3.0.0"} {
		f.version = version
		f.write()
		if err := s.host.Reload(t.Context(), "it"); err != nil {
			t.Errorf("Reload() = %v", err)
		}
		p := s.process(0)
		if p.Version != version || slices.Contains(pids, p.PID) {
			t.Errorf("after the upgrade to %s it is %+v", version, p)
		}
		pids = append(pids, p.PID)
		eventually(t, "it gets what is to be delivered", func() bool {
			b, err := os.ReadFile(out)
			return err == nil && strings.HasSuffix(string(b), " "+version+"\n")
		})
	}
	close(stop)
	all.Wait()
	if slowest > 5*time.Second {
		t.Errorf("a delivery took %s", slowest)
	}
	checkLanes(t, out, sent, []string{"1.0.0", "2.0.0", "3.0.0"})
	for _, pid := range pids[:len(pids)-1] {
		eventually(t, "the old process is gone", func() bool { return gone(pid) })
	}
	if p := s.process(0); p.Restarts != 0 {
		t.Errorf("%d restarts", p.Restarts)
	}
}

// insist publishes the nth event of a lane until it is delivered, as publishers/lane
// would.
func (s *started) insist(lane, n int, out string) {
	d := deliveries(fmt.Sprint(n))
	d[0].Event.Subject = fmt.Sprint(lane)
	to := delivery.Destination{Subscription: fmt.Sprint("sub", lane), URI: "fake://write" + out}
	delivered := false
	for !delivered {
		err := s.it.Publish(context.Background(), to, d, func(o delivery.Outcome) {
			if delivered = o.Kind == delivery.Delivered; !delivered {
				s.t.Errorf("lane %d, event %d: %+v", lane, n, o)
			}
		})
		if err != nil {
			s.t.Errorf("lane %d, event %d: Publish() = %v; a reload has a gap", lane, n, err)
		}
		if s.t.Failed() {
			return
		}
	}
}

// checkLanes reads what a plugin wrote: all of each lane, in order, by all versions.
func checkLanes(t *testing.T, out string, sent []int, versions []string) {
	t.Helper()
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	next, seen := make([]int, len(sent)), map[string]int{}
	for line := range strings.Lines(string(b)) {
		w := strings.Fields(line)
		lane, err := strconv.Atoi(w[0])
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(w[1])
		if err != nil {
			t.Fatal(err)
		}
		if n != next[lane] {
			t.Errorf("lane %d: event %d came where %d was expected", lane, n, next[lane])
		}
		next[lane]++
		seen[w[2]]++
	}
	if !slices.Equal(next, sent) {
		t.Errorf("received %v, sent %v", next, sent)
	}
	for _, v := range versions {
		if seen[v] == 0 {
			t.Errorf("nothing was delivered by version %s: %v", v, seen)
		}
	}
	t.Logf("by version: %v", seen)
}

func TestReloadThatFailsLeavesWhatRuns(t *testing.T) {
	t.Parallel()
	f, cfg := inFolder(t)
	s := start(t, cfg)
	pid := s.process(0).PID
	f.version, f.mode = "2.0.0", "exit"
	f.write()
	if err := s.host.Reload(t.Context(), "it"); err == nil || !strings.Contains(err.Error(), "line 29 of its misery") {
		t.Errorf("Reload() = %v, want what it said", err)
	}
	p := s.process(0)
	if p.PID != pid || p.Version != "1.0.0" || !strings.Contains(p.Problem, "not reloaded: ") {
		t.Errorf("after the failed reload: %+v", p)
	}
	s.mustDeliver()
}

// Trap 26: a plugin is not used before it has its configuration.
func TestHalfInitialisedPluginGetsNoDelivery(t *testing.T) {
	t.Parallel()
	cfg := config(t, "fake")
	p := cfg.Plugins["it"]
	p.Config = map[string]any{"greeting": 5}
	cfg.Plugins["it"] = p
	s := start(t, cfg)
	s.refused("/greeting: must be ")
}

func TestOneDeadlyDeliveryIsFoundAmongManyAndRejected(t *testing.T) {
	t.Parallel()
	cfg := config(t, "fake")
	cfg.Supervision.First = 10 * time.Millisecond
	s := start(t, cfg)
	s.process(0)
	ids := make([]string, 100)
	for i := range ids {
		ids[i] = fmt.Sprint("d", i)
	}
	got := s.settle("fake://poison/d7", ids)
	for _, id := range ids {
		o := got[id]
		if id == "d7" {
			if o.Kind != delivery.Rejected || o.Code != "plugin_crash" {
				t.Errorf("the deadly one: %+v", o)
			}
		} else if o.Kind != delivery.Delivered {
			t.Errorf("%s: %+v", id, o)
		}
	}
	p := s.process(0)
	t.Logf("%d restarts", p.Restarts)
	if p.Restarts > 14 {
		t.Errorf("%d restarts for one deadly delivery among 100", p.Restarts)
	}
	if strings.Contains(s.log.String(), string(host.Quarantined)) {
		t.Error("it was in quarantine meanwhile")
	}
}

// TestDeliveryThatIsDeadlyForOneSubscriptionIsInnocentForAnother: both have the same
// change under the same id.
func TestDeliveryThatIsDeadlyForOneSubscriptionIsInnocentForAnother(t *testing.T) {
	t.Parallel()
	cfg := config(t, "fake")
	cfg.Supervision.First = 10 * time.Millisecond
	s := start(t, cfg)
	s.process(0)
	var got, other delivery.Outcome
	eventually(t, "both are settled", func() bool {
		for uri, o := range map[string]*delivery.Outcome{"fake://poison/d": &got, "fake://ok": &other} {
			if uri == "fake://poison/d" && o.Kind != delivery.Unknown {
				continue
			}
			*o = delivery.Outcome{}
			err := s.it.Publish(t.Context(), delivery.Destination{Subscription: "to " + uri, URI: uri}, deliveries("d"),
				func(a delivery.Outcome) { *o = a })
			if err != nil && !unavailable(err) {
				t.Fatal(err)
			}
			if uri == "fake://ok" && o.Kind == delivery.Rejected {
				t.Fatalf("the other subscription's delivery: %+v", o)
			}
		}
		return got.Kind != delivery.Unknown && other.Kind == delivery.Delivered
	})
	if got.Kind != delivery.Rejected || got.Code != "plugin_crash" {
		t.Errorf("the deadly one: %+v", got)
	}
	if p := s.process(0); p.Restarts > 10 {
		t.Errorf("%d restarts for one deadly delivery", p.Restarts)
	}
}

// settle offers deliveries until all are settled, as publishers/lane would.
func (s *started) settle(uri string, ids []string) map[string]delivery.Outcome {
	s.t.Helper()
	all := map[string]delivery.Outcome{}
	eventually(s.t, "all are settled", func() bool {
		var open []string
		for _, id := range ids {
			if _, ok := all[id]; !ok {
				open = append(open, id)
			}
		}
		if len(open) == 0 {
			return true
		}
		got, err := s.publish(uri, open...)
		if err != nil && !unavailable(err) {
			s.t.Fatalf("Publish() = %v, which counts as an attempt at all", err)
		}
		for id, o := range got {
			if _, twice := all[id]; twice {
				s.t.Errorf("%s is answered for twice", id)
			}
			all[id] = o
		}
		return false
	})
	return all
}

// TestPluginThatDiesOfEverythingRejectsNothing: it is broken, not the deliveries.
func TestPluginThatDiesOfEverythingRejectsNothing(t *testing.T) {
	t.Parallel()
	cfg := config(t, "fake")
	cfg.Supervision.First, cfg.Supervision.Longest = 10*time.Millisecond, 20*time.Millisecond
	cfg.Supervision.Probe = 100 * time.Millisecond
	s := start(t, cfg)
	s.process(0)
	eventually(t, "it has had three more chances", func() bool {
		got, err := s.publish("fake://deadly", "a", "b", "c")
		if len(got) > 0 || !unavailable(err) {
			t.Fatalf("Publish() = %v, %v", got, err)
		}
		return strings.Count(s.log.String(), `"state":"quarantined"`) > 3
	})
}

func TestRefusedBatchIsHalved(t *testing.T) {
	t.Parallel()
	s := start(t, config(t, "raw"))
	pid := s.process(0).PID
	ids := []string{"a", "b", "c", "bad", "d", "e", "f"}
	got := map[string]bool{}
	err := s.it.Publish(t.Context(), delivery.Destination{URI: "raw:picky"}, deliveries(ids...), func(o delivery.Outcome) {
		if got[o.ID] || o.Kind != delivery.Delivered {
			t.Errorf("outcome %+v", o)
		}
		got[o.ID] = true
	})
	if len(got) != len(ids)-1 || got["bad"] || err == nil || unavailable(err) {
		t.Errorf("Publish() acked %v, %v, want all but the bad one", got, err)
	}
	if p := s.process(0); p.PID != pid {
		t.Error("it was restarted")
	}
}

func TestBusyPluginIsNoAttempt(t *testing.T) {
	t.Parallel()
	s := start(t, config(t, "raw"))
	s.process(0)
	for uri, none := range map[string]bool{"raw:busy": true, "raw:never": false} {
		err := s.it.Publish(t.Context(), delivery.Destination{URI: uri}, deliveries("a", "b"), func(o delivery.Outcome) { t.Errorf("%+v", o) })
		if err == nil || unavailable(err) != none {
			t.Errorf("Publish(%s) = %v; that no attempt was made is %v", uri, err, none)
		}
	}
}

// Trap 27: what a plugin may keep by is a fingerprint of the whole destination.
func TestFingerprintChangesWithTheDestination(t *testing.T) {
	t.Parallel()
	base := delivery.Destination{Subscription: "s", URI: "u", Options: map[string]string{"a": "b"}, Secrets: map[string][]byte{"k": []byte("v")}}
	seen := map[string]bool{}
	for _, change := range []func(*delivery.Destination){
		func(*delivery.Destination) {},
		func(d *delivery.Destination) { d.Subscription = "s2" },
		func(d *delivery.Destination) { d.URI = "u2" },
		func(d *delivery.Destination) { d.Options = nil },
		func(d *delivery.Destination) { d.Options = map[string]string{"a": "c"} },
		func(d *delivery.Destination) {
			d.Options, d.Secrets = nil, map[string][]byte{"a": []byte("b"), "k": []byte("v")}
		},
		func(d *delivery.Destination) { d.Secrets = map[string][]byte{"k": []byte("w")} },
	} {
		d := base
		change(&d)
		m := host.Message(d)
		if seen[m.GetFingerprint()] || m.GetFingerprint() != host.Message(d).GetFingerprint() {
			t.Errorf("fingerprint of %+v is that of another, or changes", d)
		}
		seen[m.GetFingerprint()] = true
	}
}

func TestFloodOnStdoutStopsNothing(t *testing.T) {
	t.Parallel()
	s := start(t, config(t, "flood-stdout"))
	s.process(0)
	for range 50 {
		s.mustDeliver()
	}
	eventually(t, "the flood is cut", func() bool { return s.log.has(slog.LevelWarn, "plugin log lines dropped") })
	if p := s.process(0); p.Restarts != 0 {
		t.Errorf("%d restarts", p.Restarts)
	}
}
