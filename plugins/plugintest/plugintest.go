// Package plugintest verifies publisher plugins: a list of checks, each of which
// starts the plugin as Fresnel's host does, puts it into a situation, and judges what
// it does. Authors call Run in a test of their own; `fresnel plugins verify` calls
// Verify. Both need nothing but the plugin's program.
//
// It measures no throughput and knows no language or SDK: what it sees is the process,
// its streams, the contract of plugins/publisherv1 and, for plugins that speak HTTP,
// an endpoint of its own that plays the receiver. Its invariant: a check that passes
// names the evidence for it, and what could not be tried is skipped with the reason,
// never passed.
package plugintest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/plugins/manifest"
	"github.com/fresnel-search/fresnel/plugins/publisherv1"
)

// Version is that of the list of checks: it grows when a check is added or becomes
// stricter.
const Version = "1"

// Config says what to verify.
type Config struct {
	// Path is the plugin's program. Args and Env are what the host's configuration of
	// the plugin would add.
	Path string
	Args []string
	Env  map[string]string
	// NoTLS starts the plugin without AutoMTLS, as `tls: off` does: for gRPC libraries
	// that cannot verify certificates on P-521.
	NoTLS bool
	// Fixtures are needed by plugins that do not serve http or https, or that need a
	// configuration.
	Fixtures Fixtures
	// Manifest is what the plugin is shipped with; nil if there is none yet.
	Manifest *manifest.Manifest
	// Only names the checks to make; empty means all.
	Only []string
	// MustOnly leaves out the checks of level SHOULD.
	MustOnly bool
	// Patience multiplies the time limits of all checks, for machines that are slow or
	// busy; 1 if it is less.
	Patience int
	// Each, if set, is told of each result as it comes.
	Each func(Result)
}

// Run makes every check as a subtest. One of level MUST that fails, fails the test;
// one of level SHOULD is logged.
func Run(t *testing.T, c Config) {
	t.Helper()
	k, err := open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.close)
	for _, ch := range k.checks() {
		t.Run(ch.id+" "+ch.title, func(t *testing.T) {
			switch r := k.make(t.Context(), ch); r.Status {
			case Failed:
				t.Error(r.Detail)
			case Warned:
				t.Log("warning:", r.Detail)
			case Skipped:
				t.Skip(r.Detail)
			case Passed:
				t.Log(r.Detail)
			}
		})
	}
}

// Verify makes every check and reports. The error says that there was nothing to
// verify; a plugin that fails is no error.
func Verify(ctx context.Context, c Config) (*Report, error) {
	k, err := open(c)
	if err != nil {
		return nil, err
	}
	defer k.close()
	r := k.report
	r.Started = time.Now().UTC()
	for _, ch := range k.checks() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		result := k.make(ctx, ch)
		r.Checks = append(r.Checks, result)
		if c.Each != nil {
			c.Each(result)
		}
	}
	r.Took = time.Since(r.Started)
	r.count()
	return r, nil
}

// kit is one verification.
type kit struct {
	config     Config
	endpoint   *endpoint
	dir        string // holds a folder for each process
	canary     canary
	keys       *keys                        // of the host
	info       *publisherv1.GetInfoResponse // of the first process that answered
	current    *process                     // the one that most checks share; nil if none runs
	broken     error                        // why the plugin does not start at all
	seen       output                       // of all processes that have ended
	processes  int                          // started so far
	configured bool                         // some process has taken its configuration
	refusals   bool                         // C3 passed, so that C6 can conclude from it
	serial     atomic.Int64
	report     *Report
}

func open(c Config) (*kit, error) {
	path, err := exec.LookPath(c.Path)
	if err != nil {
		return nil, fmt.Errorf("plugin: %w", err)
	}
	if c.Path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	for _, id := range c.Only {
		if !slices.ContainsFunc(all(), func(ch check) bool { return ch.id == id }) {
			return nil, fmt.Errorf("there is no check %q", id)
		}
	}
	sum, err := fileSum(c.Path)
	if err != nil {
		return nil, err
	}
	// Sockets have short names only, so neither test's nor user's folders will do.
	dir, err := os.MkdirTemp("", "kit")
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	keys, err := newKeys()
	if err != nil {
		return nil, err
	}
	return &kit{
		config: c, dir: dir, canary: newCanary(), keys: keys, endpoint: newEndpoint(),
		report: &Report{Kit: Version, Protocol: publisherv1.ProtocolVersion, Plugin: Plugin{Path: c.Path, SHA256: sum}},
	}, nil
}

func (k *kit) close() {
	k.drop()
	k.endpoint.close()
	if err := os.RemoveAll(k.dir); err != nil {
		return // a temporary folder that a plugin has made unremovable
	}
}

func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// checks are those that were asked for, in order.
func (k *kit) checks() (chosen []check) {
	for _, ch := range all() {
		wanted := len(k.config.Only) == 0 || slices.Contains(k.config.Only, ch.id)
		if wanted && (ch.level == Must || !k.config.MustOnly) {
			chosen = append(chosen, ch)
		}
	}
	return chosen
}

// errSkip marks the reasons for which a check cannot be made.
var errSkip = errors.New("skipped")

func skip(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errSkip, fmt.Sprintf(format, args...))
}

// make makes one check. A plugin that dies of it has failed it, and the next check
// gets a new process.
func (k *kit) make(ctx context.Context, ch check) Result {
	longest := k.patient(time.Minute)
	ctx, cancel := context.WithTimeoutCause(ctx, longest, fmt.Errorf("the check took longer than %s", longest))
	defer cancel()
	start := time.Now()
	r := Result{ID: ch.id, Level: ch.level, Title: ch.title}
	evidence, err := "", k.start(ctx, ch)
	if err == nil {
		evidence, err = ch.run(ctx, k)
	}
	if died := k.died(); died != nil && !errors.Is(err, errSkip) {
		err = errors.Join(err, died)
	}
	k.endpoint.release()
	r.Took = time.Since(start)
	switch {
	case err == nil && evidence == "":
		r.Status, r.Detail = Failed, "the check proved nothing, which is a mistake of the kit"
	case err == nil:
		r.Status, r.Detail = Passed, evidence
	case errors.Is(err, errSkip):
		r.Status, r.Detail = Skipped, strings.TrimPrefix(err.Error(), errSkip.Error()+": ")
	case ch.level == Should:
		r.Status, r.Detail = Warned, err.Error()
	default:
		r.Status, r.Detail = Failed, err.Error()
	}
	r.Detail = k.canary.redact(r.Detail)
	return r
}

// patient is a time limit on this machine.
func (k *kit) patient(d time.Duration) time.Duration {
	return d * time.Duration(max(k.config.Patience, 1))
}

// start sees to it, before the first check, that the plugin starts at all.
func (k *kit) start(ctx context.Context, ch check) error {
	if ch.id == startCheck {
		return nil
	}
	if k.info == nil && k.broken == nil {
		_, k.broken = firstStart(ctx, k)
	}
	if k.broken != nil {
		return skip("the plugin does not start, see %s", startCheck)
	}
	return nil
}
