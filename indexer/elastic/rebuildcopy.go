package elastic

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
	"github.com/fresnel-search/fresnel/indexer/resource"
)

// How much is read at once: it starts at firstPage documents and is kept such that an
// answer has from smallPage to largePage bytes. One with more than tooLarge is not even
// read to its end.
const (
	firstPage = 500
	mostPage  = 2000
	smallPage = 2 << 20
	largePage = 8 << 20
	tooLarge  = 32 << 20
	// samples is how many documents are compared at the end, whole.
	samples = 32
)

// heads is how far each shard of an index has got: max is the sequence number of its
// last operation; everything up to safe is on every copy, and stays.
type heads struct{ max, safe []int64 }

func (r *rebuild) heads(ctx context.Context) (heads, error) {
	var answer struct {
		Indices map[string]struct {
			Shards map[string][]struct {
				Routing struct {
					Primary bool   `json:"primary"`
					State   string `json:"state"`
				} `json:"routing"`
				Seq *struct {
					Max    int64 `json:"max_seq_no"`
					Global int64 `json:"global_checkpoint"`
				} `json:"seq_no"`
			} `json:"shards"`
		} `json:"indices"`
	}
	err := r.s.ask(ctx, esapi.IndicesStatsRequest{Index: []string{r.from()}, Metric: []string{"docs"}, Level: "shards"}, &answer)
	if err != nil {
		return heads{}, fmt.Errorf("sequence numbers of %s: %w", r.from(), err)
	}
	shards := answer.Indices[r.from()].Shards
	h := heads{max: make([]int64, len(shards)), safe: make([]int64, len(shards))}
	for i := range h.max {
		found := false
		for _, c := range shards[strconv.Itoa(i)] {
			if c.Routing.Primary && c.Routing.State == "STARTED" && c.Seq != nil {
				h.max[i], h.safe[i], found = c.Seq.Max, c.Seq.Global, true
			}
		}
		if !found {
			return heads{}, fmt.Errorf("shard %d of %s is not there: %w", i, r.from(), resource.ErrAgain)
		}
	}
	if len(shards) == 0 {
		return heads{}, fmt.Errorf("%s has no shards: %w", r.from(), resource.ErrAgain)
	}
	return h, nil
}

// rest is how many operations are not copied.
func (r *rebuild) rest(h heads) (n int64) {
	for i, m := range h.max {
		n += m - r.cp.Copied[i]
	}
	return n
}

// copyAll copies until what is left is small: first everything, then what changed
// meanwhile, again and again.
func (r *rebuild) copyAll(ctx context.Context) error {
	h, err := r.heads(ctx)
	if err != nil {
		return err
	}
	if len(r.cp.Copied) != len(h.max) {
		r.cp.Copied = make([]int64, len(h.max))
		for i := range r.cp.Copied {
			r.cp.Copied[i] = -1
		}
		r.job.Pass = 0
	}
	for settled := false; ; settled = true {
		phase := phaseCatchUp
		if r.job.Pass++; r.job.Pass == 1 {
			phase = phaseCopy
		}
		if err := r.copyPass(ctx, phase, h); err != nil {
			return err
		}
		if !settled {
			if err := r.settle(ctx); err != nil {
				return err
			}
		}
		if h, err = r.heads(ctx); err != nil {
			return err
		}
		if settled && (r.small(r.rest(h)) || r.job.Pass >= maxPasses) {
			return nil
		}
	}
}

// small reports whether so many operations are copied soon, at the rate of this pass,
// and the servers are quick enough just now.
func (r *rebuild) small(n int64) bool {
	if r.pass.slow > quickPass {
		return false
	}
	each := r.pass.busy / time.Duration(max(1, r.pass.copied))
	return n <= 200 || time.Duration(n)*min(each, 10*time.Millisecond) <= smallRest
}

// copyPass copies, shard by shard, what was changed since the pass before and is
// there now. A document that changes meanwhile is left to the next pass.
func (r *rebuild) copyPass(ctx context.Context, phase string, h heads) error {
	r.pass.began, r.pass.busy, r.pass.copied = time.Now(), 0, 0
	r.job.Copied, r.job.Total, r.job.Left, r.job.PerSecond = 0, 0, 0, 0
	for i, safe := range h.safe {
		r.job.Total += safe - r.cp.Copied[i]
	}
	if r.job.Pass == 1 {
		n, err := r.count(ctx, r.from())
		if err != nil {
			return err
		}
		r.job.Total = n
	}
	if err := r.step(ctx, phase); err != nil {
		return err
	}
	if err := r.refresh(ctx, r.from()); err != nil {
		return err
	}
	for i, safe := range h.safe {
		if err := r.copyShard(ctx, i, safe, true); err != nil {
			return err
		}
	}
	r.pass.slow = time.Since(r.pass.began) - r.pass.busy
	return nil
}

