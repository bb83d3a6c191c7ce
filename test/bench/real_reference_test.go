//go:build real

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esutil"
	"github.com/segmentio/kafka-go"
)

// ready is a document that needs nothing but to be sent.
type ready struct {
	id     string
	source []byte
}

// call sends a request to the cluster and returns the answer; one that is no success
// ends the benchmark.
func (l *lab) call(method, path string, body []byte) []byte {
	l.Helper()
	b, err := l.try(method, path, body)
	if err != nil {
		l.Fatal(err)
	}
	return b
}

// try is call where a test may go on without the answer.
func (l *lab) try(method, path string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(l.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, l.on.Search+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := l.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %d: %.500s", method, path, resp.StatusCode, b)
	}
	return b, err
}

// ports is the index that Fresnel keeps ports in.
func (l *lab) ports() string {
	l.Helper()
	var all []struct{ Index string }
	if err := json.Unmarshal(l.call("GET", "/_cat/indices/"+l.on.Prefix+"-os-neutron-port-*?format=json&h=index", nil), &all); err != nil {
		l.Fatal(err)
	}
	if len(all) != 1 {
		l.Fatalf("%d indices of ports, want 1", len(all))
	}
	return all[0].Index
}

// learn reads what Fresnel stored, and how, so that the bare bulk indexer writes the
// same documents into an index of the same mapping and settings.
func (l *lab) learn() {
	l.Helper()
	index := l.ports()
	l.call("POST", "/"+index+"/_refresh", nil)
	var described map[string]struct {
		Mappings json.RawMessage
		Settings struct{ Index map[string]any }
	}
	if err := json.Unmarshal(l.call("GET", "/"+index, nil), &described); err != nil {
		l.Fatal(err)
	}
	settings := described[index].Settings.Index
	for _, own := range []string{"uuid", "creation_date", "provided_name", "version", "routing"} {
		delete(settings, own)
	}
	made, err := json.Marshal(map[string]any{"mappings": described[index].Mappings, "settings": map[string]any{"index": settings}})
	if err != nil {
		l.Fatal(err)
	}
	l.same = made
	l.documents = nil
	var page struct {
		Scroll string `json:"_scroll_id"`
		Hits   struct {
			Hits []struct {
				ID     string          `json:"_id"`
				Source json.RawMessage `json:"_source"`
			}
		}
	}
	for b := l.call("POST", "/"+index+"/_search?scroll=1m", []byte(`{"size": 2000, "sort": ["_doc"]}`)); ; {
		page.Hits.Hits = nil
		if err := json.Unmarshal(b, &page); err != nil {
			l.Fatal(err)
		}
		for _, h := range page.Hits.Hits {
			l.documents = append(l.documents, ready{h.ID, h.Source})
		}
		if len(page.Hits.Hits) == 0 {
			return
		}
		b = l.call("POST", "/_search/scroll", fmt.Appendf(nil, `{"scroll": "1m", "scroll_id": %q}`, page.Scroll))
	}
}

// meanSize of documents, in bytes.
func meanSize(docs []ready) int {
	sum := 0
	for _, d := range docs {
		sum += len(d.source)
	}
	return sum / max(1, len(docs))
}

// index makes an empty index of the test's own prefix, so that it is dropped in the
// end; an empty description makes one of dynamic mapping.
func (l *lab) index(name string, description []byte) string {
	l.Helper()
	if description == nil {
		description = []byte(`{"settings": {"number_of_replicas": 0, "refresh_interval": "1s"}}`)
	}
	name = l.on.Prefix + "-" + name
	if _, err := l.try("DELETE", "/"+name, nil); err != nil && !strings.Contains(err.Error(), "404") {
		l.Fatal(err)
	}
	l.call("PUT", "/"+name, description)
	return name
}

// measured is what a run came to.
type measured struct {
	rate   float64 // a second
	cost   spent   // per document
	engine string  // what Elasticsearch did for it
}

