package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
)

// errDiffer says that the two indices do not hold the same.
var errDiffer = errors.New("the new index does not hold what the old one does")

// errUnsure says that the swap may have taken place, or still may: what is written to
// the old index now could be lost.
var errUnsure = errors.New("it is not known whether the new index serves")

// handOver pauses writers, copies the rest, compares and swaps. Where that would take
// too long it lets writers go on, copies what they changed, and tries once more.
func (r *rebuild) handOver(ctx context.Context) error {
	for try := 1; ; try++ {
		if err := r.dropExtras(ctx); err != nil {
			return err
		}
		err := r.paused(ctx)
		switch {
		case err == nil:
			return r.late(ctx)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case r.cp.Blocked: // still: the next attempt begins with letting writers go on
			return err
		case !errors.Is(err, errSlow) && !errors.Is(err, errDiffer) && !errors.Is(err, resource.ErrAgain):
			return err
		case try == maxPauses:
			return fmt.Errorf("%w: %d times: %w; copy faster (without a rate), or when less is written", resource.ErrRejected, try, err)
		}
		r.s.log.Warn("writers were paused in vain", "resource_type", r.job.Type, "attempt", try, "err", err)
		if err := r.copyAll(ctx); err != nil {
			return err
		}
	}
}

// paused is what is done while writers wait. Either the new index serves when it
// returns, or writers go on, or it is not known which: the next attempt finds out.
func (r *rebuild) paused(ctx context.Context) (err error) {
	r.cp.Blocked, r.job.Blocks = true, true
	r.job.Pauses++
	if err := r.step(ctx, phaseBlock); err != nil {
		return err
	}
	began := time.Now()
	note := func() { r.job.Paused = max(r.job.Paused, time.Since(began)) }
	bounded, cancel := context.WithTimeoutCause(ctx, pauseBudget, errSlow)
	defer cancel()
	err = r.finish(bounded)
	if err == nil {
		err = r.swap(ctx)
	}
	if err == nil {
		note()
		return r.serves(ctx)
	}
	if errors.Is(context.Cause(bounded), errSlow) {
		err = errors.Join(errSlow, err)
	}
	if errors.Is(err, errUnsure) {
		return err
	}
	if uerr := r.unblock(ctx); uerr != nil {
		return errors.Join(err, uerr)
	}
	note()
	return err
}

// unblock lets writers go on, also where ctx is done: but not if somebody else has
// the lease, whose block it may be.
func (r *rebuild) unblock(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), undoLimit, errTimeout)
	defer cancel()
	if err := r.save(ctx); errors.Is(err, record.ErrLeaseLost) {
		return err
	}
	if err := r.settings(ctx, r.from(), map[string]any{"blocks.write": nil}); err != nil {
		return err
	}
	r.cp.Blocked, r.job.Blocks = false, false
	return nil
}

// finish blocks the old index, copies the rest, and compares. The answer to the block
// comes when every write that was under way has ended.
func (r *rebuild) finish(ctx context.Context) error {
	var answer struct {
		Shards bool `json:"shards_acknowledged"`
	}
	err := r.s.ask(ctx, esapi.IndicesAddBlockRequest{Index: []string{r.from()}, Block: "write"}, &answer)
	if err == nil && !answer.Shards {
		err = resource.ErrAgain
	}
	if err != nil {
		return fmt.Errorf("block %s: %w", r.from(), err)
	}
	r.name(phaseRest)
	var h heads
	err = together(
		func() (err error) { h, err = r.settled(ctx); return err },
		func() error { return r.refresh(ctx, r.from()) },
	)
	if err != nil {
		return err
	}
	for i, top := range h.max {
		if err := r.copyShard(ctx, i, top, false); err != nil {
			return err
		}
	}
	r.name(phaseVerify)
	if err := r.verify(ctx); err != nil {
		return err
	}
	r.name(phaseSwap)
	return nil
}