// copyShard copies the documents of one shard that were written last by an operation
// after what is copied, up to the one given. All of those have been refreshed. An
// operation may not be seen yet although a later one is; but not one up to the global
// checkpoint, which every copy of the shard has.
func (r *rebuild) copyShard(ctx context.Context, shard int, upTo int64, limited bool) error {
	for after := r.cp.Copied[shard]; after < upTo; {
		began := time.Now()
		page, size, err := r.read(ctx, shard, after, upTo)
		if err != nil {
			return err
		}
		last := len(page) < r.page
		if err := r.write(ctx, page); err != nil {
			return err
		}
		r.pass.busy += time.Since(began)
		if after = upTo; !last {
			after = page[len(page)-1].Seq
		}
		r.cp.Copied[shard] = after
		r.progress(page)
		if limited {
			if err := r.limit.WaitN(ctx, min(len(page), r.limit.Burst())); err != nil {
				return err
			}
		}
		if err := r.tick(ctx); err != nil {
			return err
		}
		r.resize(len(page), size)
	}
	return nil
}

// resize chooses how many documents the next page has.
func (r *rebuild) resize(n, size int) {
	switch {
	case size > largePage:
		r.page = max(1, n/2)
	case size < smallPage && n == r.page && r.job.Rate == 0:
		r.page = min(mostPage, r.page*2)
	}
}

func (r *rebuild) progress(page []hit) {
	r.pass.copied += int64(len(page))
	r.job.Copied = r.pass.copied
	r.job.Total = max(r.job.Total, r.job.Copied)
	r.job.PerSecond = float64(r.pass.copied) / max(time.Since(r.pass.began).Seconds(), 1e-3)
	r.job.Left = time.Duration(float64(r.job.Total-r.job.Copied) / r.job.PerSecond * float64(time.Second)).Round(time.Millisecond)
	for _, h := range page {
		if len(r.sample) < samples {
			r.sample = append(r.sample, h.ID)
		} else if i := rand.IntN(int(min(r.pass.copied, 1<<30))); i < samples {
			r.sample[i] = h.ID
		}
	}
}

// hit is a stored document with its place.
type hit struct {
	ID     string          `json:"_id"`
	Found  bool            `json:"found"` // of a get
	Source json.RawMessage `json:"_source"`
	Seq    int64           `json:"_seq_no"`
	Term   int64           `json:"_primary_term"`
}

type hits struct {
	Hits struct {
		Hits []hit `json:"hits"`
	} `json:"hits"`
}

// read is the next page of a shard by sequence number, and its size in bytes. Where
// documents have become larger all at once it asks for fewer of them.
func (r *rebuild) read(ctx context.Context, shard int, after, upTo int64) ([]hit, int, error) {
	for {
		page, size, err := r.readPage(ctx, shard, after, upTo)
		if !tooMuch(err) || r.page == 1 {
			return page, size, err
		}
		r.page = max(1, r.page/4)
	}
}

const typeBreaker = "circuit_breaking_exception"

// tooMuch reports whether fewer documents at once may do: also where the server has not
// the memory for an answer.
func tooMuch(err error) bool {
	var e *Error
	return errors.Is(err, errLong) || errors.As(err, &e) && (e.Type == typeBreaker || e.Cause == typeBreaker)
}

func (r *rebuild) readPage(ctx context.Context, shard int, after, upTo int64) ([]hit, int, error) {
	body := fmt.Sprintf(`{"size":%d,"query":{"range":{"_seq_no":{"gt":%d,"lte":%d}}},"sort":[{"_seq_no":"asc"}],`+
		`"track_total_hits":false,"seq_no_primary_term":true}`, r.page, after, upTo)
	answer, err := r.s.c.bounded(ctx, r.s.cfg.Timeout, tooLarge, esapi.SearchRequest{
		Index: []string{r.from()}, Body: strings.NewReader(body),
		Preference: "_shards:" + strconv.Itoa(shard), AllowPartialSearchResults: new(false),
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", r.from(), err)
	}
	var found hits
	if err := json.Unmarshal(answer, &found); err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", r.from(), err)
	}
	return found.Hits.Hits, len(answer), nil
}

