package indexer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fresnel-search/fresnel/indexer/record"
)

// patience is how many times in a row a reindex may end without getting on before it
// is undone. Between them it rests, longer each time, for some minutes in all.
const patience = 20

// errAborted ends a job whose abort was asked for.
var errAborted = errors.New("it was aborted")

// Run runs the reindexes that are asked for until ctx is done. What it was at is then
// left for the next holder of the lease, with no writer kept waiting.
func (r *Reindexer) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		open, err := r.turn(ctx)
		if err != nil && ctx.Err() == nil {
			r.log.Warn("reindexes not looked at", "err", err)
		}
		if !open {
			rest(ctx, r.look) // twice as long: a look costs the store a scan
		}
		rest(ctx, r.look)
	}
	return nil
}

// turn runs what is open, if the lease can be had. It reports whether anything was.
func (r *Reindexer) turn(ctx context.Context) (open bool, err error) {
	jobs, err := r.Jobs(ctx)
	if err != nil {
		return false, err
	}
	open = slices.ContainsFunc(jobs, func(j record.Reindex) bool { return j.Open() })
	if !r.deps.Alone {
		r.release(ctx, jobs)
	}
	if r.next(jobs) == nil {
		return open, nil
	}
	if r.deps.Alone {
		return open, r.work(ctx)
	}
	held, err := r.lease.Acquire(ctx)
	if err != nil || !held {
		return open, err
	}
	return open, r.lease.Hold(ctx, r.work)
}

// work runs jobs until there is none.
func (r *Reindexer) work(ctx context.Context) error {
	for ctx.Err() == nil {
		jobs, err := r.Jobs(ctx)
		if err != nil {
			return err
		}
		job := r.next(jobs)
		if job == nil {
			return nil
		}
		if err := r.run(ctx, job.Type); err != nil {
			return err
		}
	}
	return nil
}

// waitLimit is for how long writers may be seen waiting for one pause of a job that
// this process does not run: its owner lets them go on sooner, so it was killed or
// hangs. Its lease may still last: with that, writers would wait for longer than 10 s.
const waitLimit = 6 * time.Second

// waits is a pause of a job as first seen.
type waits struct {
	pause int
	since time.Time
}

// release lets writers go on where they wait for too long.
func (r *Reindexer) release(ctx context.Context, jobs []record.Reindex) {
	for i := range jobs {
		j := &jobs[i]
		if !j.Blocks || !j.Open() {
			delete(r.waits, j.Type)
			continue
		}
		seen, found := r.waits[j.Type]
		if !found || seen.pause != j.Pauses {
			seen = waits{j.Pauses, time.Now()}
			r.waits[j.Type] = seen
		}
		if time.Since(seen.since) < waitLimit {
			continue
		}
		if err := r.deps.Rebuilder.Release(ctx, j); err != nil {
			r.log.Warn("writers still wait for a reindex that does not get on", "resource_type", j.Type, "err", err)
			continue
		}
		r.log.Warn("writers go on; the reindex that they waited for does not get on", "resource_type", j.Type)
		r.waits[j.Type] = waits{j.Pauses, time.Now()}
	}
}

// rest waits for d or until ctx is done.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// attempt is a job being run: with the version of its record, which it alone writes
// but for the wish to abort.
type attempt struct {
	r       *Reindexer
	job     *record.Reindex
	version int64
}

// run runs one job to its end, or until ctx is done. Its error is the record store's.
func (r *Reindexer) run(ctx context.Context, typ string) error {
	job, version, err := r.read(ctx, typ)
	if err != nil {
		return err
	}
	a := &attempt{r, job, version}
	switch {
	case !job.Open():
		return a.clean(ctx)
	case job.Ending != "":
		return a.undo(ctx, job.Ending, job.Error)
	}
	if job.State == record.ReindexWaits {
		job.State, job.Started = record.ReindexRuns, time.Now().UTC()
	}
	r.log.Info("reindex runs", "resource_type", typ, "phase", job.Phase)
	for failed := 0; ; {
		before := job.Progress
		err := a.once(ctx)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // not ours any more, or not now
		case err == nil && !job.Keep && len(job.Old) > 0:
			return a.end(ctx, record.ReindexServed, "")
		case err == nil:
			return a.end(ctx, record.ReindexDone, "")
		case errors.Is(err, errAborted):
			return a.undo(ctx, record.ReindexAborted, "")
		case errors.Is(err, ErrRejected):
			return a.undo(ctx, record.ReindexFailed, err.Error())
		case job.Progress != before:
			failed = 0
		}
		if failed++; failed == patience && !job.Served {
			return a.undo(ctx, record.ReindexFailed, err.Error())
		}
		r.log.Warn("reindex does not get on", "resource_type", typ, "phase", job.Phase, "err", err)
		job.Error = err.Error()
		rest(ctx, min(r.pause*time.Duration(failed), 30*time.Second))
	}
}

