package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
)

// ErrLost is what a call answers that Sloppy failed as a whole.
var ErrLost = errors.New("answer was lost")

// Faults are what a Sloppy store does wrong, each as often as its probability says.
// All of it is allowed by the contract.
type Faults struct {
	Seed uint64
	// Again and Conflict fail single documents; nothing of them is stored. A
	// conflict stands for a write by somebody else that changed nothing.
	Again, Conflict float64
	// Lost fails a whole Write or Save; half of the times after it was stored.
	Lost float64
	// Stale hides from Children and searches what came after the last refresh.
	Stale bool
}

// Sloppy is a store in memory. The zero Faults make it a good one.
type Sloppy struct {
	types map[string]*catalog.Type

	mu      sync.Mutex
	faults  Faults
	rnd     *rand.Rand
	seq     int64
	docs    map[resource.Ref]resource.Document
	written map[resource.Ref]time.Time         // when each was written last
	shown   map[resource.Ref]resource.Document // as of the last refresh
	records map[[2]string]record.Record
}

// NewSloppy makes an empty store for the types.
func NewSloppy(types []*catalog.Type, f Faults) *Sloppy {
	s := &Sloppy{
		types: map[string]*catalog.Type{}, faults: f, rnd: rand.New(rand.NewPCG(f.Seed, 1)),
		docs: map[resource.Ref]resource.Document{}, shown: map[resource.Ref]resource.Document{},
		written: map[resource.Ref]time.Time{},
		records: map[[2]string]record.Record{},
	}
	for _, t := range types {
		s.types[t.Name] = t
	}
	return s
}

// SetFaults changes what goes wrong from now on.
func (s *Sloppy) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// Refresh lets Children and searches see everything written so far.
func (s *Sloppy) Refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown = maps.Clone(s.docs)
}

// All returns every document, by key.
func (s *Sloppy) All() (docs []resource.Document) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.docs {
		docs = append(docs, *d.Clone())
	}
	slices.SortFunc(docs, func(a, b resource.Document) int { return strings.Compare(a.Ref.Key(), b.Ref.Key()) })
	return docs
}

func (s *Sloppy) happens(p float64) bool { return p > 0 && s.rnd.Float64() < p }

// Load returns documents as they are stored, never as of a refresh.
func (s *Sloppy) Load(ctx context.Context, refs []resource.Ref) ([]resource.Document, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	docs := make([]resource.Document, len(refs))
	for i, r := range refs {
		docs[i].Ref = r
		if d, ok := s.docs[r]; ok {
			docs[i] = *d.Clone()
		}
	}
	return docs, nil
}

// Write stores docs, as far as its faults let it.
func (s *Sloppy) Write(ctx context.Context, docs []resource.Document) ([]resource.Written, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	lost := s.happens(s.faults.Lost)
	if lost && s.happens(0.5) {
		return nil, ErrLost
	}
	out := make([]resource.Written, len(docs))
	for i := range docs {
		out[i] = s.write(&docs[i])
	}
	if !s.faults.Stale {
		s.shown = maps.Clone(s.docs)
	}
	if lost {
		return nil, ErrLost
	}
	return out, nil
}

func (s *Sloppy) write(d *resource.Document) resource.Written {
	for name, v := range d.Fields {
		if !json.Valid(v) {
			return resource.Written{Err: fmt.Errorf("%w: field %s is no JSON", indexer.ErrRejected, name)}
		}
	}
	have := s.docs[d.Ref]
	switch {
	case s.happens(s.faults.Again):
		return resource.Written{Err: indexer.ErrAgain}
	case have.Version != d.Version:
		return resource.Written{Err: indexer.ErrConflict}
	case s.happens(s.faults.Conflict):
		if have.Version > 0 {
			s.seq++
			have.Version = s.seq
			s.docs[d.Ref] = have
		}
		return resource.Written{Err: indexer.ErrConflict}
	}
	s.seq++
	c := *d.Clone()
	c.Version = s.seq
	s.docs[d.Ref], s.written[d.Ref] = c, time.Now()
	return resource.Written{Version: s.seq}
}

// Children lists children as of the last refresh.
func (s *Sloppy) Children(ctx context.Context, q resource.ChildQuery) (refs []resource.Ref, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if q.Refresh {
		s.Refresh()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for ref, d := range s.shown {
		if ref.Type == q.Child && ref.ID > q.After && !d.Deleted && slices.Contains(d.Parents, q.Parent) {
			refs = append(refs, ref)
		}
	}
	slices.SortFunc(refs, func(a, b resource.Ref) int { return strings.Compare(a.ID, b.ID) })
	return refs[:min(q.N, len(refs))], nil
}

// Sweep removes tombstones.
func (s *Sloppy) Sweep(ctx context.Context, before time.Time, n int) (swept int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for ref, d := range s.docs {
		if d.Deleted && s.written[ref].Before(before) && swept < n {
			delete(s.docs, ref)
			delete(s.shown, ref)
			delete(s.written, ref)
			swept++
		}
	}
	return swept, nil
}

// Read returns one record.
func (s *Sloppy) Read(ctx context.Context, table, key string) (record.Record, error) {
	if err := ctx.Err(); err != nil {
		return record.Record{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.records[[2]string{table, key}]; ok {
		r.Value = slices.Clone(r.Value)
		return r, nil
	}
	return record.Record{Table: table, Key: key}, nil
}

// Save writes records, as far as its faults let it.
func (s *Sloppy) Save(ctx context.Context, records []record.Record) ([]record.Saved, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	lost := s.happens(s.faults.Lost)
	if lost && s.happens(0.5) {
		return nil, ErrLost
	}
	out := make([]record.Saved, len(records))
	for i, r := range records {
		k := [2]string{r.Table, r.Key}
		if r.Version != record.Any && r.Version != s.records[k].Version {
			out[i].Err = record.ErrConflict
			continue
		}
		if r.Value == nil {
			delete(s.records, k)
			continue
		}
		s.seq++
		r.Version, r.Value = s.seq, slices.Clone(r.Value)
		s.records[k] = r
		out[i].Version = s.seq
	}
	if lost {
		return nil, ErrLost
	}
	return out, nil
}

// Scan returns records of a table by key.
func (s *Sloppy) Scan(ctx context.Context, table, after string, n int) (out []record.Record, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, r := range s.records {
		if k[0] == table && k[1] > after {
			r.Value = slices.Clone(r.Value)
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b record.Record) int { return strings.Compare(a.Key, b.Key) })
	return out[:min(n, len(out))], nil
}
