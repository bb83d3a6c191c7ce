//go:build real

package elastic_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/elastic/go-elasticsearch/v8"
	"github.com/elastic/go-elasticsearch/v8/esutil"

	"github.com/fresnel-search/fresnel/indexer/elastic"
	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/storetest"
)

// sample makes distinct documents of about 1.5 KB.
func sample(n int) []resource.Document {
	docs := make([]resource.Document, n)
	for i := range docs {
		d := storetest.Doc(resource.Ref{Type: storetest.Server, ID: fmt.Sprintf("0c5e0b5d-6d8f-4d4b-%016x", i)}, []resource.Principal{"project:p"},
			map[string]string{
				"id": fmt.Sprintf(`"0c5e0b5d-6d8f-4d4b-%016x"`, i), "name": fmt.Sprintf(`"web-%d.example.net"`, i), "status": `"ACTIVE"`,
				"flavor.id": `"m1.small"`, "size": fmt.Sprint(i), "load": `0.5`, "locked": `false`, "created_at": `"2026-05-01T12:00:00Z"`,
				"address": fmt.Sprintf(`"10.%d.%d.%d"`, i>>16&255, i>>8&255, i&255), "description": `"a server of the shop, in front of all others"`,
				"hypervisor": `"compute-17.example.net"`, "metadata": `{"app":"shop","tier":"web"}`, "other.az": `"nova"`, "other.k": `{"x":["y"]}`,
				"networks": `[{"label":"private net","name":"private","version":4},{"label":"public net","name":"public","version":6}]`,
			})
		docs[i] = d
	}
	return docs
}

// BenchmarkRealWrite writes new documents through Store.Write and, the same bodies
// into an index of the same mapping, through a bare esutil.BulkIndexer.
func BenchmarkRealWrite(b *testing.B) {
	const batch, workers = 500, 2
	for flavor, url := range servers() {
		if url == "" {
			continue
		}
		cfg := elastic.DefaultConfig()
		cfg.Flavor, cfg.Addresses, cfg.Replicas = flavor, []string{url}, 0
		docs := sample(4_000)
		l := layout.Of(storetest.Types()[1])
		b.Run(string(flavor)+"/store", func(b *testing.B) {
			var used time.Duration
			for b.Loop() {
				b.StopTimer()
				s := openReal(b, cfg, storetest.Types())
				work := make(chan []resource.Document, len(docs)/batch)
				for i := 0; i < len(docs); i += batch {
					work <- docs[i : i+batch]
				}
				close(work)
				used -= processor(b)
				b.StartTimer()
				var wg sync.WaitGroup
				for range workers {
					wg.Go(func() {
						for list := range work {
							out, err := s.Write(b.Context(), list)
							for _, w := range out {
								if w.Err != nil {
									err = w.Err
								}
							}
							if err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
				used += processor(b)
			}
			report(b, len(docs), used)
		})
		b.Run(string(flavor)+"/bulkindexer", func(b *testing.B) {
			var used time.Duration
			for b.Loop() {
				b.StopTimer()
				s := openReal(b, cfg, storetest.Types())
				indices, err := s.Indices(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				name := ""
				for _, ix := range indices {
					if ix.Type == storetest.Server {
						name = ix.Name
					}
				}
				bodies := make([][]byte, len(docs))
				for i := range docs {
					if bodies[i], err = l.Encode(nil, &docs[i], time.Now()); err != nil {
						b.Fatal(err)
					}
				}
				used -= processor(b)
				b.StartTimer()
				bare(b, url, name, docs, bodies, workers)
				used += processor(b)
			}
			report(b, len(docs), used)
		})
	}
}

// processor is the time that this process has used the processor for: it says more of
// a client than the clock where the server shares the machine.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func report(b *testing.B, docs int, used time.Duration) {
	n := float64(docs * b.N)
	b.ReportMetric(n/b.Elapsed().Seconds(), "docs/s")
	b.ReportMetric(float64(used.Microseconds())/n, "cpu-us/doc")
}

func bare(b *testing.B, url, name string, docs []resource.Document, bodies [][]byte, workers int) {
	b.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	es, err := elasticsearch.NewClient(elasticsearch.Config{Addresses: []string{url}, Transport: transport})
	if err != nil {
		b.Fatal(err)
	}
	bi, err := esutil.NewBulkIndexer(esutil.BulkIndexerConfig{Client: es, Index: name, NumWorkers: workers, FlushBytes: 2 << 20})
	if err != nil {
		b.Fatal(err)
	}
	for i := range docs {
		err := bi.Add(context.Background(), esutil.BulkIndexerItem{Action: "create", DocumentID: docs[i].Ref.ID, Body: bytes.NewReader(bodies[i])})
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := bi.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
	if st := bi.Stats(); int(st.NumFlushed) < len(docs) {
		b.Fatalf("%d of %d documents", st.NumFlushed, len(docs))
	}
}
