package elastic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/resource/wire"
)

// loadSize is how many documents one request asks for; rounds is how often a place
// is looked for again that a reindex has moved in between.
const (
	loadSize = 500
	rounds   = 3
)

// wanted is one document asked for, and then what was found.
type wanted struct {
	slug string
	id   string
	ix   *index
	err  error // of the server; moved ones are asked for again

	version int64 // 0: there is none
}

// Load returns the documents in the order of refs, realtime: everything acknowledged
// is seen, searchable or not. One that is not stored has Version 0 and only its Ref.
func (s *Store) Load(ctx context.Context, refs []resource.Ref) ([]resource.Document, error) {
	docs := make([]resource.Document, len(refs))
	for from := 0; from < len(refs); from += loadSize {
		to := min(from+loadSize, len(refs))
		if err := s.load(ctx, refs[from:to], docs[from:to]); err != nil {
			return nil, fmt.Errorf("load %d documents: %w", len(refs), err)
		}
	}
	return docs, nil
}

func (s *Store) load(ctx context.Context, refs []resource.Ref, docs []resource.Document) error {
	want := make([]wanted, 0, len(refs))
	at := make([]int, 0, len(refs))
	for i, ref := range refs {
		docs[i].Ref = ref
		if ref.ID == "" || len(ref.ID) > MaxID || s.types[ref.Type] == nil {
			continue // never stored
		}
		want, at = append(want, wanted{slug: slug(ref.Type), id: ref.ID}), append(at, i)
	}
	err := s.get(ctx, want, func(i int, r *wire.Reader) error {
		stored, err := layout.Read(r)
		if err == nil && stored.Document.Ref != refs[at[i]] {
			err = fmt.Errorf("the document of %s says that it is another's", refs[at[i]])
		}
		docs[at[i]] = stored.Document
		return err
	})
	for i := range want {
		docs[at[i]].Version = want[i].version
	}
	return err
}

// get fetches documents by id, realtime; source reads the _source of one that is there.
func (s *Store) get(ctx context.Context, want []wanted, source func(i int, r *wire.Reader) error) error {
	left := make([]int, len(want))
	for i := range left {
		left[i] = i
	}
	for round := 0; len(left) > 0; round++ {
		if round == rounds {
			return fmt.Errorf("an index moves on and on: %w", want[left[0]].err)
		}
		if err := s.multiGet(ctx, want, left, source); err != nil {
			return err
		}
		var rest []int
		for _, i := range left {
			w := &want[i]
			if w.err == nil {
				continue
			}
			if !gone(w.err) {
				return w.err
			}
			if _, err := s.indices.again(ctx, w.slug, w.ix); err != nil {
				return err
			}
			rest = append(rest, i)
		}
		left = rest
	}
	return nil
}

// multiGet asks once for the documents numbered in left.
func (s *Store) multiGet(ctx context.Context, want []wanted, left []int, source func(int, *wire.Reader) error) error {
	body := make([]byte, 0, 96*len(left)+16)
	body = append(body, `{"docs":[`...)
	for n, i := range left {
		w := &want[i]
		var err error
		if w.ix, err = s.indices.current(ctx, w.slug); err != nil {
			return err
		}
		if n > 0 {
			body = append(body, ',')
		}
		body = append(append(append(body, `{"_index":"`...), w.ix.read...), `","_id":`...)
		body = append(wire.AppendString(body, w.id), '}')
	}
	body = append(body, ']', '}')
	answer, err := s.c.do(ctx, esapi.MgetRequest{Body: bytes.NewReader(body)})
	if err != nil {
		return err
	}
	n := 0
	err = decodeGet(answer, func(r *wire.Reader) {
		if n == len(left) {
			r.Fail(errors.New("more documents than were asked for"))
			return
		}
		r.Fail(want[left[n]].read(r, func() error { return source(left[n], r) }))
		n++
	})
	if err == nil && n < len(left) {
		err = fmt.Errorf("%d of %d documents", n, len(left))
	}
	if err != nil {
		return fmt.Errorf("answer of a multi-get: %w", err)
	}
	return nil
}

// decodeGet calls doc at each document of a multi-get's answer.
func decodeGet(b []byte, doc func(r *wire.Reader)) error {
	r := wire.NewReader(b)
	r.Object(func(name string) bool {
		if name == "docs" {
			r.Array(func() { doc(r) })
		} else {
			r.Skip()
		}
		return true
	})
	return r.Close()
}

// read reads one document of the answer.
func (w *wanted) read(r *wire.Reader, source func() error) error {
	var (
		id, typ       string
		found, failed bool
		err           error
	)
	p := place{mark: w.ix.mark, seq: -1}
	r.Object(func(name string) bool {
		switch name {
		case "_id":
			id = r.String()
		case "found":
			found = r.Bool()
		case "_seq_no":
			p.seq = r.Int()
		case "_primary_term":
			p.term = r.Int()
		case "error":
			typ, _ = readError(r)
			failed = true
		case "_source":
			err = source()
		default:
			r.Skip()
		}
		return true
	})
	w.err, w.version = nil, 0
	switch {
	case err != nil:
		return err
	case id != w.id:
		return errors.New("a document that was not asked for")
	case failed:
		w.err = &Error{Status: http.StatusInternalServerError, Type: identifier(typ)}
		if typ == typeNotFound {
			w.err = &Error{Status: http.StatusNotFound, Type: typ}
		}
	case found:
		w.version, err = p.version()
	}
	return err
}
