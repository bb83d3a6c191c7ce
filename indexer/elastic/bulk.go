package elastic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/fresnel-search/fresnel/indexer/resource/wire"
)

// bulk is a bulk request being built: its body, and where each item begins in it.
type bulk struct {
	body  []byte
	items []bulkItem
}

type bulkItem struct {
	slug  string
	ix    *index
	start int // of the item in the body
}

// kind is the action of an item.
type kind string

const (
	create kind = "create"
	put    kind = "index"
	drop   kind = "delete"
)

// action begins an item. A version makes it conditional on being at that place.
func (b *bulk) action(k kind, it bulkItem, id string, version int64) {
	it.start = len(b.body)
	b.items = append(b.items, it)
	b.body = append(append(append(b.body, `{"`...), k...), `":{"_index":"`...)
	b.body = append(append(b.body, it.ix.write...), `","_id":`...)
	b.body = wire.AppendString(b.body, id)
	if version > 0 {
		p := placeOf(version)
		b.body = strconv.AppendInt(append(b.body, `,"if_seq_no":`...), p.seq, 10)
		b.body = strconv.AppendInt(append(b.body, `,"if_primary_term":`...), p.term, 10)
	}
	b.body = append(b.body, '}', '}', '\n')
}

// source ends an item that has a body.
func (b *bulk) source(body []byte) { b.body = append(body, '\n') }

// undo takes back the item begun last.
func (b *bulk) undo() {
	last := len(b.items) - 1
	b.body, b.items = b.body[:b.items[last].start], b.items[:last]
}

// reset empties the bulk and keeps its room.
func (b *bulk) reset() { b.body, b.items = b.body[:0], b.items[:0] }

// half is the items from i to j, on the same bytes.
func (b *bulk) half(i, j int) *bulk {
	end := len(b.body)
	if j < len(b.items) {
		end = b.items[j].start
	}
	start := b.items[i].start
	h := &bulk{body: b.body[start:end:end], items: make([]bulkItem, 0, j-i)}
	for _, it := range b.items[i:j] {
		it.start -= start
		h.items = append(h.items, it)
	}
	return h
}

// result is the outcome of one item. Version is that of what was written.
type result struct {
	outcome
	status  int
	version int64
	typ     string // the server's type of error
	field   string // the field that a rejected document stumbles over, if it is told
}

const bulkFilter = "error,status,items.*.status,items.*._seq_no,items.*._primary_term,items.*.error"

// send sends a bulk and returns an outcome for each item. The error is of the request as
// a whole: it is not known what became of the items. A request that the server refuses
// as it is goes out again in halves, so that only what is refused by itself is refused.
func (s *Store) send(ctx context.Context, b *bulk) ([]result, error) {
	select {
	case s.bulks <- struct{}{}:
		defer func() { <-s.bulks }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return s.sendHeld(ctx, b)
}

func (s *Store) sendHeld(ctx context.Context, b *bulk) ([]result, error) {
	start := time.Now()
	answer, err := s.c.do(ctx, esapi.BulkRequest{
		Body: bytes.NewReader(b.body), Header: ndjson(), RequireAlias: new(true), FilterPath: []string{bulkFilter},
		Timeout: s.cfg.Timeout / 2, // waiting for a shard must end before we end waiting for the answer
	})
	s.metrics.bulk.Observe(time.Since(start).Seconds())
	var refused *Error
	switch {
	case errors.As(err, &refused):
		return s.refused(ctx, b, refused)
	case err != nil:
		return nil, err
	}
	answers, err := decodeBulk(answer)
	if err != nil {
		return nil, fmt.Errorf("answer of a bulk: %w", err)
	}
	if len(answers) != len(b.items) {
		return nil, fmt.Errorf("the server answered for %d of %d items", len(answers), len(b.items))
	}
	out := make([]result, len(answers))
	for i := range answers {
		out[i] = answers[i].result(b.items[i].ix.mark)
	}
	return out, nil
}

// refused gives the outcome of a request that was answered by an error as a whole.
func (s *Store) refused(ctx context.Context, b *bulk, e *Error) ([]result, error) {
	o := classify(e.Status, e.Type)
	if o == conflict {
		o = again // no single item is meant
	}
	if n := len(b.items); n > 1 && (o == large || o == rejected) {
		s.metrics.splits.Inc()
		first, err := s.sendHeld(ctx, b.half(0, n/2))
		if err != nil {
			return nil, err
		}
		second, err := s.sendHeld(ctx, b.half(n/2, n))
		return append(first, second...), err
	}
	out := make([]result, len(b.items))
	for i := range out {
		out[i] = result{outcome: o, status: e.Status, typ: e.Type}
	}
	return out, nil
}

// bulkAnswer is one item of an answer.
type bulkAnswer struct {
	status    int
	seq, term int64
	typ       string
	reason    string // may quote values: only fieldOf looks at it
}

func (a *bulkAnswer) result(mark int) result {
	r := result{outcome: classify(a.status, a.typ), status: a.status, typ: identifier(a.typ)}
	switch r.outcome {
	case rejected:
		r.field = fieldIn(a.reason)
	case done:
		var err error
		if r.version, err = (place{mark, a.term, a.seq}).version(); err != nil {
			r.outcome, r.typ = again, "version_out_of_range"
		}
	default:
	}
	return r
}

// decodeBulk reads the items of a bulk's answer.
func decodeBulk(b []byte) (out []bulkAnswer, err error) {
	r := wire.NewReader(b)
	r.Object(func(name string) bool {
		if name != "items" {
			r.Skip()
			return true
		}
		r.Array(func() {
			a, n := bulkAnswer{}, 0
			r.Object(func(string) bool {
				n++
				a.read(r)
				return true
			})
			if n != 1 || a.status == 0 {
				r.Fail(errors.New("an item says nothing of its outcome"))
			}
			out = append(out, a)
		})
		return true
	})
	return out, r.Close()
}

func (a *bulkAnswer) read(r *wire.Reader) {
	a.seq = -1
	r.Object(func(name string) bool {
		switch name {
		case "status":
			a.status = int(r.Int())
		case "_seq_no":
			a.seq = r.Int()
		case "_primary_term":
			a.term = r.Int()
		case "error":
			a.typ, a.reason = readError(r)
		default:
			r.Skip()
		}
		return true
	})
}

// readError reads the type and the reason of an error of an item.
func readError(r *wire.Reader) (typ, reason string) {
	r.Object(func(name string) bool {
		switch name {
		case "type":
			typ = r.String()
		case "reason":
			reason, _ = r.Any().(string)
		default:
			r.Skip()
		}
		return true
	})
	return typ, reason
}