// together runs functions at once and waits for all.
func together(fs ...func() error) error {
	errs := make([]error, len(fs))
	var wg sync.WaitGroup
	for i, f := range fs {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// settled waits until every copy of each shard has all that the primary has.
func (r *rebuild) settled(ctx context.Context) (heads, error) {
	for {
		h, err := r.heads(ctx)
		if err != nil {
			return h, err
		}
		same := true
		for i := range h.max {
			same = same && h.max[i] == h.safe[i]
		}
		if same {
			return h, nil
		}
		if err := wait(ctx, 50*time.Millisecond); err != nil {
			return h, err
		}
	}
}

// verify compares the numbers of documents, and some documents whole.
func (r *rebuild) verify(ctx context.Context) error {
	if err := r.refresh(ctx, r.to()); err != nil {
		return err
	}
	var have, want int64
	err := together(
		func() (err error) { have, want, err = r.counts(ctx); return err },
		func() error { return r.compare(ctx) },
	)
	if err != nil {
		return err
	}
	if have > want {
		if err := r.dropTombstones(ctx); err != nil {
			return err
		}
		if have, want, err = r.counts(ctx); err != nil {
			return err
		}
	}
	if have != want {
		return fmt.Errorf("%w: %d documents, and not %d", errDiffer, have, want)
	}
	return nil
}

// counts counts the documents of the new index and of the old one.
func (r *rebuild) counts(ctx context.Context) (have, want int64, err error) {
	err = together(
		func() (err error) { have, err = r.count(ctx, r.to()); return err },
		func() (err error) { want, err = r.count(ctx, r.from()); return err },
	)
	return have, want, err
}

// compare reads some documents from both indices.
func (r *rebuild) compare(ctx context.Context) error {
	if len(r.sample) == 0 {
		return nil
	}
	var old, made []hit
	err := together(
		func() (err error) { old, err = r.get(ctx, r.from(), r.sample, true); return err },
		func() (err error) { made, err = r.get(ctx, r.to(), r.sample, true); return err },
	)
	if err != nil {
		return err
	}
	for i, h := range old {
		if h.Found != made[i].Found {
			return fmt.Errorf("%w: document %q", errDiffer, cut(h.ID))
		}
		if !h.Found {
			continue
		}
		want, err := r.convert(nil, h)
		if err != nil {
			return err
		}
		have, err := r.convert(nil, made[i])
		if err != nil {
			return err
		}
		if !bytes.Equal(want, have) {
			return fmt.Errorf("%w: document %q", errDiffer, cut(h.ID))
		}
	}
	return nil
}

// get reads documents by id, realtime, in the order of ids.
func (r *rebuild) get(ctx context.Context, index string, ids []string, source bool) ([]hit, error) {
	body, err := json.Marshal(map[string]any{"ids": ids})
	if err != nil {
		return nil, err
	}
	q := esapi.MgetRequest{Index: index, Body: bytes.NewReader(body)}
	if !source {
		q.Source = []string{"false"}
	}
	var answer struct {
		Docs []struct {
			hit
			Error json.RawMessage `json:"error"`
		} `json:"docs"`
	}
	err = r.s.ask(ctx, q, &answer)
	if err == nil && len(answer.Docs) != len(ids) {
		err = resource.ErrAgain
	}
	out := make([]hit, len(answer.Docs))
	for i, d := range answer.Docs {
		if out[i] = d.hit; len(d.Error) > 0 {
			err = resource.ErrAgain
		}
	}
	if err != nil {
		return nil, fmt.Errorf("get %d documents of %s: %w", len(ids), index, err)
	}
	return out, nil
}

// dropExtras removes from the new index what was removed from the old one after it was
// copied: tombstones, as a rule.
func (r *rebuild) dropExtras(ctx context.Context) error {
	for _, drop := range []func(context.Context) error{r.dropTombstones, r.dropAny} {
		if err := r.refresh(ctx, r.from()); err != nil {
			return err
		}
		if err := r.refresh(ctx, r.to()); err != nil {
			return err
		}
		have, want, err := r.counts(ctx)
		if err != nil || have <= want {
			return err
		}
		if err := drop(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *rebuild) dropTombstones(ctx context.Context) error {
	return r.dropMissing(ctx, `{"term":{"deleted":true}}`)
}

func (r *rebuild) dropAny(ctx context.Context) error { return r.dropMissing(ctx, `{"match_all":{}}`) }

// dropMissing removes documents from the new index, of those a query finds, that the
// old one does not have. One that comes back there has a higher sequence number then,
// and is copied again.
func (r *rebuild) dropMissing(ctx context.Context, query string) error {
	for after := []byte(nil); ; {
		page, err := r.ids(ctx, query, after)
		if err != nil || len(page) == 0 {
			return errors.Join(err, r.refreshIf(ctx, err == nil))
		}
		var names []string
		for _, h := range page {
			names = append(names, h.ID)
		}
		old, err := r.get(ctx, r.from(), names, false)
		if err != nil {
			return err
		}
		var body []byte
		var lines [][2]int
		for i, h := range old {
			if h.Found {
				continue
			}
			id, err := json.Marshal(h.ID)
			if err != nil {
				return err
			}
			start := len(body)
			body = fmt.Appendf(body, `{"delete":{"_id":%s,"if_seq_no":%d,"if_primary_term":%d}}`+"\n", id, page[i].Seq, page[i].Term)
			lines = append(lines, [2]int{start, len(body)})
		}
		if _, err := r.bulk(ctx, body, lines); err != nil {
			return err
		}
		if after, err = json.Marshal(page[len(page)-1].Sort); err != nil {
			return err
		}
		if err := r.tick(ctx); err != nil {
			return err
		}
	}
}

func (r *rebuild) refreshIf(ctx context.Context, yes bool) error {
	if !yes {
		return nil
	}
	return r.refresh(ctx, r.to())
}

// sorted is a hit with the values that it is sorted by.
type sorted struct {
	hit
	Sort []json.RawMessage `json:"sort"`
}

// ids is a page of documents of the new index, by id.
func (r *rebuild) ids(ctx context.Context, query string, after []byte) ([]sorted, error) {
	body := fmt.Appendf(nil, `{"size":1000,"query":%s,"sort":[{"id":"asc"}],"_source":false,"track_total_hits":false,"seq_no_primary_term":true`, query)
	if after != nil {
		body = append(append(body, `,"search_after":`...), after...)
	}
	body = append(body, '}')
	var answer struct {
		Hits struct {
			Hits []sorted `json:"hits"`
		} `json:"hits"`
	}
	err := r.s.ask(ctx, esapi.SearchRequest{
		Index: []string{r.to()}, Body: bytes.NewReader(body), AllowPartialSearchResults: new(false),
	}, &answer)
	if err != nil {
		return nil, fmt.Errorf("list documents of %s: %w", r.to(), err)
	}
	return answer.Hits.Hits, nil
}

// swap moves both aliases in one step, which takes place only while the turn is ours.
// If its answer is lost, the turn is taken anew: where that is possible the swap has
// not taken place, and cannot any more. Else the error wraps errUnsure.
func (r *rebuild) swap(ctx context.Context) error {
	err := r.aliases(context.WithoutCancel(ctx), swapLimit, []any{
		action("remove", r.from(), r.cp.Turn),
		action("remove", r.from(), readAlias(r.from())),
		action("remove", r.from(), writeAlias(r.from())),
		action("remove", r.to(), copyAlias(r.to())),
		action("add", r.to(), readAlias(r.to())),
		action("add", r.to(), writeAlias(r.to())),
	})
	if err == nil {
		return nil
	}
	bounded, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), undoLimit, errTimeout)
	defer cancel()
	for range 3 {
		served, lerr := r.served(bounded)
		switch {
		case served:
			return nil
		case lerr != nil:
			return errors.Join(errUnsure, err, lerr)
		}
		// Not yet. It may still wait in a queue of the server's: it comes to nothing once
		// the turn is another one. If that cannot be had, the swap has come before it.
		terr := r.takeTurn(bounded)
		if terr == nil {
			return err
		}
		err = errors.Join(err, terr)
	}
	return errors.Join(errUnsure, err)
}

// served reports whether the new index serves.
func (r *rebuild) served(ctx context.Context) (bool, error) {
	found, err := r.s.indices.list(ctx, r.slug)
	return slices.ContainsFunc(found[r.slug], func(st standing) bool { return st.generation == r.cp.To && st.serves }), err
}

// late copies what reached the old index between its last copy and the swap although
// it was blocked: nothing, unless somebody lifted the block.
func (r *rebuild) late(ctx context.Context) error {
	h, err := r.heads(ctx)
	if err != nil || r.rest(h) == 0 {
		return err
	}
	r.s.log.Error("old index was written while it was blocked; copying that too", "resource_type", r.job.Type, "count", r.rest(h))
	if err := r.refresh(ctx, r.from()); err != nil {
		return err
	}
	r.sink = r.to()
	for i, top := range h.max {
		if err := r.copyShard(ctx, i, top, false); err != nil {
			return err
		}
	}
	return nil
}
