package indexer

import (
	"cmp"
	"context"
	"time"

	"github.com/fresnel-search/fresnel/indexer/fold"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// handler folds the mutations of one partition. It is the only writer of the
// documents of that partition while it owns it; when it does not know yet that it
// no longer does, conditional writes keep it from doing harm, and its commit fails.
type handler struct {
	x     *Indexer
	at    stream.Partition
	log   string // which mutation log the positions are of; empty until it is known
	cache *cache
	told  bool  // that something of it is committed
	began int64 // where the last batch did
	// newcomers says whether documents outside the cache are looked up.
	newcomers newcomers
	// before and after are the tallies around the last batch handled, which ended
	// below next. If its commit failed it comes again, and is counted from before.
	before, after Tally
	next          int64
}

// item is one mutation of a batch and what becomes of it.
type item struct {
	rec   *stream.Record
	at    resource.Position
	m     *resource.Mutation // nil if the record holds none
	rules *fold.Rules
	// outcome counts unless dead says that the mutation is given up on. Final means
	// that folding again cannot change that.
	outcome fold.Outcome
	dead    *death
	final   bool
}

// death is why a mutation is given up on.
type death struct {
	reason string // stable, snake_case
	detail string
}

// folds reports whether the item goes into a document.
func (it *item) folds() bool {
	return it.m != nil && !it.final && it.m.Kind != resource.Event && it.m.Kind != resource.Cascade
}

// Handle implements stream.Handler. When it returns nil, the documents are stored,
// their changes are in the change log, what they mean for children is in the
// mutation log, and what was given up on is in the dead letters.
func (h *handler) Handle(ctx context.Context, b stream.Batch) (string, error) {
	began := time.Now()
	if err := h.name(ctx, b.Records[0].Offset); err != nil {
		return "", err
	}
	first, end := b.Records[0].Offset, b.Records[len(b.Records)-1].Offset+1
	h.x.note(h.at, Book{Offset: first, Behind: max(0, b.HighWater-first), Tally: h.base(first)})
	items := h.decode(b.Records)
	for rest := items; len(rest) > 0; {
		n, err := h.step(ctx, rest, end)
		if err != nil {
			return "", err
		}
		rest = rest[n:]
	}
	metadata, err := h.settle(b, items)
	h.x.metrics.handle.Observe(time.Since(began).Seconds())
	return metadata, err
}

// name finds out which log the batch that begins at first is of, and notes once that
// something of it is committed: the batch before.
func (h *handler) name(ctx context.Context, first int64) error {
	if first < h.began { // a log that begins again under its reader
		h.log, h.told, h.began = "", false, first
	}
	if h.log == "" {
		id, err := h.x.deps.Logs.Name(ctx, h.at)
		if err != nil {
			return err
		}
		h.log = id
	}
	if h.told || first <= h.began {
		return nil
	}
	err := h.x.deps.Logs.Committed(ctx, h.at, h.log)
	h.told = err == nil
	return err
}

// step handles as many items as it can without an outbox growing too large, and
// returns their number: at least one. A step that has ended is settled, so the next
// one may evict its entries.
func (h *handler) step(ctx context.Context, items []item, end int64) (int, error) {
	first := items[0].at.Offset
	works, err := h.load(ctx, items, first)
	if err != nil {
		return 0, err
	}
	n := works.fold(h, items)
	if n < len(items) {
		end = items[n].at.Offset
	}
	items = items[:n]
	if err := h.write(ctx, works); err != nil {
		return 0, err
	}
	if err := h.publish(ctx, works, items, span{first, end}); err != nil {
		return 0, err
	}
	if err := h.follow(ctx, works, items, span{first, end}); err != nil {
		return 0, err
	}
	if err := h.bury(ctx, items); err != nil {
		return 0, err
	}
	for _, w := range works.list {
		if w.doc.Version > 0 {
			h.cache.put(w.doc)
		}
	}
	return n, nil
}

// span is a range of offsets, the last excluded.
type span struct{ first, end int64 }

// in reports whether the entry comes from a mutation in the span of this log.
func (h *handler) in(s span, at resource.Position) bool {
	return at.Log == h.log && at.Partition == h.at.ID && at.Offset >= s.first && at.Offset < s.end
}

// decode never fails: what is no mutation of a known type is dead.
func (h *handler) decode(recs []stream.Record) []item {
	items := make([]item, len(recs))
	for i := range recs {
		it := &items[i]
		it.rec = &recs[i]
		it.at = resource.Position{Log: h.log, Partition: h.at.ID, Offset: recs[i].Offset}
		m, err := resource.DecodeMutation(recs[i].Value)
		if err != nil {
			it.kill("malformed", err.Error())
			continue
		}
		t := h.x.deps.Catalog.Type(m.Ref.Type)
		if t == nil {
			it.kill("unknown_type", "no such type in the catalogue: "+m.Ref.Type)
			continue
		}
		it.m, it.rules = m, &t.Rules
		if !it.folds() {
			it.outcome = forwarded
		}
	}
	return items
}

// kill gives the mutation up, whatever it is folded into.
func (it *item) kill(reason, detail string) {
	it.dead, it.final = &death{reason, detail}, true
}

// base is the tally before the batch that begins at first.
func (h *handler) base(first int64) Tally {
	if first >= h.next {
		h.before = h.after
	}
	return h.before.clone()
}

// settle counts the batch and returns the tally to commit with it.
func (h *handler) settle(b stream.Batch, items []item) (string, error) {
	t := h.base(b.Records[0].Offset)
	t.Lost += b.Lost
	outcomes := make(map[string]int)
	for i := range items {
		it := &items[i]
		t.count(it)
		outcome := string(cmp.Or(it.outcome, fold.Stale))
		if it.dead != nil {
			outcome = outcomeDead
		}
		outcomes[outcome]++
	}
	metadata, err := t.encode()
	if err != nil {
		return "", err
	}
	for outcome, n := range outcomes {
		h.x.metrics.mutations.WithLabelValues(outcome).Add(float64(n))
	}
	h.x.metrics.lost.Add(float64(b.Lost))
	h.after, h.next, h.began = t, items[len(items)-1].at.Offset+1, items[0].at.Offset
	h.x.note(h.at, Book{Offset: h.next, Behind: max(0, b.HighWater-h.next), Tally: t})
	return metadata, nil
}
