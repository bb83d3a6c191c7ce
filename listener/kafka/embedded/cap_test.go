package embedded_test

import (
	"bufio"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/fresnel-search/fresnel/listener/kafka/embedded"
)

var long = flag.Bool("long", false, "run the long forms, as make soak does")

func diskUsage(t testing.TB, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return n
}

// fill sends until the broker refuses, and returns how many records it took.
func (p peer) fill(topic string, value []byte, most int) (took int, refusal error) {
	p.Helper()
	const batch = 100
	for took < most {
		if err := p.send(topic, value, batch, time.Now()); err != nil {
			return took, err
		}
		took += batch
	}
	return took, nil
}

func (p peer) isRefused(err error) {
	p.Helper()
	if !errors.Is(err, kafka.PolicyViolation) || !strings.Contains(err.Error(), "full") {
		p.Fatalf("at the cap: %v, want a refusal in words", err)
	}
}

// play holds the consumer while producers go on beyond the cap, then lets it go,
// and checks that nothing taken was lost, with the broker killed in between. The
// consumer turns each source record into a mutation before it commits.
func play(t *testing.T, cfg embedded.Config, total int) {
	t.Helper()
	limit := cfg.CapBytes + cfg.CapBytes/10
	addr, kill := spawn(t, cfg)
	p := dial(t, addr)
	p.mustCreate("notifications.info")
	p.mustCreate("fresnel.mutations")
	var sent, moved, done int
	for sent < total {
		n, refusal := p.fill("notifications.info", kilobyte, total-sent)
		sent += n
		if refusal == nil {
			break
		}
		p.isRefused(refusal)
		if used := diskUsage(t, cfg.Dir); used > limit {
			t.Fatalf("%d bytes on disk with the consumer held, want at most %d", used, limit)
		}
		kill()
		addr, kill = spawn(t, cfg)
		p = dial(t, addr)
		first, end := p.bounds("notifications.info")
		if first > int64(moved) || end != int64(sent) {
			t.Fatalf("after kill -9 log is %d..%d, want %d..%d", first, end, moved, sent)
		}
		for moved < sent { // the listener is let go: our own topics must have room
			n := min(100, sent-moved)
			p.mustSend("fresnel.mutations", kilobyte, n)
			moved += n
			p.commit("listener", "notifications.info", int64(moved))
			if moved%10_000 == 0 || moved < 10_000 && moved%1000 == 0 {
				if used := diskUsage(t, cfg.Dir); used > limit {
					t.Fatalf("%d bytes on disk with the indexer held, want at most %d", used, limit)
				}
			}
		}
		done = moved // and so is the indexer
		p.commit("indexer", "fresnel.mutations", int64(done))
		eventually(t, "producers are let in again", func() bool {
			n, err := p.fill("notifications.info", kilobyte, min(100, total-sent))
			sent += n
			return err == nil
		})
	}
	if _, end := p.bounds("notifications.info"); end != int64(sent) {
		t.Errorf("log ends at %d, want %d", end, sent)
	}
	if first, end := p.bounds("fresnel.mutations"); end != int64(moved) || first > int64(done) {
		t.Errorf("mutations are %d..%d, want ..%d", first, end, moved)
	}
	kill()
}

func TestNothingIsLostAtTheCap(t *testing.T) {
	t.Parallel()
	cfg, total := config(t.TempDir()), 10_000
	if *long {
		cfg.CapBytes, total = 128<<20, 1_000_000
	}
	play(t, cfg, total)
}

// spawn runs a broker in a process of its own. kill is kill -9.
func spawn(t testing.TB, cfg embedded.Config) (addr string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "EMBEDDED_TEST_CHILD="+cfg.Dir, "EMBEDDED_TEST_CAP="+strconv.FormatInt(cfg.CapBytes, 10))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := false
	kill = func() {
		if killed {
			return
		}
		killed = true
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) {
			t.Error(err)
		}
	}
	t.Cleanup(kill)
	addr, err = bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.HasPrefix(addr, "error") {
		t.Fatalf("child: %s %v", addr, err)
	}
	return strings.TrimSpace(addr), kill
}

