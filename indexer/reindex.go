package indexer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
)

// Refusals of a Reindexer; what wraps them says more.
var (
	// ErrUnknown says that there is no such type, index or reindex.
	ErrUnknown = errors.New("unknown")
	// ErrNotNow says that it is not possible in the state that things are in.
	ErrNotNow = errors.New("not possible now")
	// ErrServing is a Rebuilder's answer to Undo when the new index serves already.
	ErrServing = resource.ErrServing
)

// Indices are what a store keeps documents in.
type Indices interface {
	// Indices returns what there is and what the catalogue wants, by name.
	Indices(ctx context.Context) ([]resource.Index, error)
	// CreateIndices makes those that are missing, and returns their names.
	CreateIndices(ctx context.Context) ([]string, error)
	// DropIndex removes an index for good; ErrUnknown or ErrNotNow wraps why not.
	DropIndex(ctx context.Context, name string) error
}

// Rebuilder moves documents of a type into an index as the catalogue wants it, while
// the old one is written and searched. Its methods decide by what the store and
// the job show, so that they can be called again after a crash at any instruction.
type Rebuilder interface {
	// Rebuild begins or goes on until the new index serves. It calls report, which stores the job, before each step and about once a
	// second, and ends when report fails. When it returns, ctx being done or not,
	// writers are not kept waiting. An error that wraps ErrRejected is final.
	Rebuild(ctx context.Context, job *record.Reindex, report func(context.Context) error) error
	// Undo leaves the type as it was before the job; ErrServing if it is too late.
	Undo(ctx context.Context, job *record.Reindex) error
	// Release lets writers go on whom a job keeps waiting that is another process's:
	// that one can then no longer have the new index serve by what it has done so far.
	// It leaves the job as it is, for whoever goes on with it.
	Release(ctx context.Context, job *record.Reindex) error
	// Clean removes the old indices that a job names.
	Clean(ctx context.Context, job *record.Reindex) error
}

// ReindexRequest asks for reindexes.
type ReindexRequest struct {
	Types  []string      // none: all of the catalogue
	DryRun bool          // only say what would be done
	Force  bool          // also where nothing differs
	Rate   int           // documents a second at most; 0 is as fast as it goes
	Keep   bool          // leave the old index
	Grace  time.Duration // how long the old index is left if it is not kept
}

// ReindexDeps are what a Reindexer works with.
type ReindexDeps struct {
	Indices   Indices
	Rebuilder Rebuilder
	Records   record.Store
	Owner     string // tells this process from others, for people
	// Alone says that no other process has the store: then no lease is needed.
	Alone  bool
	Logger *slog.Logger
}

// Reindexer takes requests for reindexes, and runs them one at a time, in one process
// at a time. What was begun is gone on with by whoever holds the lease.
type Reindexer struct {
	deps  ReindexDeps
	log   *slog.Logger
	lease *record.Lease
	look  time.Duration
	pause time.Duration

	aside map[string]time.Time // jobs that cannot be undone, until when
	waits map[string]waits     // jobs that writers wait for
}

// NewReindexer returns a reindexer; without Run it takes requests for others to run.
func NewReindexer(d ReindexDeps) *Reindexer {
	return &Reindexer{
		deps: d, log: cmp.Or(d.Logger, slog.New(slog.DiscardHandler)),
		lease: record.NewLease(d.Records, record.Reindexes, d.Owner),
		look:  time.Second, pause: 2 * time.Second, aside: map[string]time.Time{}, waits: map[string]waits{},
	}
}

// Indices returns what there is and what the catalogue wants.
func (r *Reindexer) Indices(ctx context.Context) ([]resource.Index, error) {
	return r.deps.Indices.Indices(ctx)
}

// Create makes indices that are missing, and returns their names.
func (r *Reindexer) Create(ctx context.Context) ([]string, error) {
	return r.deps.Indices.CreateIndices(ctx)
}

// Drop removes an index that neither serves nor is being filled.
func (r *Reindexer) Drop(ctx context.Context, name string) error {
	all, err := r.Indices(ctx)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(all, func(i resource.Index) bool { return i.Name == name })
	if at < 0 || all[at].State == resource.IndexMissing {
		return fmt.Errorf("index %q: %w", name, ErrUnknown)
	}
	if all[at].State == resource.IndexServes {
		return fmt.Errorf("%w: index %q is in use", ErrNotNow, name)
	}
	job, _, err := r.read(ctx, all[at].Type)
	if err != nil && !errors.Is(err, ErrUnknown) {
		return err
	}
	if job != nil && job.Open() {
		return fmt.Errorf("%w: %s is being reindexed", ErrNotNow, all[at].Type)
	}
	return r.deps.Indices.DropIndex(ctx, name)
}

// Jobs returns the last reindex of each type that had one, by type.
func (r *Reindexer) Jobs(ctx context.Context) ([]record.Reindex, error) {
	jobs := []record.Reindex{}
	for after := ""; ; {
		page, err := r.deps.Records.Scan(ctx, record.Reindexes, after, 500)
		if err != nil {
			return nil, fmt.Errorf("list reindexes: %w", err)
		}
		for _, rec := range page {
			job, err := record.DecodeReindex(rec)
			if err != nil {
				return nil, err
			}
			jobs, after = append(jobs, *job), rec.Key
		}
		if len(page) < 500 {
			return jobs, nil
		}
	}
}

