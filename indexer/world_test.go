package indexer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/listener/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// crash is what a port call panics with when the process dies in it.
type crash struct{ at string }

var errFault = errors.New("injected fault")

// fault is what goes wrong in a port call.
type fault int

const (
	none        fault = iota
	failBefore        // an error, and nothing was done
	failAfter         // an error, but it was done: the answer is lost
	crashBefore       // the process dies, nothing was done
	crashAfter        // the process dies when it was done
	items             // Write only: single documents meet ErrAgain or ErrConflict
)

// world is everything outside a process that indexes: the logs, the committed
// offsets and the stores. It survives crashes, and each port call may go wrong.
type world struct {
	t          rapid.TB
	catalog    indexer.Catalog
	store      indexer.Store // the world itself, if nil
	config     indexer.Config
	partitions int

	mu        sync.Mutex
	log       [][]stream.Record // of mutations, by partition
	changes   []stream.Record
	committed []commit
	docs      map[resource.Ref]resource.Document
	indexed   map[resource.Ref]resource.Document // what Children sees
	letters   map[string]record.DeadLetter
	names     map[string]record.Record // of the logs
	swept     []time.Time
	lineages  int
	writes    [][]resource.Document // every Write that reached the store

	calls int                   // port calls so far
	plan  func(op string) fault // asked at each
	// within, if set, runs while a port call is under way: what others do meanwhile.
	within func(op string)
	reject func(d *resource.Document) bool
	tooBig int // records with more bytes are refused
}

type commit struct {
	offset     int64
	metadata   string
	generation int
}

func newWorld(t rapid.TB, c indexer.Catalog, partitions int) *world {
	return &world{
		t: t, catalog: c, config: indexer.DefaultConfig(), partitions: partitions,
		log: make([][]stream.Record, partitions), committed: make([]commit, partitions),
		docs:    make(map[resource.Ref]resource.Document),
		indexed: make(map[resource.Ref]resource.Document),
		letters: make(map[string]record.DeadLetter), names: make(map[string]record.Record),
	}
}

// call runs do, or does not, as the plan says.
func (w *world) call(op string, do func() error) error {
	w.calls++
	if w.within != nil {
		w.within(op)
	}
	f := none
	if w.plan != nil {
		f = w.plan(op)
	}
	if f == failBefore {
		return fmt.Errorf("%s: %w", op, errFault)
	}
	if f == crashBefore {
		panic(crash{op})
	}
	if err := do(); err != nil {
		return err
	}
	if f == failAfter {
		return fmt.Errorf("%s: %w", op, errFault)
	}
	if f == crashAfter {
		panic(crash{op})
	}
	return nil
}

func (w *world) Load(_ context.Context, refs []resource.Ref) (docs []resource.Document, err error) {
	err = w.call("load", func() error {
		for _, ref := range refs {
			d, ok := w.docs[ref]
			if !ok {
				d = resource.Document{Ref: ref}
			}
			docs = append(docs, *d.Clone())
		}
		return nil
	})
	return docs, err
}

func (w *world) Write(_ context.Context, docs []resource.Document) (out []indexer.Written, err error) {
	f := none
	if w.plan != nil {
		if f = w.plan("items"); f != none {
			f = items // as many fail as do not
		}
	}
	err = w.call("write", func() error {
		w.writes = append(w.writes, docs)
		seen := make(map[resource.Ref]bool)
		for i := range docs {
			d := docs[i].Clone()
			if seen[d.Ref] {
				w.t.Errorf("%s stands twice in one write", d.Ref)
			}
			seen[d.Ref] = true
			switch {
			case d.Version != w.docs[d.Ref].Version:
				out = append(out, indexer.Written{Err: fmt.Errorf("%s: %w", d.Ref, indexer.ErrConflict)})
			case w.reject != nil && w.reject(d):
				out = append(out, indexer.Written{Err: fmt.Errorf("mapping: %w", indexer.ErrRejected)})
			case f == items && i%2 == 0:
				out = append(out, indexer.Written{Err: fmt.Errorf("queue: %w", indexer.ErrAgain)})
			default:
				d.Version++
				w.docs[d.Ref] = *d
				out = append(out, indexer.Written{Version: d.Version})
			}
		}
		return nil
	})
	return out, err
}

func (w *world) Children(_ context.Context, q indexer.ChildQuery) (refs []resource.Ref, err error) {
	err = w.call("children", func() error {
		if q.Refresh {
			w.indexed = maps.Clone(w.docs)
		}
		for ref, d := range w.indexed {
			if ref.Type == q.Child && ref.ID > q.After && !d.Deleted && slices.Contains(d.Parents, q.Parent) {
				refs = append(refs, ref)
			}
		}
		slices.SortFunc(refs, func(a, b resource.Ref) int { return cmpString(a.ID, b.ID) })
		refs = refs[:min(q.N, len(refs))]
		return nil
	})
	return refs, err
}

func cmpString(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (w *world) Sweep(_ context.Context, before time.Time, _ int) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.swept = append(w.swept, before)
	return 0, nil
}

func (w *world) Save(_ context.Context, recs []record.Record) ([]record.Saved, error) {
	saved := make([]record.Saved, len(recs))
	err := w.call("save", func() error {
		for i, r := range recs {
			if r.Table != record.DeadLetters {
				saved[i] = w.saveName(r)
				continue
			}
			var d record.DeadLetter
			if err := json.Unmarshal(r.Value, &d); err != nil {
				return err
			}
			w.letters[r.Key] = d
		}
		return nil
	})
	return saved, err
}

