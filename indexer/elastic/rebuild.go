package elastic

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"
	"golang.org/x/time/rate"

	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
)

// How long writers may be kept waiting: what is done while they wait must end within
// pauseBudget, so that they go on within 10 s also where the last request is slow.
const (
	pauseBudget = 5 * time.Second
	swapLimit   = 2 * time.Second
	undoLimit   = 5 * time.Second
	// smallRest is how long the copy of the rest may be expected to take.
	smallRest = time.Second
	// quickPass is how long the few requests around a copy may take, for writers to be
	// paused: servers that are slower are waited for.
	quickPass = 1500 * time.Millisecond
	// maxPasses is after how many copies the rest is tried although it is not small,
	// and maxPauses how often writers are paused in vain before the job is given up.
	maxPasses = 40
	maxPauses = 8
)

// The phases of a rebuild, in their order.
const (
	phaseLook    = "looking at the indices"
	phaseCreate  = "making the new index"
	phaseCopy    = "copying all documents"
	phaseSettle  = "making replicas of the new index"
	phaseCatchUp = "copying what has changed since"
	phaseBlock   = "writers wait: the old index is blocked"
	phaseRest    = "writers wait: copying the rest"
	phaseVerify  = "writers wait: comparing both indices"
	phaseSwap    = "writers wait: handing over"
	phaseServed  = "the new index serves"
)

// errSlow says that writers would have to wait for too long.
var errSlow = errors.New("the rest took longer than writers may wait")

// checkpoint is what a rebuild must know after a crash, beside the indices.
type checkpoint struct {
	From int `json:"from"` // generations
	To   int `json:"to"`
	// Turn is the alias on the old index by which this attempt may swap. Whoever goes
	// on with the job removes it first, in the same step in which it sets its own: so
	// one that was paused in between cannot swap any more.
	Turn string `json:"turn,omitempty"`
	// Copied is, for each shard of the old index, the sequence number up to which
	// everything is in the new one.
	Copied []int64 `json:"copied,omitempty"`
	// Blocked says that the block on the old index is this job's, or soon will be.
	Blocked bool `json:"blocked,omitempty"`
}

// rebuild is one job while it is worked on.
type rebuild struct {
	s        *Store
	job      *record.Reindex
	report   func(context.Context) error
	slug     string
	want     *layout.Layout
	cp       checkpoint
	limit    *rate.Limiter
	reported time.Time
	pass     struct {
		began  time.Time
		busy   time.Duration // without waiting for the rate
		slow   time.Duration // beside copying: a few requests that each pass makes
		copied int64
	}
	page   int // documents asked for at once
	sample []string
	sink   string // what copies are written to, if not copyAlias
}

func (s *Store) rebuilding(job *record.Reindex, report func(context.Context) error) (*rebuild, error) {
	r := &rebuild{
		s: s, job: job, report: report, slug: slug(job.Type), want: s.want[job.Type], page: firstPage,
		limit: rate.NewLimiter(rate.Inf, 1),
	}
	if job.Rate > 0 {
		r.page = max(1, min(r.page, job.Rate))
		r.limit = rate.NewLimiter(rate.Limit(job.Rate), r.page)
	}
	if len(job.Checkpoint) > 0 {
		if err := json.Unmarshal(job.Checkpoint, &r.cp); err != nil {
			return nil, fmt.Errorf("%w: checkpoint of the reindex of %s: %w", resource.ErrRejected, job.Type, err)
		}
	}
	return r, nil
}

func (r *rebuild) from() string { return r.s.cfg.indexName(r.slug, r.cp.From) }
func (r *rebuild) to() string   { return r.s.cfg.indexName(r.slug, r.cp.To) }

// step names what is done next, and stores it with the checkpoint.
func (r *rebuild) step(ctx context.Context, phase string) error {
	r.job.Phase = phase
	if err := r.save(ctx); err != nil {
		return err
	}
	r.name(phase)
	return nil
}

// name names what is done next without storing it: while writers wait.
func (r *rebuild) name(phase string) {
	r.job.Phase = phase
	if r.s.onStep != nil {
		r.s.onStep(r.job)
	}
}

func (r *rebuild) save(ctx context.Context) error {
	b, err := json.Marshal(r.cp)
	if err != nil {
		return err
	}
	r.job.Checkpoint, r.reported = b, time.Now()
	return r.report(ctx)
}

