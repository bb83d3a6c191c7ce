//go:build real

package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/elastic/go-elasticsearch/v8"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fresnel-search/fresnel/test/harness"
)

// On real engines the servers are limits too: what they take of the machine counts
// for Fresnel and for the references alike.

// source is the topic that notifications come by, and partitions is how many it has.
const (
	source     = "notifications.info"
	partitions = 3
)

// long makes the backlog and the index a million instead of some hundred thousand.
func long() bool { return os.Getenv("BENCH_LONG") != "" }

// scaled is a number of documents, in the share that BENCH_SCALE says: with 0.1 all
// that is measured is a tenth as long, on a machine that is busy with something else.
func scaled(n int) int {
	share, err := strconv.ParseFloat(os.Getenv("BENCH_SCALE"), 64)
	if err != nil || share <= 0 {
		return n
	}
	return max(200, int(float64(n)*share))
}

// BenchmarkReal takes all figures, or those that the environment's BENCH names, and
// prints the table.
func BenchmarkReal(b *testing.B) {
	r := newReport("make bench-real")
	l := newLab(b)
	wanted := strings.FieldsFunc(os.Getenv("BENCH"), func(c rune) bool { return c == ',' })
	for _, part := range []struct {
		name    string
		measure func(*lab, *report)
	}{
		{"fill", fill},
		{"updates", updates},
		{"searchable", realSearchable},
		{"size", backlogs},
		{"search", searches},
	} {
		if len(wanted) > 0 && !slices.Contains(wanted, part.name) {
			continue
		}
		began := time.Now()
		part.measure(l, r)
		fmt.Fprintf(os.Stderr, "%s: %s\n", part.name, time.Since(began).Round(100*time.Millisecond))
		if b.Failed() {
			return
		}
	}
	b.ReportMetric(0, "ns/op") // of no meaning
	if err := r.print(os.Stdout); err != nil {
		b.Fatal(err)
	}
}

// lab is what the figures are taken on.
type lab struct {
	*testing.B
	on *harness.Engines
	es *elasticsearch.Client
	// http asks for answers as they are: compressed ones cost the server more than all
	// else, and Fresnel asks for none.
	http *http.Client
	// documents are as Fresnel stored them in the first run: what the bare bulk
	// indexer is fed with.
	documents []ready
	// same describes an index as the one they are in.
	same []byte
	// search and kafkaPID are the processes of the engines.
	searchPID, kafkaPID int
}

func newLab(b *testing.B) *lab {
	b.Helper()
	l := &lab{B: b, on: harness.Real(b), http: &http.Client{Transport: &http.Transport{DisableCompression: true}}}
	es, err := elasticsearch.NewClient(elasticsearch.Config{Addresses: []string{l.on.Search}})
	if err != nil {
		b.Fatal(err)
	}
	l.es = es
	at, err := url.Parse(l.on.Search)
	if err != nil {
		b.Fatal(err)
	}
	broker, _, _ := strings.Cut(l.on.Kafka, ",")
	l.searchPID, l.kafkaPID = listening(at.Host), listening(broker)
	return l
}

// realConfig is that of a server for production on one node. It has two full batches
// of each partition wait before the listener does: with fewer, batches stay small.
const realConfig = `
searchapi: {listen: SEARCH_ADDR, identity: {mode: none}}
listener: {throttle_above: 6000, kafka: {compression: lz4, batch_bytes: 4194304, session_timeout: 30s, heartbeat_interval: 1s}}
indexer: {store: elasticsearch, partitions: 3}
`

// kafka is a client of the brokers.
func (l *lab) kafka(opts ...kgo.Opt) *kgo.Client {
	l.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(l.on.Kafka, ",")...), kgo.MetadataMinAge(50 * time.Millisecond), kgo.UnknownTopicRetries(-1),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
	}, opts...)...)
	if err != nil {
		l.Fatal(err)
	}
	return cl
}

