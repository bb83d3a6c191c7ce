package elastic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/fresnel-search/fresnel/indexer/resource"
)

// MaxID is the longest id of a document that a server takes, in bytes.
const MaxID = 512

// Write stores docs in one bulk request, or in several if it would be larger than
// Config.BulkBytes, each only if it is still at the version it was loaded with. It
// answers for each document in place; the error is of the request as a whole, no
// outcome is then known, and writing again is safe.
func (s *Store) Write(ctx context.Context, docs []resource.Document) ([]resource.Written, error) {
	w := writing{s: s, docs: docs, out: make([]resource.Written, len(docs)), now: time.Now(), b: s.room.Get().(*bulk)}
	w.b.reset()
	for i := range docs {
		if err := w.add(ctx, i); err != nil {
			return nil, fmt.Errorf("write %d documents: %w", len(docs), err)
		}
		if len(w.b.body) < s.cfg.BulkBytes && i < len(docs)-1 {
			continue
		}
		if err := w.flush(ctx); err != nil {
			return nil, fmt.Errorf("write %d documents: %w", len(docs), err)
		}
	}
	s.room.Put(w.b) // not after an error: the transport may still read it
	return w.out, nil
}

// newRoom keeps the bodies of bulks that were answered, to be used again.
func newRoom() *sync.Pool { return &sync.Pool{New: func() any { return new(bulk) }} }

// writing is one call of Write.
type writing struct {
	s    *Store
	docs []resource.Document
	out  []resource.Written
	now  time.Time
	b    *bulk
	at   []int // the document of each item of b

	missing map[string]error // why a type has no index
}

// add puts a document into the bulk, or answers for it. The error is for all.
func (w *writing) add(ctx context.Context, i int) error {
	ix, err := w.index(ctx, w.docs[i].Ref.Type)
	if w.refuse(i, ix, err) {
		return nil
	}
	if err == nil {
		w.out[i].Err = w.put(i, ix)
	}
	return err
}

// index looks once in a call for an index that there is not.
func (w *writing) index(ctx context.Context, typ string) (*index, error) {
	if err := w.missing[typ]; err != nil {
		return nil, err
	}
	ix, err := w.s.index(ctx, typ)
	if errors.Is(err, errMissing) {
		if w.missing == nil {
			w.missing = map[string]error{}
		}
		w.missing[typ] = err
	}
	return ix, err
}

// refuse answers for a document that is not even encoded, and reports whether it did.
func (w *writing) refuse(i int, ix *index, err error) bool {
	w.out[i].Err = w.obstacle(&w.docs[i], ix, err)
	return w.out[i].Err != nil
}

// obstacle is why a document is not even encoded; err is why there is no index for it.
func (w *writing) obstacle(d *resource.Document, ix *index, err error) error {
	switch {
	case w.s.types[d.Ref.Type] == nil:
		return fmt.Errorf("%s: %w: %w", d.Ref, resource.ErrRejected, err)
	case errors.Is(err, errMissing):
		return w.s.unavailable(slug(d.Ref.Type), err)
	case d.Ref.ID == "" || len(d.Ref.ID) > MaxID:
		return fmt.Errorf("%s: %w: its id has %d bytes, and must have from 1 to %d", d.Ref.Type, resource.ErrRejected, len(d.Ref.ID), MaxID)
	case err == nil && d.Version != 0 && !placeOf(d.Version).of(ix):
		return fmt.Errorf("%s: %w: it was loaded from another generation", d.Ref, resource.ErrConflict)
	default:
		return nil
	}
}

// put appends a document to the bulk; the error wraps ErrRejected, and is its own.
func (w *writing) put(i int, ix *index) error {
	d, k := &w.docs[i], put
	if d.Version == 0 {
		k = create
	}
	w.b.action(k, bulkItem{slug: slug(d.Ref.Type), ix: ix}, d.Ref.ID, d.Version)
	body, err := ix.layout.Encode(w.b.body, d, w.now)
	if err != nil {
		w.b.undo()
		return err
	}
	w.b.source(body)
	w.at = append(w.at, i)
	return nil
}