// Rebuild implements the indexer's Rebuilder.
func (s *Store) Rebuild(ctx context.Context, job *record.Reindex, report func(context.Context) error) error {
	r, err := s.rebuilding(job, report)
	if err != nil {
		return err
	}
	if r.want == nil {
		return fmt.Errorf("%w: the catalogue has no type %s", resource.ErrRejected, job.Type)
	}
	served, err := r.look(ctx)
	if err != nil || served {
		return err
	}
	if err := r.takeTurn(ctx); err != nil {
		return err
	}
	if r.cp.Blocked { // by an attempt that ended while writers waited
		if err := r.unblock(ctx); err != nil {
			return err
		}
	}
	if err := r.target(ctx); err != nil {
		return err
	}
	if err := r.copyAll(ctx); err != nil {
		return err
	}
	return r.handOver(ctx)
}

// look finds out which generation serves, and settles which two the job is about.
func (r *rebuild) look(ctx context.Context) (served bool, err error) {
	found, err := r.s.indices.list(ctx, r.slug)
	if err != nil {
		return false, err
	}
	list := found[r.slug]
	at := slices.IndexFunc(list, func(st standing) bool { return st.serves })
	if at < 0 {
		return false, fmt.Errorf("%w: no index of %s has its aliases", resource.ErrRejected, r.job.Type)
	}
	now := list[at].generation
	switch {
	case r.cp.To == 0:
		r.cp = checkpoint{From: now, To: list[len(list)-1].generation + 1}
	case now == r.cp.To:
		return true, r.serves(ctx)
	case now != r.cp.From:
		return false, fmt.Errorf("%w: generation %d of %s serves, and the job was begun with %d", resource.ErrRejected, now, r.job.Type, r.cp.From)
	}
	return false, r.step(ctx, phaseLook)
}

// serves notes that there is no way back.
func (r *rebuild) serves(ctx context.Context) error {
	r.cp.Blocked, r.job.Blocks = false, false
	r.job.Served, r.job.Error = true, ""
	if !slices.Contains(r.job.Old, r.from()) {
		r.job.Old = append(r.job.Old, r.from())
	}
	return r.step(ctx, phaseServed)
}

// takeTurn makes this attempt the only one that may swap.
func (r *rebuild) takeTurn(ctx context.Context) error {
	var answer map[string]struct {
		Aliases map[string]json.RawMessage `json:"aliases"`
	}
	if err := r.s.ask(ctx, esapi.IndicesGetAliasRequest{Index: []string{r.from()}}, &answer); err != nil {
		return fmt.Errorf("aliases of %s: %w", r.from(), err)
	}
	next := r.newTurn()
	actions := []any{action("add", r.from(), next)}
	for name := range answer[r.from()].Aliases {
		if strings.HasPrefix(name, r.from()+"-turn-") {
			actions = append(actions, action("remove", r.from(), name))
		}
	}
	if err := r.aliases(ctx, r.s.cfg.Timeout, actions); err != nil {
		return err
	}
	r.cp.Turn = next
	return nil
}

// action is one change of aliases; one that removes must find what it removes, or
// none of the changes in its request takes place.
func action(what, index, alias string) any {
	a := map[string]any{"index": index, "alias": alias}
	if what == "remove" {
		a["must_exist"] = true
	}
	return map[string]any{what: a}
}

func (r *rebuild) aliases(ctx context.Context, limit time.Duration, actions []any) error {
	body, err := json.Marshal(map[string]any{"actions": actions})
	if err != nil {
		return err
	}
	if _, err = r.s.c.within(ctx, limit, esapi.IndicesUpdateAliasesRequest{Body: bytes.NewReader(body)}); err != nil {
		return fmt.Errorf("change aliases of %s: %w", r.job.Type, err)
	}
	return nil
}

// target makes the new index, unless an attempt before made it as it is wanted now.
func (r *rebuild) target(ctx context.Context) error {
	found, err := r.s.indices.list(ctx, r.slug)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(found[r.slug], func(st standing) bool { return st.generation == r.cp.To })
	if at >= 0 {
		if found[r.slug][at].serves { // somebody's swap came before we had the turn
			return fmt.Errorf("index %s serves by now: %w", r.to(), resource.ErrAgain)
		}
		have := found[r.slug][at].layout
		if have != nil && len(layout.Diff(have, r.want)) == 0 && len(r.cp.Copied) > 0 {
			return nil
		}
		if err := r.discard(ctx); err != nil {
			return err
		}
	}
	r.cp.Copied = nil
	if err := r.step(ctx, phaseCreate); err != nil {
		return err
	}
	return r.s.indices.create(ctx, r.to(), r.want.Mapping(), false)
}

// discard deletes the new index, in one step that takes place only while the turn is
// ours: a request that comes late must not delete what somebody else has made serve.
func (r *rebuild) discard(ctx context.Context) error {
	next := r.newTurn()
	err := r.aliases(ctx, r.s.cfg.Timeout, []any{
		action("remove", r.from(), r.cp.Turn), action("add", r.from(), next),
		map[string]any{"remove_index": map[string]any{"index": r.to()}},
	})
	if err == nil {
		r.cp.Turn = next
	}
	if gone(err) {
		return nil
	}
	return err
}

