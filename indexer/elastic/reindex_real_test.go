//go:build real

package elastic_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/elastic"
	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/storetest"
	"github.com/fresnel-search/fresnel/searchapi/query"
)

// changedTypes are the kit's types after their catalogue has changed: name is searched
// as a whole, a field is new, one is hidden.
func changedTypes() []*catalog.Type {
	types := storetest.Types()
	for i, f := range types[1].Fields {
		switch f.Name {
		case "name":
			types[1].Fields[i].Type = catalog.Keyword
		case "status":
			types[1].Fields[i].AdminOnly = true
		}
	}
	types[1].Fields = append(types[1].Fields, catalog.Field{Name: "host", Type: catalog.Keyword})
	return types
}

func serverRef(i int) resource.Ref {
	return resource.Ref{Type: storetest.Server, ID: fmt.Sprintf("s%05d", i)}
}

func serverDoc(i, size int) resource.Document {
	return storetest.Doc(serverRef(i), []resource.Principal{"*"}, map[string]string{
		"name": `"web front"`, "status": `"A"`, "size": fmt.Sprint(size), "host": `"h1"`,
		"networks": `[{"name":"a","version":4},{"name":"b","version":6}]`, "metadata": `{"a":"b"}`,
	})
}

// fill writes n documents.
func fill(t testing.TB, s *elastic.Store, n int) {
	t.Helper()
	for from := 0; from < n; from += 500 {
		var docs []resource.Document
		for i := from; i < min(n, from+500); i++ {
			docs = append(docs, serverDoc(i, 0))
		}
		out, err := s.Write(t.Context(), docs)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range out {
			if w.Err != nil {
				t.Fatal(w.Err)
			}
		}
	}
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// twoStores are two processes on one prefix: one with the catalogue from before its
// change, and one with the new one.
func twoStores(t testing.TB, cfg elastic.Config) (before, after *elastic.Store, _ elastic.Config) {
	t.Helper()
	cfg.Prefix = fmt.Sprintf("r%x", rand.Uint64())
	t.Cleanup(func() { dropAll(t, cfg) })
	open := func(types []*catalog.Type) *elastic.Store {
		s, err := elastic.Open(t.Context(), cfg, types, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	return open(storetest.Types()), open(changedTypes()), cfg
}

func reindexer(s *elastic.Store, wrap func(indexer.Rebuilder) indexer.Rebuilder) *indexer.Reindexer {
	var b indexer.Rebuilder = s
	if wrap != nil {
		b = wrap(s)
	}
	return indexer.NewReindexer(indexer.ReindexDeps{Indices: s, Rebuilder: b, Records: s, Owner: "test"})
}

// job waits until a type's reindex is as wanted.
func job(t *testing.T, r *indexer.Reindexer, want func(record.Reindex) bool) record.Reindex {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); ; {
		jobs, err := r.Jobs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(jobs, func(j record.Reindex) bool { return j.Type == storetest.Server })
		if at >= 0 && want(jobs[at]) {
			return jobs[at]
		}
		if time.Now().After(end) {
			t.Fatalf("the reindex stands still: %+v", jobs)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("the test ends")
		}
	}
}

func ended(j record.Reindex) bool { return !j.Open() }

// running runs a reindexer until the function returned is called.
func running(t *testing.T, r *indexer.Reindexer) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return func() { cancel(); wg.Wait() }
}

func serving(t *testing.T, s *elastic.Store) (x resource.Index, others []string) {
	t.Helper()
	list, err := s.Indices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range list {
		if i.Type == storetest.Server && i.State == resource.IndexServes {
			x = i
		} else if i.Type == storetest.Server {
			others = append(others, i.Name)
		}
	}
	return x, others
}

func found(t *testing.T, s *elastic.Store, n query.Node) int {
	t.Helper()
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	res, err := s.Search(t.Context(), query.Request{Types: []string{storetest.Server}, Query: n, Scope: &query.Scope{All: true, Hidden: true}})
	if err != nil || res.Partial != "" {
		t.Fatal(res.Partial, err)
	}
	return res.Total
}

// Searchlight's D12: events during a reindex were lost; D13: one that was written to
// the new index before the copy made everything roll back. And no search may fail.
func TestRealReindexUnderLoadLosesNothingD12D13(t *testing.T) {
	for _, shards := range []int{1, 3} {
		t.Run(fmt.Sprintf("shards=%d", shards), func(t *testing.T) {
			eachServer(t, func(t *testing.T, cfg elastic.Config) {
				if testing.Short() && (shards == 1) == (cfg.Flavor == layout.OpenSearch) {
					t.Skip("one number of shards for each kind of server will do; leave -short out for both")
				}
				cfg.Shards = shards
				before, after, _ := twoStores(t, cfg)
				const n = 3000
				fill(t, before, n)
				l, stop := startLoad(t, n, before, after)
				r := reindexer(after, nil)
				defer running(t, r)()
				plan, err := r.Request(t.Context(), indexer.ReindexRequest{Rate: 1500})
				if err != nil || len(plan) != 2 || len(plan[0].Why) != 0 || len(plan[1].Why) == 0 {
					t.Fatalf("Request = %+v, %v", plan, err)
				}
				done := job(t, r, ended)
				wrote := l.writes.Load()
				stop()
				l.check(after)
				l.check(before)
				t.Logf("%d writes, %d conflicts, %d refused; %d searches and gets; %d passes, writers paused %s; the longest write took %s",
					wrote, l.conflicts.Load(), l.paused.Load(), l.lookups.Load(), done.Pass, done.Paused, l.longest)
				if done.State != record.ReindexServed && done.State != record.ReindexDone {
					t.Fatalf("it ended as %+v", done)
				}
				if l.longest > 10*time.Second || done.Paused > 10*time.Second {
					t.Errorf("the longest write took %s, writers were paused for %s", l.longest, done.Paused)
				}
				live := 0
				for _, gone := range l.gone {
					if !gone {
						live++
					}
				}
				untouched := n
				for id := range l.acked {
					if id < serverRef(n).ID {
						untouched--
					}
				}
				if got := found(t, after, query.Term{Field: "name", Value: "web front"}); got != live+untouched {
					t.Errorf("by the new mapping %d documents are found, want %d", got, live+untouched)
				}
				job(t, r, func(j record.Reindex) bool { return j.State == record.ReindexDone })
				if x, others := serving(t, after); x.Generation != 2 || len(others) > 0 || len(x.Differences) > 0 {
					t.Errorf("what is left: %+v and %v", x, others)
				}
			})
		})
	}
}

// phases are the steps of a reindex, as it names them.
var phases = []string{
	"looking at", "making the new", "copying all", "making replicas", "copying what has changed", "the old index is blocked",
	"copying the rest", "comparing both", "handing over", "the new index serves",
}

// TestRealReindexChild is no test: it is the process that is killed.
func TestRealReindexChild(t *testing.T) {
	prefix, at := os.Getenv("REINDEX_PREFIX"), os.Getenv("REINDEX_KILL_AT")
	if prefix == "" {
		t.Skip("run by TestRealReindexSurvivesKill9")
	}
	cfg := elastic.DefaultConfig()
	cfg.Prefix, cfg.Addresses, cfg.Replicas = prefix, []string{os.Getenv("REINDEX_URL")}, 0
	cfg.Flavor = layout.Flavor(os.Getenv("REINDEX_FLAVOR"))
	s, err := elastic.Open(t.Context(), cfg, changedTypes(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	j := &record.Reindex{Type: storetest.Server, State: record.ReindexRuns, Requested: time.Now()}
	die := func(ctx context.Context) error {
		return errors.Join(syscall.Kill(os.Getpid(), syscall.SIGKILL), waitForever(ctx))
	}
	s.OnStep(func(j *record.Reindex) {
		if strings.Contains(j.Phase, at) {
			t.Error(die(t.Context()))
		}
	})
	err = s.Rebuild(t.Context(), j, func(ctx context.Context) error {
		if strings.Contains(j.Phase, at) && strings.HasSuffix(at, "serves") {
			return die(ctx)
		}
		rec, err := j.Record(record.Any)
		if err != nil {
			return err
		}
		_, err = s.Save(ctx, []record.Record{rec})
		return err
	})
	t.Fatalf("not killed at %q: %v", at, err)
}

func waitForever(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// killed runs a reindex in a process of its own, which dies at a phase, and returns the
// job that it left.
func killed(t *testing.T, cfg elastic.Config, s *elastic.Store, at string) *record.Reindex {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRealReindexChild$", "-test.v")
	cmd.Env = append(os.Environ(), "REINDEX_PREFIX="+cfg.Prefix, "REINDEX_KILL_AT="+at, "REINDEX_URL="+cfg.Addresses[0], "REINDEX_FLAVOR="+string(cfg.Flavor))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the process ended as %v: %s", err, out)
	}
	rec, err := s.Read(t.Context(), record.Reindexes, storetest.Server)
	if err != nil || rec.Version == 0 {
		t.Fatalf("no job is left: %v", err)
	}
	j, err := record.DecodeReindex(rec)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// changeOne writes a document, which must be possible.
func changeOne(t *testing.T, s *elastic.Store, i, size int) {
	t.Helper()
	for try := 0; ; try++ {
		docs, err := s.Load(t.Context(), []resource.Ref{serverRef(i)})
		if err != nil {
			t.Fatal(err)
		}
		docs[0].Fields["size"] = json.RawMessage(fmt.Sprint(size))
		out, err := s.Write(t.Context(), docs)
		if err != nil {
			t.Fatal(err)
		}
		if out[0].Err == nil {
			return
		}
		if try == 5 {
			t.Fatal(out[0].Err)
		}
	}
}

func TestRealReindexSurvivesKill9(t *testing.T) {
	eachServer(t, func(t *testing.T, cfg elastic.Config) {
		undone := []string{"making the new", "copying all", "the old index is blocked", "handing over", "the new index serves"}
		for n, at := range phases {
			if testing.Short() && cfg.Flavor == layout.OpenSearch && n%3 != 2 {
				continue // the steps are the same; it is the requests that may differ
			}
			t.Run(at+", gone on with", func(t *testing.T) {
				t.Parallel()
				before, after, cfg := twoStores(t, cfg)
				fill(t, before, 300)
				j := killed(t, cfg, after, at)
				if x, _ := serving(t, after); x.Trouble == "" {
					changeOne(t, before, 7, 77) // between the crash and the next owner
				}
				began := time.Now()
				if err := after.Rebuild(t.Context(), j, func(context.Context) error { return nil }); err != nil {
					t.Fatal(err)
				}
				changeOne(t, before, 8, 88)
				if got := found(t, after, query.Term{Field: "host", Value: "h1"}); got != 300 || !j.Served {
					t.Errorf("after %s %d of 300 documents are found, served %t", time.Since(began), got, j.Served)
				}
				if err := after.Clean(t.Context(), j); err != nil {
					t.Fatal(err)
				}
				if x, others := serving(t, after); x.Generation != 2 || x.Trouble != "" || len(others) > 0 {
					t.Errorf("what is left: %+v and %v", x, others)
				}
			})
			if !slices.Contains(undone, at) {
				continue
			}
			t.Run(at+", undone", func(t *testing.T) {
				t.Parallel()
				before, after, cfg := twoStores(t, cfg)
				fill(t, before, 300)
				j := killed(t, cfg, after, at)
				err := after.Undo(t.Context(), j)
				if strings.HasSuffix(at, "serves") {
					if !errors.Is(err, resource.ErrServing) {
						t.Errorf("Undo of what serves = %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				changeOne(t, before, 8, 88)
				if got := found(t, after, query.Term{Field: "locked", Value: true}); got != 0 {
					t.Errorf("found %d", got)
				}
				if x, others := serving(t, after); x.Generation != 1 || x.Trouble != "" || len(others) > 0 || x.Documents != 300 {
					t.Errorf("what is left: %+v and %v", x, others)
				}
				var aliases map[string]struct{ Aliases map[string]any }
				call(t, http.MethodGet, cfg.Addresses[0]+"/"+cfg.Prefix+"-test-server-000001/_alias", &aliases)
				if n := len(aliases[cfg.Prefix+"-test-server-000001"].Aliases); n != 2 {
					t.Errorf("%d aliases are left: %v", n, aliases)
				}
			})
		}
	})
}

// A process that was paused right before the swap must not swap when it wakes up.
func TestRealReindexOfAPausedOwnerComesToNothing(t *testing.T) {
	eachServer(t, func(t *testing.T, cfg elastic.Config) {
		before, after, _ := twoStores(t, cfg)
		fill(t, before, 300)
		first := &record.Reindex{Type: storetest.Server}
		second := &record.Reindex{}
		stopped := errors.New("stopped")
		after.OnStep(func(j *record.Reindex) {
			if j != first || !strings.Contains(j.Phase, "handing over") || second.Type != "" {
				return
			}
			// The first sleeps now, and the second takes over.
			*second = *first
			err := after.Rebuild(t.Context(), second, func(context.Context) error {
				if strings.Contains(second.Phase, "copying what has changed") {
					return stopped
				}
				return nil
			})
			if !errors.Is(err, stopped) {
				t.Errorf("the second's Rebuild = %v", err)
			}
			changeOne(t, before, 5, 55)
		})
		err := after.Rebuild(t.Context(), first, func(context.Context) error {
			if second.Type != "" {
				return record.ErrLeaseLost // which it finds out only now
			}
			return nil
		})
		if err == nil || first.Served {
			t.Errorf("the first's Rebuild = %v, served %t", err, first.Served)
		}
		if x, _ := serving(t, after); x.Generation != 1 {
			t.Errorf("generation %d serves", x.Generation)
		}
		if err := after.Rebuild(t.Context(), second, func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
		docs, err := after.Load(t.Context(), []resource.Ref{serverRef(5)})
		if err != nil || string(docs[0].Fields["size"]) != "55" {
			t.Errorf("what was written meanwhile is lost: %s, %v", docs[0].Fields["size"], err)
		}
	})
}