// write stores a page in the new index, in the layout of the catalogue. Its version
// there is its sequence number here: so writing again is safe, and what a late
// request carries never replaces what is newer.
func (r *rebuild) write(ctx context.Context, page []hit) error {
	var b []byte
	var lines [][2]int
	for _, h := range page {
		start := len(b)
		id, err := json.Marshal(h.ID)
		if err != nil {
			return err
		}
		b = fmt.Appendf(b, `{"index":{"_id":%s,"version":%d,"version_type":"external_gte"}}`+"\n", id, h.Seq+1)
		if b, err = r.convert(b, h); err != nil {
			return err
		}
		b = append(b, '\n')
		lines = append(lines, [2]int{start, len(b)})
	}
	for attempt := 0; len(lines) > 0; attempt++ {
		var err error
		if lines, err = r.bulk(ctx, b, lines); err != nil {
			return err
		}
		if len(lines) > 0 && attempt == 20 {
			return fmt.Errorf("write %d documents into %s: %w", len(lines), r.to(), resource.ErrAgain)
		}
		if len(lines) > 0 {
			d := min(50*time.Millisecond<<min(attempt, 6), 2*time.Second)
			if err := wait(ctx, d/2+rand.N(d/2)); err != nil {
				return err
			}
		}
	}
	return nil
}

// convert appends a document as the new index has it.
func (r *rebuild) convert(b []byte, h hit) ([]byte, error) {
	st, err := layout.Decode(h.Source)
	if err != nil {
		return nil, fmt.Errorf("%w: a document of %s cannot be read: %w", resource.ErrRejected, r.from(), err)
	}
	return r.want.Encode(b, &st.Document, st.Written)
}

// bulk sends some lines of b, as many at once as a request takes, and returns those
// that are to be sent again.
func (r *rebuild) bulk(ctx context.Context, b []byte, lines [][2]int) (left [][2]int, err error) {
	most := r.s.cfg.BulkBytes
	for len(lines) > 0 {
		var body []byte
		n := 0
		for n < len(lines) && (n == 0 || len(body)+lines[n][1]-lines[n][0] <= most) {
			body = append(body, b[lines[n][0]:lines[n][1]]...)
			n++
		}
		answer, err := r.s.c.do(ctx, esapi.BulkRequest{
			Index: cmp.Or(r.sink, copyAlias(r.to())), RequireAlias: new(r.sink == ""), Body: bytes.NewReader(body), Header: ndjson(),
			FilterPath: []string{"errors,items.*.status,items.*.error.type"},
		})
		var e *Error
		switch {
		case errors.As(err, &e) && classify(e.Status, e.Type) == large && n > 1:
			most = len(body) / 2
			continue
		case errors.As(err, &e) && classify(e.Status, e.Type) == again:
			left = append(left, lines[:n]...)
		case err != nil:
			return nil, fmt.Errorf("write into %s: %w", r.to(), err)
		default:
			failed, err := r.failed(answer, lines[:n])
			if err != nil {
				return nil, err
			}
			left = append(left, failed...)
		}
		lines = lines[n:]
	}
	return left, nil
}

// failed returns the lines of a bulk that are to be sent again.
func (r *rebuild) failed(answer []byte, lines [][2]int) (left [][2]int, err error) {
	var out struct {
		Errors bool `json:"errors"`
		Items  []map[string]struct {
			Status int `json:"status"`
			Error  struct {
				Type string `json:"type"`
			} `json:"error"`
		} `json:"items"`
	}
	if err := json.NewDecoder(bytes.NewReader(answer)).Decode(&out); err != nil || len(out.Items) != len(lines) {
		return nil, fmt.Errorf("the answer to a bulk of %d has %d items: %w", len(lines), len(out.Items), errors.Join(err, resource.ErrAgain))
	}
	for i, item := range out.Items {
		for _, it := range item {
			switch o := classify(it.Status, it.Error.Type); o {
			case done, conflict: // what is there is newer
			case again, blocking:
				left = append(left, lines[i])
			default:
				return nil, fmt.Errorf("%w: the new index does not take a document: %d %s", resource.ErrRejected, it.Status, identifier(it.Error.Type))
			}
		}
	}
	return left, nil
}

func (r *rebuild) refresh(ctx context.Context, index string) error {
	var answer struct {
		Shards struct {
			Failed int `json:"failed"`
		} `json:"_shards"`
	}
	err := r.s.ask(ctx, esapi.IndicesRefreshRequest{Index: []string{index}}, &answer)
	if err == nil && answer.Shards.Failed > 0 {
		err = fmt.Errorf("%d shards: %w", answer.Shards.Failed, resource.ErrAgain)
	}
	if err != nil {
		return fmt.Errorf("refresh %s: %w", index, err)
	}
	return nil
}

// count counts documents.
func (r *rebuild) count(ctx context.Context, index string) (int64, error) {
	var answer struct {
		Count  int64 `json:"count"`
		Shards struct {
			Failed int `json:"failed"`
		} `json:"_shards"`
	}
	err := r.s.ask(ctx, esapi.CountRequest{Index: []string{index}}, &answer)
	if err == nil && answer.Shards.Failed > 0 {
		err = resource.ErrAgain
	}
	if err != nil {
		return 0, fmt.Errorf("count documents of %s: %w", index, err)
	}
	return answer.Count, nil
}
