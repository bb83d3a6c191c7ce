//go:build real

package bench

import (
	"encoding/json"
	"fmt"
	"time"
)

// worked is what Elasticsearch has done so far, as it counts itself.
type worked struct {
	Indices struct {
		Indexing struct {
			Total  int `json:"index_total"` // nested ones count
			Millis int `json:"index_time_in_millis"`
		}
		Get struct {
			Total  int `json:"total"`
			Millis int `json:"time_in_millis"`
		}
		Refresh struct {
			Total    int `json:"total"`
			Millis   int `json:"total_time_in_millis"`
			External int `json:"external_total"` // that show something to searches
		}
		Merges struct {
			Docs   int `json:"total_docs"`
			Millis int `json:"total_time_in_millis"`
		}
		Flush struct {
			Total  int `json:"total"`
			Millis int `json:"total_time_in_millis"`
		}
		Bulk struct {
			Operations int `json:"total_operations"`
			Millis     int `json:"total_time_in_millis"`
			Bytes      int `json:"total_size_in_bytes"`
		}
	}
	JVM struct {
		GC struct {
			Collectors map[string]struct {
				Count  int `json:"collection_count"`
				Millis int `json:"collection_time_in_millis"`
			}
		}
	}
}

// works asks for it.
func (l *lab) works() worked {
	l.Helper()
	var nodes struct{ Nodes map[string]worked }
	if err := json.Unmarshal(l.call("GET", "/_nodes/stats/indices,jvm", nil), &nodes); err != nil {
		l.Fatal(err)
	}
	for _, w := range nodes.Nodes {
		return w
	}
	l.Fatal("the cluster has no nodes")
	return worked{}
}

// since tells what was done from before on for so many documents.
func (w worked) since(before worked, documents int) string {
	a, b := &before.Indices, &w.Indices
	bulks := b.Bulk.Operations - a.Bulk.Operations
	gc := 0
	for name, c := range w.JVM.GC.Collectors {
		gc += c.Millis - before.JVM.GC.Collectors[name].Millis
	}
	return fmt.Sprintf("%d bulks of %d documents and %d KB in %d ms each, indexing %d µs and bulks %d µs a document, %d refreshes (%d of them for searches) in %d ms, "+
		"%d documents merged in %d ms, %d gets in %d ms, %d flushes in %d ms, GC %d ms",
		bulks, documents/max(1, bulks), (b.Bulk.Bytes-a.Bulk.Bytes)/max(1, bulks)>>10, (b.Bulk.Millis-a.Bulk.Millis)/max(1, bulks),
		perDocument(b.Indexing.Millis-a.Indexing.Millis, documents), perDocument(b.Bulk.Millis-a.Bulk.Millis, documents),
		b.Refresh.Total-a.Refresh.Total, b.Refresh.External-a.Refresh.External, b.Refresh.Millis-a.Refresh.Millis,
		b.Merges.Docs-a.Merges.Docs, b.Merges.Millis-a.Merges.Millis,
		b.Get.Total-a.Get.Total, b.Get.Millis-a.Get.Millis, b.Flush.Total-a.Flush.Total, b.Flush.Millis-a.Flush.Millis, gc)
}

// perDocument is milliseconds of all as microseconds of each.
func perDocument(millis, documents int) int64 {
	return (time.Duration(millis) * time.Millisecond / time.Duration(max(1, documents))).Microseconds()
}