// Request plans reindexes of types that differ from the catalogue and, without
// DryRun, has them run. A type whose reindex is open keeps that one.
func (r *Reindexer) Request(ctx context.Context, q ReindexRequest) ([]record.Reindex, error) {
	plan, err := r.plan(ctx, q)
	if err != nil || q.DryRun {
		return plan, err
	}
	for i := range plan {
		if len(plan[i].Why) == 0 || plan[i].Open() && !plan[i].Started.IsZero() {
			continue
		}
		if err := r.enqueue(ctx, &plan[i]); err != nil {
			return nil, err
		}
	}
	return plan, nil
}

// plan says for each type asked for what would be done; nothing if Why is empty.
func (r *Reindexer) plan(ctx context.Context, q ReindexRequest) ([]record.Reindex, error) {
	all, err := r.Indices(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string]resource.Index{}
	var types []string
	for _, x := range all {
		if x.State == resource.IndexServes || x.State == resource.IndexMissing {
			known[x.Type], types = x, append(types, x.Type)
		}
	}
	if len(q.Types) > 0 {
		types = q.Types
	}
	plan := make([]record.Reindex, 0, len(types))
	for _, typ := range types {
		x, ok := known[typ]
		if !ok {
			return nil, fmt.Errorf("resource type %q: %w", typ, ErrUnknown)
		}
		job := record.Reindex{
			Type: typ, Why: x.Differences, State: record.ReindexWaits, Rate: q.Rate, Keep: q.Keep, Grace: q.Grace,
			Requested: time.Now().UTC(), Progress: record.Progress{Phase: "nothing to do", Total: x.Documents},
		}
		switch {
		case x.State == resource.IndexMissing:
			job.Why, job.Phase = nil, "there is no index yet; `fresnel index create` makes it"
		case len(job.Why) == 0 && q.Force:
			job.Why = []string{"nothing differs; it is forced"}
		}
		if len(job.Why) > 0 {
			job.Phase = "waits for its turn"
		}
		plan = append(plan, job)
	}
	return plan, nil
}

// enqueue stores a job unless one is open, which it then becomes.
func (r *Reindexer) enqueue(ctx context.Context, job *record.Reindex) error {
	for {
		open, version, err := r.read(ctx, job.Type)
		if err != nil && !errors.Is(err, ErrUnknown) {
			return err
		}
		if open != nil && open.Open() {
			*job = *open
			return nil
		}
		if open != nil && open.State != record.ReindexDone {
			job.Old = open.Old // nobody else knows of them once that record is gone
		}
		if _, err := r.save(ctx, job, version); !errors.Is(err, record.ErrConflict) {
			return err
		}
	}
}

// Abort has an open reindex ended and undone, and returns it: its State tells later
// what became of it.
func (r *Reindexer) Abort(ctx context.Context, typ string) (record.Reindex, error) {
	for {
		job, version, err := r.read(ctx, typ)
		switch {
		case err != nil:
			return record.Reindex{}, err
		case !job.Open():
			return *job, fmt.Errorf("%w: the reindex of %s is %s", ErrNotNow, typ, job.State)
		case job.Served:
			return *job, fmt.Errorf("%w: the new index of %s serves already", ErrNotNow, typ)
		}
		job.Abort = true
		if _, err := r.save(ctx, job, version); !errors.Is(err, record.ErrConflict) {
			return *job, err
		}
	}
}

// read returns a type's reindex with the version of its record; ErrUnknown, and
// version 0, if there never was one.
func (r *Reindexer) read(ctx context.Context, typ string) (*record.Reindex, int64, error) {
	rec, err := r.deps.Records.Read(ctx, record.Reindexes, typ)
	if err != nil {
		return nil, 0, fmt.Errorf("read reindex of %s: %w", typ, err)
	}
	if rec.Version == 0 {
		return nil, 0, fmt.Errorf("reindex of %q: %w", typ, ErrUnknown)
	}
	job, err := record.DecodeReindex(rec)
	return job, rec.Version, err
}

func (r *Reindexer) save(ctx context.Context, job *record.Reindex, version int64) (int64, error) {
	rec, err := job.Record(version)
	if err != nil {
		return 0, err
	}
	saved, err := r.deps.Records.Save(ctx, []record.Record{rec})
	if err == nil {
		err = saved[0].Err
	}
	if err != nil {
		return 0, fmt.Errorf("save reindex of %s: %w", job.Type, err)
	}
	return saved[0].Version, nil
}

// next is the job to run now: one that was begun, or else the open one that was asked
// for first, or one whose old index is due; nil if there is nothing to do.
func (r *Reindexer) next(jobs []record.Reindex) *record.Reindex {
	now := time.Now()
	jobs = slices.DeleteFunc(slices.Clone(jobs), func(j record.Reindex) bool {
		return !j.Open() && !j.Due(now) || now.Before(r.aside[j.Type])
	})
	if len(jobs) == 0 {
		return nil
	}
	first := slices.MinFunc(jobs, func(a, b record.Reindex) int {
		return cmp.Or(cmp.Compare(urgency(a), urgency(b)), a.Requested.Compare(b.Requested), strings.Compare(a.Type, b.Type))
	})
	return &first
}

// urgency puts those first whose writers may be waiting.
func urgency(j record.Reindex) int {
	switch j.State {
	case record.ReindexRuns:
		return 0
	case record.ReindexWaits:
		return 1
	default:
		return 2
	}
}