// once runs the job until it ends, by itself or because an abort was asked for.
func (a *attempt) once(ctx context.Context) error {
	if err := a.save(ctx); err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		a.watch(ctx, end)
	}()
	err := a.r.deps.Rebuilder.Rebuild(ctx, a.job, a.save)
	if errors.Is(context.Cause(ctx), errAborted) && !a.job.Served {
		err = errAborted
	}
	end(nil)
	<-watched
	return err
}

// watch ends the job when its abort is asked for.
func (a *attempt) watch(ctx context.Context, end context.CancelCauseFunc) {
	typ := a.job.Type
	for {
		rest(ctx, a.r.look)
		if ctx.Err() != nil {
			return
		}
		if now, _, err := a.r.read(ctx, typ); err == nil && now.Abort && !now.Served {
			end(errAborted)
			return
		}
	}
}

// save stores the job as it is. It fails with errAborted if that is asked for, and
// with ErrConflict if somebody else runs the job.
func (a *attempt) save(ctx context.Context) error {
	for {
		if !a.r.deps.Alone && !a.r.lease.Valid() {
			return record.ErrLeaseLost
		}
		version, err := a.r.save(ctx, a.job, a.version)
		if err == nil {
			a.version = version
			if a.job.Abort && !a.job.Served {
				return errAborted
			}
			return nil
		}
		if !errors.Is(err, record.ErrConflict) {
			return err
		}
		now, version, err := a.r.read(ctx, a.job.Type)
		if err != nil {
			return err
		}
		// Only Abort is written by others; an answer that was lost is ours. Once the
		// new index serves, it comes too late.
		a.job.Abort, a.version = now.Abort && !a.job.Served, version
	}
}

// clean removes what a job has left, once it is due.
func (a *attempt) clean(ctx context.Context) error {
	if !a.job.Due(time.Now()) {
		return nil
	}
	if err := a.r.deps.Rebuilder.Clean(ctx, a.job); err != nil {
		return fmt.Errorf("remove what the reindex of %s left: %w", a.job.Type, err)
	}
	a.r.log.Info("old index removed", "resource_type", a.job.Type)
	if a.job.State == record.ReindexServed {
		a.job.State, a.job.Phase = record.ReindexDone, string(record.ReindexDone)
	}
	a.job.Old, a.job.Checkpoint = nil, nil
	return a.keep(ctx)
}

// undoAgain is how long a job is put aside that could not be undone: others go on.
const undoAgain = 30 * time.Second

// undo brings back what was before, and ends the job. If it is too late for that, the
// job goes on; if it fails, it is tried again later, also by others and after a crash.
func (a *attempt) undo(ctx context.Context, state record.ReindexState, why string) error {
	a.job.Phase, a.job.Ending, a.job.Error = "is being undone", state, why
	if err := a.keep(ctx); err != nil {
		return err
	}
	err := a.r.deps.Rebuilder.Undo(ctx, a.job)
	switch {
	case errors.Is(err, ErrServing):
		a.job.Abort, a.job.Served, a.job.Ending, a.job.Error = false, true, "", ""
		if err := a.save(ctx); err != nil {
			return err
		}
		return a.r.run(ctx, a.job.Type)
	case ctx.Err() != nil:
		return nil //nolint:nilerr // not ours any more, or not now
	case err != nil:
		a.r.log.Error("reindex not undone; trying again later", "resource_type", a.job.Type, "err", err, "wait", undoAgain)
		a.r.aside[a.job.Type] = time.Now().Add(undoAgain)
		a.job.Phase = "cannot be undone yet: " + err.Error()
		return a.keep(ctx)
	}
	a.job.Checkpoint = nil
	return a.end(ctx, state, why)
}

// end stores what became of the job.
func (a *attempt) end(ctx context.Context, state record.ReindexState, why string) error {
	a.job.State, a.job.Error, a.job.Ended = state, why, time.Now().UTC()
	a.job.Phase, a.job.Left, a.job.Blocks, a.job.Ending = string(state), 0, false, ""
	a.r.log.Info("reindex ended", "resource_type", a.job.Type, "state", state, "why", why,
		"duration", a.job.Ended.Sub(a.job.Started), "paused", a.job.Paused)
	return a.keep(ctx)
}

// keep is save of a job that is ended anyway.
func (a *attempt) keep(ctx context.Context) error {
	if err := a.save(ctx); !errors.Is(err, errAborted) {
		return err
	}
	return nil
}