// flush sends what there is.
func (w *writing) flush(ctx context.Context) error {
	if len(w.b.items) == 0 {
		return nil
	}
	results, err := w.s.send(ctx, w.b)
	if err != nil {
		return err
	}
	verdicts := w.s.judge(ctx, w.b, results)
	for n, i := range w.at {
		w.out[i] = resource.Written{Version: results[n].version, Err: verdicts[n]}
		if e := verdicts[n]; e != nil {
			w.out[i] = resource.Written{Err: fmt.Errorf("%s: %w", w.docs[i].Ref, e)}
		}
	}
	w.b.reset()
	w.at = w.at[:0]
	return nil
}

// judge makes errors of outcomes, in the words of package resource; nil for what is
// done. It looks again at indices that are gone, and remembers those that are blocked.
func (s *Store) judge(ctx context.Context, b *bulk, results []result) []error {
	errs := make([]error, len(results))
	var counts [outcomes]int
	wrote := map[string]bool{}
	found := looks{}
	for i := range results {
		r, it := &results[i], &b.items[i]
		if r.outcome == rejected && r.typ == typeArgument {
			s.doubt(ctx, r, it, found)
		}
		counts[r.outcome]++
		errs[i] = s.verdict(ctx, r, it, found)
		if r.outcome == done && !wrote[it.slug] {
			wrote[it.slug] = true
			s.blocked.clear(it.slug)
		}
	}
	for o, n := range counts {
		if n > 0 {
			s.metrics.items.WithLabelValues(outcome(o).String()).Add(float64(n))
		}
	}
	return errs
}

// typeArgument is said of documents with too much in them, but also of aliases that do
// not stand as they should: no document may be given up on for that.
const typeArgument = "illegal_argument_exception"

// looks are what was found in place of indices, once for all items of a bulk.
type looks map[*index]func() (*index, error)

func (s *Store) lookOnce(ctx context.Context, it *bulkItem, l looks) (*index, error) {
	if l[it.ix] == nil {
		l[it.ix] = sync.OnceValues(func() (*index, error) { return s.indices.again(ctx, it.slug, it.ix) })
	}
	return l[it.ix]()
}

// doubt looks whether a rejection is the index's fault.
func (s *Store) doubt(ctx context.Context, r *result, it *bulkItem, l looks) {
	switch found, err := s.lookOnce(ctx, it, l); {
	case errors.Is(err, errMissing) || err == nil && found.name != it.ix.name:
		r.outcome = moved
	case err != nil:
		r.outcome = again
	}
}

func (s *Store) verdict(ctx context.Context, r *result, it *bulkItem, l looks) error {
	switch r.outcome {
	case done:
		return nil
	case conflict:
		return resource.ErrConflict
	case moved:
		if _, err := s.lookOnce(ctx, it, l); err != nil {
			return s.unavailable(it.slug, err)
		}
		return fmt.Errorf("%w: the index has a new generation", resource.ErrConflict)
	case blocking:
		return s.unavailable(it.slug, fmt.Errorf("index %s takes no writes: %s", it.ix.name,
			cmp.Or(r.typ, fmt.Sprintf("%d without a type of error, as of a proxy", r.status))))
	case denied:
		return s.unavailable(it.slug, fmt.Errorf("the login may not write to index %s (%d %s)", it.ix.name, r.status, r.typ))
	case large:
		return fmt.Errorf("%w: alone it is larger than a request may be", resource.ErrRejected)
	case rejected:
		return fmt.Errorf("%w: %d %s%s", resource.ErrRejected, r.status, r.typ, r.field)
	default:
		return fmt.Errorf("%w: %d %s", resource.ErrAgain, r.status, r.typ)
	}
}

// unavailable remembers why a type takes no writes, until one succeeds.
func (s *Store) unavailable(slug string, why error) error {
	s.blocked.set(slug, why.Error())
	return fmt.Errorf("%w: %w", resource.ErrAgain, why)
}

// fieldPattern finds what a server says of the field that it stumbles over. Its texts
// quote values too, which no error of ours may hold.
var fieldPattern = regexp.MustCompile(`(?:field|introduction of|object mapping for) \[([A-Za-z0-9_.:-]{1,128})\]`)

func fieldIn(reason string) string {
	if m := fieldPattern.FindStringSubmatch(reason); m != nil {
		return " at field " + m[1]
	}
	return ""
}
