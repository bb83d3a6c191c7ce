package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/cmd/fresnel/play"
	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/sqlite"
	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/test/harness"
)

const (
	ingestCopies  = 8
	documentCount = 10_000
)

// ingest plays the recorded mix, several clouds of it, and measures from the first
// record produced to the last one accounted for.
func ingest(b *testing.B, r *report) {
	recorded, err := play.Load("../day", "../notifications")
	if err != nil {
		b.Fatal(err)
	}
	n := len(recorded) * ingestCopies
	s := harness.New(b, plain).Start()
	warm := warmTopics(b, s, recorded)
	idle := rss(s.PID())
	before := cpu(s.PID())
	out := s.MustRun("play", "--brokers", s.Kafka, "--copies", fmt.Sprint(ingestCopies), "../day", "../notifications")
	produced := time.Now()
	took := playTook(b, out)
	books := settled(b, s, n+warm)
	all := took + time.Since(produced)
	each := (cpu(s.PID()) - before) / time.Duration(n)
	written := metric(b, s, "fresnel_indexer_documents_total")
	after, own := rss(s.PID()), status(s.PID(), "RssAnon")
	var records []stream.Record
	for rec := range (play.Options{Copies: ingestCopies}).Records(recorded) {
		records = append(records, rec)
	}
	bare := bareTrip(b, s.Kafka, records)
	s.Stop()
	per := func(n float64) float64 { return n / all.Seconds() }
	through := fmt.Sprintf("%d records through the broker, franz-go alone", n)
	r.rate(fmt.Sprintf("recorded mix, distinct ids: notifications (%d µs of CPU each)", each.Microseconds()), per(float64(n)), bare, through, "5 000/s")
	r.rate("... of them dispatched (the others are ignored by rule)", per(float64(books["listener"].Outcomes["dispatched"])), bare, "as above", "")
	r.rate("... documents written", per(written), bare, "as above", "")
	r.size(fmt.Sprintf("RSS of core after the run (%s without the binary)", mib(own)), after, idle, "before it", "150 MiB")
}

// warmTopics makes the server read all topics of the records: it looks for new ones
// only every few seconds. It returns how many records that took.
func warmTopics(b *testing.B, s *harness.Server, records []stream.Record) int {
	b.Helper()
	var warm []stream.Record
	seen := map[string]bool{}
	for _, r := range records {
		if !seen[r.Topic] {
			seen[r.Topic] = true
			warm = append(warm, stream.Record{Topic: r.Topic, Value: []byte(`{"message_id": "warm", "publisher_id": "bench", "priority": "INFO",
				"event_type": "bench.warm", "timestamp": "2026-11-21 12:00:00.0", "payload": {}}`)})
		}
	}
	produce(b, client(b, s.Kafka), "", warm)
	settled(b, s, len(warm))
	return len(warm)
}

// playTook is the duration that play reports.
func playTook(b *testing.B, out string) time.Duration {
	b.Helper()
	m := regexp.MustCompile(`played \d+ records in (\S+)`).FindStringSubmatch(out)
	if m == nil {
		b.Fatalf("play says %q", out)
	}
	d, err := time.ParseDuration(m[1])
	if err != nil {
		b.Fatal(err)
	}
	return d
}

// documents has one notification each make a new document, then writes the same
// documents into a bare store in batches of the same size.
func documents(b *testing.B, r *report) {
	records, ids := ports(b, 0, documentCount)
	s := harness.New(b, plain).Start()
	out := client(b, s.Kafka)
	warm := warmTopics(b, s, records)
	before := cpu(s.PID())
	begin := time.Now()
	produce(b, out, "", records)
	settled(b, s, documentCount+warm)
	whole := float64(documentCount) / time.Since(begin).Seconds()
	each := (cpu(s.PID()) - before) / documentCount
	batch := documentCount / int(metric(b, s, "fresnel_indexer_handle_duration_seconds_count"))
	s.Stop()
	docs := stored(b, s, ids)
	before = cpu(os.Getpid())
	bare := bareUpserts(b, docs, min(max(batch, 1), 1000))
	bareEach := (cpu(os.Getpid()) - before) / documentCount
	r.rate(fmt.Sprintf("distinct documents, one notification each (%d µs of CPU)", each.Microseconds()), whole, bare,
		fmt.Sprintf("bare upserts of the same into SQLite, in batches of %d too (%d µs)", batch, bareEach.Microseconds()), "0.7")
}

// stored reads the documents that a stopped server has, as if they were new.
func stored(b *testing.B, s *harness.Server, ids []string) []resource.Document {
	b.Helper()
	st := openStore(b, s.Data())
	var docs []resource.Document
	for chunk := range slices.Chunk(ids, 1000) {
		refs := make([]resource.Ref, len(chunk))
		for i, id := range chunk {
			refs[i] = resource.Ref{Type: "OS::Neutron::Port", ID: id}
		}
		some, err := st.Load(b.Context(), refs)
		if err != nil {
			b.Fatal(err)
		}
		docs = append(docs, some...)
	}
	for i := range docs {
		if docs[i].Version == 0 {
			b.Fatalf("%s is not stored", docs[i].Ref)
		}
		docs[i].Version = 0
	}
	return docs
}

func openStore(b *testing.B, dir string) *sqlite.Store {
	b.Helper()
	c, err := catalog.Builtin()
	if err != nil {
		b.Fatal(err)
	}
	st, err := sqlite.Open(sqlite.DefaultConfig().In(dir), c, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := st.Close(); err != nil {
			b.Error(err)
		}
	})
	return st
}

// bareUpserts writes documents into a new store, as many batches at once as there
// are partitions, and returns how many a second.
func bareUpserts(b *testing.B, docs []resource.Document, batch int) float64 {
	b.Helper()
	const partitions = 4
	st := openStore(b, filepath.Join(b.TempDir(), "bare"))
	work := make(chan []resource.Document)
	var all sync.WaitGroup
	begin := time.Now()
	for range partitions {
		all.Go(func() {
			for some := range work {
				written, err := st.Write(b.Context(), some)
				if err != nil || written[0].Err != nil {
					b.Error(err, written)
				}
			}
		})
	}
	for some := range slices.Chunk(docs, batch) {
		work <- some
	}
	close(work)
	all.Wait()
	return float64(len(docs)) / time.Since(begin).Seconds()
}