// topic makes an empty topic of three partitions. What is left of one of that name is
// dropped.
func (l *lab) topic(name string) {
	l.Helper()
	cl := l.kafka()
	defer cl.Close()
	until(l.B, 100*time.Millisecond, func() error {
		req := kmsg.NewPtrCreateTopicsRequest()
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
		req.Topics = append(req.Topics, t)
		resp, err := req.RequestWith(l.Context(), cl)
		if err != nil {
			return err
		}
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
		if errors.Is(err, kerr.TopicAlreadyExists) {
			return nil
		}
		return err
	})
}

// append appends the feed's notifications, as fast as it goes, evenly over the
// partitions, batches compressed by lz4.
func (l *lab) append(f feed) {
	l.Helper()
	cl := l.kafka(kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(20_000))
	defer cl.Close()
	var failed error
	for i := range f.len() {
		p, changed := f.at(i)
		cl.Produce(l.Context(), &kgo.Record{Topic: source, Value: p.notification(changed)}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed = err
			}
		})
	}
	if err := cl.Flush(l.Context()); err != nil || failed != nil {
		l.Fatal(errors.Join(err, failed))
	}
}

// spent is processor time by who took it.
type spent struct{ self, search, kafka time.Duration }

// spending is what a process, 0 for none, and the engines have taken so far.
func (l *lab) spending(pid int) spent {
	return spent{cpu(pid), cpu(l.searchPID), cpu(l.kafkaPID)}
}

// since is what was taken per document since before.
func (s spent) since(before spent, documents int) spent {
	n := time.Duration(max(1, documents))
	return spent{(s.self - before.self) / n, (s.search - before.search) / n, (s.kafka - before.kafka) / n}
}

// String tells it in microseconds.
func (s spent) String() string {
	return fmt.Sprintf("%d + Elasticsearch %d + Kafka %d µs", s.self.Microseconds(), s.search.Microseconds(), s.kafka.Microseconds())
}

// listening is the process on this machine that listens on an address; 0 if there
// is none.
func listening(addr string) int {
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		return 0
	}
	n, err := net.LookupPort("tcp", p)
	if err != nil {
		return 0
	}
	inode := ""
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) > 9 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", n)) && f[3] == "0A" {
				inode = f[9]
			}
		}
	}
	found, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil || inode == "" {
		return 0
	}
	for _, fd := range found {
		if to, err := os.Readlink(fd); err == nil && to == "socket:["+inode+"]" {
			pid := 0
			if _, err := fmt.Sscanf(fd, "/proc/%d/", &pid); err == nil {
				return pid
			}
		}
	}
	return 0
}

// progress is when how many were done, and what processor time had gone by then.
type progress struct {
	at   time.Time
	done int
	took spent
}

// meter asks every few milliseconds how many are done, until all are, and calls each
// with every answer. The time that a process takes, 0 for none, counts as its own.
func (l *lab) meter(pid, all int, done func() (int, error), each func(progress)) []progress {
	l.Helper()
	ctx, cancel := context.WithTimeoutCause(l.Context(), 20*time.Minute, errors.New("20 minutes are over"))
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var series []progress
	for ctx.Err() == nil {
		n, err := done()
		if err == nil {
			p := progress{time.Now(), n, l.spending(pid)}
			series = append(series, p)
			each(p)
			if n >= all {
				return series
			}
		}
		<-tick.C
	}
	l.Fatalf("%v: %d of %d", context.Cause(ctx), len(series), all)
	return nil
}

// sustained is how many were done a second, and what each took, between the first
// twentieth and the last: neither start nor the end, when some partitions are done,
// counts.
func sustained(series []progress) measured {
	all := series[len(series)-1].done
	first, last := series[0], series[0]
	for _, p := range series {
		if p.done <= all/20 {
			first = p
		}
		if p.done <= all-all/20 {
			last = p
		}
	}
	n := last.done - first.done
	return measured{rate: float64(n) / last.at.Sub(first.at).Seconds(), cost: last.took.since(first.took, n)}
}

// median of several rates.
func median(rates []float64) float64 {
	s := slices.Sorted(slices.Values(rates))
	return s[len(s)/2]
}
