//go:build real

package bench

import (
	"fmt"
	"path/filepath"
	"runtime"

	"github.com/fresnel-search/fresnel/test/harness"
)

const (
	rounds  = 3
	filled  = 40_000
	updated = 4_000
	times   = 10 // changes of each
)

// flow is a server's run through notifications that wait for it.
type flow struct {
	measured
	resident []memory
}

// memory is how much a process held when it had done so many.
type memory struct {
	done  int
	bytes int64
}

// done is how many mutations the server has handled, all its lives together.
func done(s *harness.Server) (int, error) {
	var books struct {
		Books map[string]account `json:"books"`
	}
	err := s.Get("/v1/admin/books", &books)
	return int(books.Books["indexer"].Input), err
}

// drain starts the server and measures until it has done n more than before.
func (l *lab) drain(s *harness.Server, before, n int) flow {
	l.Helper()
	var f flow
	s.Start()
	began := l.spending(s.PID())
	series := l.meter(n, func() (int, error) {
		sum, err := done(s)
		return sum - before, err
	}, func(p progress) {
		if len(f.resident) == 0 || p.done >= f.resident[len(f.resident)-1].done+n/100 {
			f.resident = append(f.resident, memory{p.done, rss(s.PID())})
		}
	})
	f.measured = measured{sustained(series), l.spending(s.PID()).since(began, n)}
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
		profile := l.profiled(s)
		through = append(through, l.drain(s, 0, f.len()).measured)
		s.Stop()
		parts = stagesPer(l.perStage(profile), f.len())
		if round == 0 {
			l.learn()
		}
		bare = append(bare, l.bare(l.index("bare", l.same), l.documents, 1))
		plain = append(plain, l.plainConsumer(l.index("plain", nil), fmt.Sprint("plain-", round), f.len()))
	}
	l.beside(r, "distinct resources of 1.5 KB", through[1:], bare[1:], plain[1:], "0.8, at least 0.7")
	r.note("CPU of Fresnel for each of them in the last run, µs: " + parts)
}

// profiled has the server's next run profiled, and returns where.
func (l *lab) profiled(s *harness.Server) string {
	l.Helper()
	file := filepath.Join(l.TempDir(), "cpu.prof")
	s.Flags = []string{"--cpu-profile", file}
	return file
}

// beside adds the two rows of a flow.
func (l *lab) beside(r *report, what string, through, bare, plain []measured, goal string) {
	a, b, c := middle(through), middle(bare), middle(plain)
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
		profile := l.profiled(s)
		through = append(through, l.drain(s, creates.len(), changes.len()).measured)
		s.Stop()
		parts = stagesPer(l.perStage(profile), changes.len())
		index := l.index("bare", l.same)
		l.bare(index, l.documents, 1)
		bare = append(bare, l.bare(index, l.documents, times))
		index = l.index("plain", nil)
		group := fmt.Sprint("plain-updates-", round)
		all := creates.len() + changes.len()
		plain = append(plain, l.plainConsumer(index, group, all))
	}
	l.beside(r, "updates of existing resources", through, bare, plain, "0.8, at least 0.7")
	r.note("CPU of Fresnel for each change in the last run, µs: " + parts)
}
