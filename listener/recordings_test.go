package listener_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/listener"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// recordings returns all recorded records as logs, and how many there are.
func recordings(t *testing.T) (logs map[stream.Partition][]stream.Record, n int64) {
	t.Helper()
	logs = make(map[stream.Partition][]stream.Record)
	for _, glob := range []string{"notifications/*.jsonl.gz", "day/*notifications*.jsonl.gz"} {
		files, err := filepath.Glob(filepath.Join("..", "test", glob))
		if err != nil || len(files) == 0 {
			t.Fatalf("no recordings %s: %v", glob, err)
		}
		for _, name := range files {
			n += read(t, name, logs)
		}
	}
	return logs, n
}

func read(t *testing.T, name string, logs map[stream.Partition][]stream.Record) (n int64) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 4<<20)
	for ; lines.Scan(); n++ {
		var line struct {
			Topic, Value string
			Partition    int
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		p := stream.Partition{Topic: line.Topic, ID: line.Partition}
		logs[p] = append(logs[p], stream.Record{
			Topic: p.Topic, Partition: p.ID, Offset: int64(len(logs[p])), Value: []byte(line.Value),
		})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestBooksAddUpOverAllRecordings reads every recording, and poison between it, with
// failures and lost commits, and compares with a pass without any.
func TestBooksAddUpOverAllRecordings(t *testing.T) {
	logs, n := recordings(t)
	poisoned := stream.Partition{Topic: "notifications.warn"}
	for i := range 50 {
		logs[poisoned] = append(logs[poisoned], stream.Record{
			Topic: poisoned.Topic, Offset: int64(i), Value: []byte(`{"event_type": 1`)[:1+i%16],
		})
	}
	n += 50
	calm, values := pass(t, logs, rand.New(rand.NewPCG(0, 0)), 0)
	if calm.Records != n || calm.Dead["bad_json"] != 50 || len(calm.Dead) != 1 || calm.Dispatched == 0 || len(calm.Ignored) == 0 {
		t.Fatalf("books of %d records: %+v", n, calm)
	}
	rough, again := pass(t, logs, rand.New(rand.NewPCG(1, 2)), 4)
	if diff := cmp.Diff(calm, rough); diff != "" {
		t.Errorf("books with crashes (-without +with):\n%s", diff)
	}
	for v := range values {
		if again[v] < 1 {
			t.Fatalf("mutation lost in a crash: %s", v)
		}
	}
	if len(again) != len(values) {
		t.Errorf("%d different mutations with crashes, %d without", len(again), len(values))
	}
	t.Logf("%+v", calm)
}

// pass reads all logs; one batch of odds fails, or is handled and not committed. It
// returns the sum of the committed tallies and the mutations appended.
func pass(t *testing.T, logs map[stream.Partition][]stream.Record, rng *rand.Rand, odds int) (listener.Tally, map[string]int) {
	t.Helper()
	c, err := catalog.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{letters: make(map[string]record.DeadLetter)}
	broken := func() bool { return odds > 0 && rng.IntN(odds) == 0 }
	w.produce = func(recs []stream.Record) error {
		if broken() {
			w.log = append(w.log, recs[:rng.IntN(len(recs))]...)
			return errors.New("broker is down")
		}
		return nil
	}
	var total []listener.Book
	for p, log := range logs {
		l, err := listener.New(listener.DefaultConfig(), listener.Deps{Catalog: c, Producer: w, Records: w})
		if err != nil {
			t.Fatal(err)
		}
		metadata, offset := "", int64(0)
		h := l.NewHandler(stream.Assignment{Partition: p})
		for offset < int64(len(log)) {
			batch := log[offset:min(int(offset)+1+rng.IntN(200), len(log))]
			next, err := h.Handle(t.Context(), stream.Batch{Partition: p, Records: batch, HighWater: int64(len(log))})
			switch {
			case err != nil:
			case broken(): // the process dies before the commit
				h = l.NewHandler(stream.Assignment{Partition: p, Offset: offset, Metadata: metadata})
			default:
				metadata, offset = next, offset+int64(len(batch))
			}
		}
		total = append(total, listener.Book{Tally: tallyOf(t, metadata)})
	}
	values := make(map[string]int)
	for _, r := range w.log {
		values[string(r.Value)]++
	}
	return sumOf(total), values
}

func sumOf(books []listener.Book) (sum listener.Tally) {
	sum.Ignored, sum.Dead = map[string]int64{}, map[string]int64{}
	for _, b := range books {
		sum.Records += b.Records
		sum.Dispatched += b.Dispatched
		sum.Mutations += b.Mutations
		for reason, n := range b.Ignored {
			sum.Ignored[reason] += n
		}
		for reason, n := range b.Dead {
			sum.Dead[reason] += n
		}
	}
	return sum
}
