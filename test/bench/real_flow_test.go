//go:build real

package bench

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/fresnel-search/fresnel/test/harness"
)

const (
	rounds  = 2
	filled  = 100_000
	updated = 4_000
	times   = 10 // changes of each
)

// flow is a server's run through notifications that wait for it.
type flow struct {
	measured
	resident []memory
}

// memory is how much a process held when it had done so many: resident, and of that in
// use on its heap.
type memory struct {
	done        int
	bytes, heap int64
}

// done is how many mutations the server has handled, all its lives together.
func done(s *harness.Server) (int, error) {
	var books struct {
		Books map[string]account `json:"books"`
	}
	err := s.Get("/v1/admin/books", &books)
	return int(books.Books["indexer"].Input), err
}

// drain starts the server and measures until it has done n more than base.
func (l *lab) drain(s *harness.Server, base, n int) flow {
	l.Helper()
	var f flow
	s.Start()
	before := l.works()
	series := l.meter(s.PID(), n, func() (int, error) {
		sum, err := done(s)
		return sum - base, err
	}, func(p progress) {
		if len(f.resident) == 0 || p.done >= f.resident[len(f.resident)-1].done+n/100 {
			f.resident = append(f.resident, memory{p.done, rss(s.PID()), int64(metric(l.B, s, "go_memstats_heap_inuse_bytes"))})
		}
	})
	f.measured = sustained(series)
	f.engine = l.works().since(before, n)
	return f
}

// fresh empties the engines, appends the feed's notifications and prepares a server.
func (l *lab) fresh(f feed) *harness.Server {
	l.Helper()
	l.on.Reset(l.B)
	l.topic(source)
	l.append(f)
	return l.on.New(l.B, realConfig)
}

// fill is the first fill of an index: every notification makes a new document. The
// runs take turns, after one of each that warms the engines up.
func fill(l *lab, r *report) {
	f := feed{n: scaled(filled)}
	var through, bare, plain []measured
	parts := ""
	for round := range rounds + 1 {
		s := l.fresh(f)
		profile := l.profiled(s, fmt.Sprint("fill-", round))
		through = append(through, l.said("Fresnel fills", l.drain(s, 0, f.len()).measured))
		s.Stop()
		parts = stagesPer(l.perStage(profile), f.len())
		if round == 0 {
			l.learn()
		}
		bare = append(bare, l.said("bare indexer fills", l.bare(l.index("bare", l.same), l.documents, 1)))
		plain = append(plain, l.said("plain consumer fills", l.plainConsumer(l.index("plain", nil), fmt.Sprint("plain-", round), f.len())))
	}
	l.beside(r, "distinct resources of 1.5 KB", through[1:], bare[1:], plain[1:], "0.8, at least 0.7")
	r.note("CPU of Fresnel for each of them in the last run, µs: " + parts)
}

// said tells of a run as soon as it is over, so that one that is stopped told something.
func (l *lab) said(what string, m measured) measured {
	fmt.Fprintf(os.Stderr, "%s %.0f/s, CPU of each %s\n", what, m.rate, m.cost)
	return m
}

// profiled has the server's next run profiled, and returns where: in the folder that
// BENCH_PROFILES names, if there is one, and it stays there.
func (l *lab) profiled(s *harness.Server, name string) string {
	l.Helper()
	file := filepath.Join(cmp.Or(os.Getenv("BENCH_PROFILES"), l.TempDir()), name+".cpu.prof")
	s.Flags = []string{"--cpu-profile", file}
	return file
}

// beside adds the two rows of a flow.
func (l *lab) beside(r *report, what string, through, bare, plain []measured, goal string) {
	a, b, c := middle(through), middle(bare), middle(plain)
	for _, run := range []struct {
		who string
		measured
	}{{"Fresnel", a}, {"the bare indexer", b}, {"the plain consumer", c}} {
		r.note(fmt.Sprintf("Elasticsearch for %s, %s: %s", run.who, what, run.engine))
	}
	r.rate(fmt.Sprintf("Kafka to Elasticsearch, %s (CPU each: Fresnel %s)", what, a.cost), a.rate, b.rate,
		fmt.Sprintf("bare esutil.BulkIndexer, %d workers, the same documents (%d bytes) from memory (client %s)",
			runtime.NumCPU(), meanSize(l.documents), b.cost), goal)
	r.rate("... beside a plain consumer", a.rate, c.rate,
		fmt.Sprintf("kafka-go group, encoding/json, payload with dynamic mapping (client %s)", c.cost), "1.0")
}

// middle is the run of median rate.
func middle(runs []measured) measured {
	rates := make([]float64, len(runs))
	for i, m := range runs {
		rates[i] = m.rate
	}
	for _, m := range runs {
		if m.rate == median(rates) {
			return m
		}
	}
	return runs[0]
}

// updates has each of some resources change ten times, after they are there.
func updates(l *lab, r *report) {
	creates, changes := feed{n: scaled(updated)}, feed{n: scaled(updated), updates: times}
	parts := ""
	var through, bare, plain []measured
	for round := range rounds {
		s := l.fresh(creates)
		l.drain(s, 0, creates.len())
		s.Stop()
		if round == 0 {
			l.learn()
		}
		l.topic(source)
		l.append(changes)
		profile := l.profiled(s, fmt.Sprint("updates-", round))
		through = append(through, l.said("Fresnel updates", l.drain(s, creates.len(), changes.len()).measured))
		s.Stop()
		parts = stagesPer(l.perStage(profile), changes.len())
		index := l.index("bare", l.same)
		l.bare(index, l.documents, 1)
		bare = append(bare, l.said("bare indexer updates", l.bare(index, l.documents, times)))
		index = l.index("plain", nil)
		group := fmt.Sprint("plain-updates-", round)
		all := creates.len() + changes.len()
		plain = append(plain, l.said("plain consumer updates", l.plainConsumer(index, group, all)))
	}
	l.beside(r, "updates of existing resources", through, bare, plain, "0.8, at least 0.7")
	r.note("CPU of Fresnel for each change in the last run, µs: " + parts)
}