// Many partitions each keep a last segment that nobody needs. That must not keep
// producers out for ever.
func TestConsumedRestsOfManyPartitionsDoNotBlockProducers(t *testing.T) {
	t.Parallel()
	cfg := config(t.TempDir())
	cfg.CapBytes = 1 << 20
	cfg.TrimInterval = 10 * time.Millisecond
	b := start(t, cfg)
	p := dial(t, b.Addr())
	const topics = 60 // of 16 KiB segments: more than the cap
	var names []string
	for i := range topics {
		names = append(names, "notifications."+string(rune('a'+i/26))+string(rune('a'+i%26)))
		p.mustCreate(names[i])
	}
	end := map[string]int64{}
	for range 3 {
		for _, n := range names {
			eventually(t, "let in", func() bool {
				err := p.send(n, kilobyte, 20, time.Now())
				if err == nil {
					end[n] += 20
				}
				return err == nil
			})
			p.commit("listener", n, end[n])
		}
	}
}

func TestSizedTopicKeepsToItsSizeAndItsFloor(t *testing.T) {
	t.Parallel()
	cfg := config(t.TempDir()) // an eighth of the cap is 512 KiB, a quarter 1 MiB
	b := start(t, cfg)
	p := dial(t, b.Addr())
	p.mustCreate("fresnel.changes")
	add := func(n int) {
		for range n / 20 {
			p.mustSend("fresnel.changes", kilobyte, 20)
		}
		trim(t, b)
	}
	add(400)
	if first, _ := p.bounds("fresnel.changes"); first != 0 {
		t.Errorf("400 kB: log starts at %d, want 0", first)
	}
	b.SetFloor("fresnel.changes", func(int) int64 { return 50 })
	add(400)
	if first, _ := p.bounds("fresnel.changes"); first > 50 {
		t.Errorf("800 kB: log starts at %d, above the floor of 50", first)
	}
	add(800)
	if first, end := p.bounds("fresnel.changes"); end-first > 1100 || end-first < 900 {
		t.Errorf("1.6 MB: log is %d..%d, want about a quarter of the cap whatever the floor", first, end)
	}
	b.SetFloor("fresnel.changes", func(int) int64 { return -1 })
	add(20)
	if first, end := p.bounds("fresnel.changes"); end-first > 600 || end-first < 400 {
		t.Errorf("without floor log is %d..%d, want about an eighth of the cap", first, end)
	}
}

func TestUnreadTopicsGiveWayUnderPressure(t *testing.T) {
	t.Parallel()
	b := start(t, config(t.TempDir()))
	p := dial(t, b.Addr())
	p.mustCreate("stray")
	if took, err := p.fill("stray", kilobyte, 20_000); err != nil {
		eventually(t, "let in", func() bool { _, err := p.fill("stray", kilobyte, 100); return err == nil })
		t.Logf("refused for a moment after %d records", took)
	}
}

func TestFullLogOpensFast(t *testing.T) {
	t.Parallel()
	cfg := config(t.TempDir())
	cfg.CapBytes = 32 << 20
	if *long {
		cfg.CapBytes = 512 << 20
	}
	cfg.Groups = []embedded.Reads{{Group: "listener", Topics: regexp.MustCompile(`^n`)}}
	b := start(t, cfg)
	p := dial(t, b.Addr())
	p.mustCreate("n")
	_, refusal := p.fill("n", kilobyte, 1_000_000)
	p.isRefused(refusal)
	cfg.Dir = copied(t, cfg.Dir)
	began := time.Now()
	start(t, cfg)
	took := time.Since(began)
	t.Logf("%d bytes opened in %s", diskUsage(t, cfg.Dir), took)
	if took > 5*time.Second { // a quiet machine takes a tenth of a second for each 100 MB
		t.Errorf("opened in %s", took)
	}
}