// place is what Kafka knows of the group's place in a partition.
func (w *world) place(_ context.Context, p stream.Partition) (committed, end int64, err error) {
	err = w.call("place", func() error {
		committed, end = w.committed[p.ID].offset, int64(len(w.log[p.ID]))
		if w.committed[p.ID].metadata == "" {
			committed = -1
		}
		return nil
	})
	return committed, end, err
}

func (w *world) saveName(r record.Record) record.Saved {
	if w.names[r.Key].Version != r.Version {
		return record.Saved{Err: record.ErrConflict}
	}
	r.Version++
	w.names[r.Key] = r
	return record.Saved{Version: r.Version}
}

func (w *world) Read(_ context.Context, _, key string) (r record.Record, err error) {
	err = w.call("read", func() error {
		r = w.names[key]
		return nil
	})
	return r, err
}

func (w *world) Scan(context.Context, string, string, int) ([]record.Record, error) {
	return nil, errors.New("not scanned")
}

// Produce may append a part and fail, as Kafka does.
func (w *world) Produce(_ context.Context, recs []stream.Record) error {
	for _, r := range recs {
		if w.tooBig > 0 && len(r.Value) > w.tooBig {
			return fmt.Errorf("append: %w", stream.ErrTooLarge)
		}
	}
	op := "produce " + recs[0].Topic
	half := len(recs) / 2
	if err := w.call(op+" in part", func() error { w.append(recs[:half]); return nil }); err != nil {
		return err
	}
	return w.call(op, func() error { w.append(recs[half:]); return nil })
}

func (w *world) append(recs []stream.Record) {
	for _, r := range recs {
		if r.Topic == indexer.ChangesTopic {
			w.changes = append(w.changes, r)
			continue
		}
		h := fnv.New32a()
		if _, err := h.Write(r.Key); err != nil {
			w.t.Fatal(err)
		}
		r.Partition = int(h.Sum32()) % w.partitions
		r.Offset = int64(len(w.log[r.Partition]))
		w.log[r.Partition] = append(w.log[r.Partition], r)
	}
}

// tell appends mutations as the listener does.
func (w *world) tell(ms ...resource.Mutation) {
	for i := range ms {
		w.append([]stream.Record{{
			Topic: indexer.MutationsTopic, Key: []byte(ms[i].Ref.Key()), Value: resource.EncodeMutation(&ms[i]),
		}})
	}
}

// process is one running indexer: it owns partitions, each in a generation.
type process struct {
	w        *world
	x        *indexer.Indexer
	handlers map[int]stream.Handler
	next     map[int]int64
	gens     map[int]int
}

func (w *world) start() *process {
	var store indexer.Store = w
	if w.store != nil {
		store = w.store
	}
	x, err := indexer.New(w.config, indexer.Deps{
		Catalog: w.catalog, Store: store, Records: w, Producer: w,
		Logs:    indexer.Names{Records: w, Place: w.place},
		Lineage: func() string { w.lineages++; return fmt.Sprintf("lineage-%d", w.lineages) },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return &process{w: w, x: x, handlers: map[int]stream.Handler{}, next: map[int]int64{}, gens: map[int]int{}}
}

// assign takes a partition over from whoever has it.
func (p *process) assign(id int) {
	c := &p.w.committed[id]
	c.generation++
	p.gens[id], p.next[id] = c.generation, c.offset
	p.handlers[id] = p.x.NewHandler(stream.Assignment{
		Partition: stream.Partition{Topic: indexer.MutationsTopic, ID: id}, Offset: c.offset, Metadata: c.metadata,
	})
}

// step handles and commits at most n mutations of a partition. It reports whether
// there was anything to do; if the commit fails the partition is given back.
func (p *process) step(ctx context.Context, id, n int) (worked bool, err error) {
	w := p.w
	if p.handlers[id] == nil || p.gens[id] != w.committed[id].generation {
		p.assign(id)
	}
	h, next, gen := p.handlers[id], p.next[id], p.gens[id]
	recs := w.log[id][next:]
	if len(recs) == 0 {
		return false, nil
	}
	recs = slices.Clone(recs[:min(n, len(recs))])
	metadata, err := h.Handle(ctx, stream.Batch{
		Partition: stream.Partition{Topic: indexer.MutationsTopic, ID: id}, Records: recs, HighWater: int64(len(w.log[id])),
	})
	if err != nil {
		return true, err // the consumer pauses and gives the same handler the same records
	}
	err = w.call("commit", func() error {
		if gen != w.committed[id].generation {
			return errors.New("illegal generation")
		}
		w.committed[id].offset, w.committed[id].metadata = next+int64(len(recs)), metadata
		return nil
	})
	if err != nil {
		delete(p.handlers, id)
		return true, err
	}
	if p.gens[id] == gen {
		p.next[id] = next + int64(len(recs))
	}
	return true, nil
}

// run lets processes work until nothing is left to do, starting another one
// whenever one dies.
func (w *world) run(rng *rand.Rand, batch int) {
	p := w.start()
	for idle := 0; idle < w.partitions; {
		id, n := rng.IntN(w.partitions), 1+rng.IntN(batch)
		worked, died := w.survive(func() (bool, error) { return p.step(context.Background(), id, n) })
		switch {
		case died:
			p, idle = w.start(), 0
		case worked:
			idle = 0
		default:
			idle = 0
			for q := range w.partitions {
				if w.committed[q].offset == int64(len(w.log[q])) {
					idle++
				}
			}
		}
	}
}

// survive calls f and tells whether the process died in it.
func (w *world) survive(f func() (bool, error)) (worked, died bool) {
	defer func() {
		if v := recover(); v != nil {
			if _, ok := v.(crash); !ok {
				panic(v)
			}
			died = true
		}
	}()
	worked, _ = f() // an error is repeated, as the consumer does
	return worked, false
}