// bare writes documents from memory, so many times over, with esutil.BulkIndexer as
// it is by default, two workers on two cores.
func (l *lab) bare(index string, docs []ready, times int) measured {
	l.Helper()
	bulk := l.bulkIndexer(index, 0)
	before := l.works()
	go func() {
		for range times {
			for _, d := range docs {
				item := esutil.BulkIndexerItem{Action: "index", DocumentID: d.id, Body: bytes.NewReader(d.source)}
				if err := bulk.Add(l.Context(), item); err != nil {
					l.Error(err)
				}
			}
		}
		if err := bulk.Close(l.Context()); err != nil {
			l.Error(err)
		}
	}()
	series := l.meter(os.Getpid(), len(docs)*times, func() (int, error) { return int(bulk.Stats().NumFlushed), nil }, func(progress) {})
	if n := bulk.Stats().NumFailed; n > 0 {
		l.Fatalf("%d documents failed", n)
	}
	m := sustained(series)
	m.engine = l.works().since(before, len(docs)*times)
	return m
}

// bulkIndexer is one that flushes after an interval, 0 for the default.
func (l *lab) bulkIndexer(index string, interval time.Duration) esutil.BulkIndexer {
	l.Helper()
	bulk, err := esutil.NewBulkIndexer(esutil.BulkIndexerConfig{
		Client: l.es, Index: index, FlushInterval: interval,
		OnError: func(_ context.Context, err error) { l.Error(err) },
	})
	if err != nil {
		l.Fatal(err)
	}
	return bulk
}

// plainConsumer reads the source topic with a consumer group of kafka-go's, decodes
// the envelope with encoding/json and indexes the payload as it is, under its id, with
// whatever mapping Elasticsearch makes up. It commits every second, whether or not
// what it read is stored.
func (l *lab) plainConsumer(index, group string, all int) measured {
	l.Helper()
	bulk := l.bulkIndexer(index, 0)
	before := l.works()
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: strings.Split(l.on.Kafka, ","), GroupID: group, Topic: source, StartOffset: kafka.FirstOffset,
		MaxBytes: 1 << 20, MaxWait: 500 * time.Millisecond, CommitInterval: time.Second, QueueCapacity: 1000,
	})
	var read atomic.Int64
	var loop sync.WaitGroup
	loop.Go(func() {
		for ; read.Load() < int64(all); read.Add(1) {
			m, err := r.ReadMessage(l.Context())
			if err == nil {
				err = plainAdd(l.Context(), bulk, m.Value)
			}
			if err != nil {
				l.Error(err)
				return
			}
		}
		if err := bulk.Close(l.Context()); err != nil {
			l.Error(err)
		}
	})
	series := l.meter(os.Getpid(), all, func() (int, error) { return int(bulk.Stats().NumFlushed), nil }, func(progress) {})
	loop.Wait()
	if err := r.Close(); err != nil {
		l.Error(err)
	}
	if n := bulk.Stats().NumFailed; n > 0 {
		l.Fatalf("%d payloads failed", n)
	}
	m := sustained(series)
	m.engine = l.works().since(before, all)
	return m
}

// plainAdd indexes the port of a notification.
func plainAdd(ctx context.Context, bulk esutil.BulkIndexer, value []byte) error {
	var envelope struct {
		Message string `json:"oslo.message"`
	}
	if err := json.Unmarshal(value, &envelope); err != nil {
		return err
	}
	var message struct {
		Payload struct{ Port json.RawMessage }
	}
	if err := json.Unmarshal([]byte(envelope.Message), &message); err != nil {
		return err
	}
	var port struct{ ID string }
	if err := json.Unmarshal(message.Payload.Port, &port); err != nil {
		return err
	}
	return bulk.Add(ctx, esutil.BulkIndexerItem{Action: "index", DocumentID: port.ID, Body: bytes.NewReader(message.Payload.Port)})
}