func (r *rebuild) newTurn() string { return r.from() + "-turn-" + strings.ToLower(rand.Text()) }

// copyAlias is what copies are written by: it goes with the swap, and with the index,
// so that a request that comes late finds nothing to write to.
func copyAlias(index string) string { return index + "-copy" }

func (r *rebuild) settings(ctx context.Context, index string, s map[string]any) error {
	body, err := json.Marshal(map[string]any{"index": s})
	if err != nil {
		return err
	}
	if _, err = r.s.c.do(ctx, esapi.IndicesPutSettingsRequest{Index: []string{index}, Body: bytes.NewReader(body)}); err != nil {
		return fmt.Errorf("settings of %s: %w", index, err)
	}
	return nil
}

// settle gives the new index its replicas and refreshes, and waits for them.
func (r *rebuild) settle(ctx context.Context) error {
	if err := r.step(ctx, phaseSettle); err != nil {
		return err
	}
	err := r.settings(ctx, r.to(), map[string]any{
		"number_of_replicas": r.s.cfg.Replicas,
		"refresh_interval":   fmt.Sprintf("%dms", r.s.cfg.RefreshInterval.Milliseconds()),
	})
	if err != nil {
		return err
	}
	for {
		var health struct {
			Initializing int `json:"initializing_shards"`
			Relocating   int `json:"relocating_shards"`
		}
		err := r.s.ask(ctx, esapi.ClusterHealthRequest{Index: []string{r.to()}}, &health)
		if err != nil {
			return fmt.Errorf("health of %s: %w", r.to(), err)
		}
		if health.Initializing == 0 && health.Relocating == 0 { // a replica without a node never comes
			return nil
		}
		if err := r.tick(ctx); err != nil {
			return err
		}
		if err := wait(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// tick stores progress about once a second.
func (r *rebuild) tick(ctx context.Context) error {
	if time.Since(r.reported) < time.Second {
		return nil
	}
	return r.save(ctx)
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Undo deletes the new index and lets writers go on, unless the new one serves.
func (s *Store) Undo(ctx context.Context, job *record.Reindex) error {
	r, err := s.rebuilding(job, nil)
	if err != nil {
		return err
	}
	if r.cp.To == 0 {
		return nil // nothing was begun that could be undone
	}
	found, err := s.indices.list(ctx, r.slug)
	if err != nil {
		return err
	}
	for _, st := range found[r.slug] {
		switch {
		case st.generation == r.cp.To && st.serves:
			return resource.ErrServing
		case st.generation != r.cp.From:
		default:
			return r.endTurn(ctx)
		}
	}
	return s.deleteIndex(ctx, r.to())
}

// Release lets writers go on who wait for another process. It takes the turn first:
// that process cannot swap any more then, and must not, since the old index changes.
func (s *Store) Release(ctx context.Context, job *record.Reindex) error {
	ctx, cancel := context.WithTimeoutCause(ctx, undoLimit, errTimeout)
	defer cancel()
	r, err := s.rebuilding(job, nil)
	if err != nil || !r.cp.Blocked {
		return err
	}
	if err := r.takeTurn(ctx); err != nil {
		return err
	}
	if served, err := r.served(ctx); err != nil || served {
		return err
	}
	return r.settings(ctx, r.from(), map[string]any{"blocks.write": nil})
}

// endTurn takes the right to swap from everybody, lets writers go on, and deletes the
// new index.
func (r *rebuild) endTurn(ctx context.Context) error {
	r.report = func(context.Context) error { return nil }
	if err := r.takeTurn(ctx); err != nil {
		return err
	}
	// Nobody can swap any more, but somebody may have since it was looked.
	switch served, err := r.served(ctx); {
	case err != nil:
		return err
	case served:
		return resource.ErrServing
	}
	if r.cp.Blocked {
		if err := r.settings(ctx, r.from(), map[string]any{"blocks.write": nil}); err != nil {
			return err
		}
	}
	if err := r.discard(ctx); err != nil {
		return err
	}
	return r.aliases(ctx, r.s.cfg.Timeout, []any{action("remove", r.from(), r.cp.Turn)})
}

// Clean deletes the old indices that a reindex left.
func (s *Store) Clean(ctx context.Context, job *record.Reindex) error {
	for _, name := range job.Old {
		if err := s.DropIndex(ctx, name); err != nil && !errors.Is(err, resource.ErrRejected) {
			return err
		}
	}
	return nil
}
