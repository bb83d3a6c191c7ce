package feed

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fresnel-search/fresnel/indexer/changelog"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/listener/stream"
)

const (
	// cursorsTable holds how far each partition of the change log is recorded.
	cursorsTable = "feed_cursors"
	// maxEntry is the largest change that is kept whole, as bytes in the log: feeds are
	// read often, and in full.
	maxEntry = 64 << 10
	// saveBatch is how many records are saved at once.
	saveBatch = 500
	// cursorEvery is how often a cursor is saved. A crash repeats what came since, which
	// writes the same records again.
	cursorEvery = time.Second
	// pauseMin and pauseMax are the shortest and longest pause after a failure.
	pauseMin, pauseMax = 200 * time.Millisecond, 10 * time.Second
)

// Deps are what a Recorder works with.
type Deps struct {
	Log     stream.Log
	Topic   string // the change log
	Records record.Store
	Project Project
	// Changed is told whose feeds have something new to read, each time that they have;
	// nil tells nobody.
	Changed    func(readers []resource.Principal)
	Valid      func() bool // this process may write; nil means always
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil registers nowhere
}

// Recorder follows the change log and keeps the newest changes of each reader.
type Recorder struct {
	Deps
	metrics *metrics
	mu      sync.Mutex
	problem map[int]error // of the partitions that are not recorded now
}

// NewRecorder returns a recorder that Run starts.
func NewRecorder(d Deps) *Recorder {
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.Valid == nil {
		d.Valid = func() bool { return true }
	}
	if d.Changed == nil {
		d.Changed = func([]resource.Principal) {}
	}
	return &Recorder{Deps: d, metrics: newMetrics(d.Registerer), problem: map[int]error{}}
}

// Ready says why a partition is not recorded.
func (r *Recorder) Ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(slices.Collect(maps.Values(r.problem))...)
}

// Run records until ctx is done.
func (r *Recorder) Run(ctx context.Context) error {
	n := 0
	for wait := pauseMin; n == 0 && ctx.Err() == nil; wait = min(2*wait, pauseMax) {
		var err error
		if n, err = r.Log.Partitions(ctx, r.Topic); err != nil || n == 0 {
			pause(ctx, wait)
		}
	}
	var all sync.WaitGroup
	for id := range n {
		all.Go(func() { r.run(ctx, stream.Partition{Topic: r.Topic, ID: id}) })
	}
	all.Wait()
	return nil
}

// run records one partition until ctx is done.
func (r *Recorder) run(ctx context.Context, p stream.Partition) {
	f := &follower{Recorder: r, partition: p, next: -1}
	for wait := pauseMin; ctx.Err() == nil; {
		before := f.next
		err := f.follow(ctx)
		if ctx.Err() != nil {
			break
		}
		if f.next > before {
			wait = pauseMin
		}
		r.fail(p.ID, err)
		r.Logger.Warn("change log not recorded in feeds", "err", err, "partition", p.ID, "offset", f.next, "wait", wait)
		pause(ctx, wait)
		wait = min(2*wait, pauseMax)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := f.saveCursor(last); err != nil {
		r.Logger.Warn("cursor of feeds not saved; changes will be recorded again", "err", err, "partition", p.ID)
	}
}

func (r *Recorder) fail(partition int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if delete(r.problem, partition); err != nil {
		r.problem[partition] = fmt.Errorf("partition %d: %w", partition, err)
	}
}

// follower records one partition.
type follower struct {
	*Recorder
	partition stream.Partition
	next      int64 // the offset after the last that is recorded; -1 if not known
	saved     int64
	savedAt   time.Time
	packer    packer
}

// follow reads on from where the follower is.
func (f *follower) follow(ctx context.Context) error {
	first, end, err := f.Log.Bounds(ctx, f.partition)
	if err == nil && f.next < 0 {
		err = f.load(ctx)
	}
	if err != nil {
		return err
	}
	if f.next < first || f.next > end {
		if f.next > 0 {
			f.metrics.gaps.Inc()
			f.Logger.Error("changes are missing from the change log, and so from feeds", "partition", f.partition.ID, "offset", f.next, "next", first)
		}
		f.next = first
	}
	f.fail(f.partition.ID, nil)
	return f.Log.Read(ctx, f.partition, f.next, func(b stream.Batch) error { return f.record(ctx, b) })
}

// load reads the cursor; 0 if there is none.
func (f *follower) load(ctx context.Context) error {
	r, err := f.Records.Read(ctx, cursorsTable, strconv.Itoa(f.partition.ID))
	if err != nil {
		return fmt.Errorf("read cursor of feeds: %w", err)
	}
	if f.next = 0; r.Version != 0 {
		if f.next, err = strconv.ParseInt(string(r.Value), 10, 64); err != nil {
			return fmt.Errorf("read cursor of feeds: %w", err)
		}
	}
	f.saved = f.next
	return nil
}

func (f *follower) saveCursor(ctx context.Context) error {
	if f.next <= f.saved || !f.Valid() {
		return nil
	}
	at := f.next
	err := f.save(ctx, []record.Record{{
		Table: cursorsTable, Key: strconv.Itoa(f.partition.ID), Value: strconv.AppendInt(nil, at, 10), Version: record.Any,
	}})
	if err == nil {
		f.saved, f.savedAt = at, time.Now()
	}
	return err
}

// record records a batch of the log, and says whose feeds have changed.
func (f *follower) record(ctx context.Context, b stream.Batch) error {
	if !f.Valid() {
		return errors.New("another process records feeds")
	}
	byReader := map[resource.Principal][]logged{}
	for i := range b.Records {
		rec := &b.Records[i]
		e, err := changelog.Decode(rec.Value)
		if err != nil {
			f.metrics.entries.WithLabelValues("malformed").Inc() // publishers keep it as a dead letter
			continue
		}
		value := rec.Value
		if len(value) > maxEntry {
			value = changelog.Encode(changelog.Truncate(e))
		}
		for _, who := range f.readers(e) {
			byReader[who] = append(byReader[who], logged{rec.Time.Truncate(time.Millisecond), rec.Partition, rec.Offset, value})
		}
	}
	if err := f.write(ctx, byReader); err != nil {
		return err
	}
	f.next = b.Records[len(b.Records)-1].Offset + 1
	if len(byReader) > 0 {
		f.Changed(slices.Collect(maps.Keys(byReader)))
	}
	if time.Since(f.savedAt) < cursorEvery {
		return nil
	}
	return f.saveCursor(ctx)
}

// readers are those in whose records an entry belongs: everyone if everyone sees it,
// else each project that does. Users and domains have no feeds.
func (r *Recorder) readers(e *changelog.Entry) []resource.Principal {
	if _, ok := r.Project(e, audience(resource.Everyone)); ok {
		return []resource.Principal{resource.Everyone}
	}
	var out []resource.Principal
	for _, who := range slices.Concat(e.Readers, e.ReadersBefore) {
		if _, is := projectOf(who); !is || slices.Contains(out, who) {
			continue
		}
		if _, ok := r.Project(e, audience(who)); ok {
			out = append(out, who)
		}
	}
	return out
}

// write saves what is new of each reader, and now and then drops what is old.
func (f *follower) write(ctx context.Context, byReader map[resource.Principal][]logged) error {
	var all []record.Record
	var full []resource.Principal
	for _, who := range slices.Sorted(maps.Keys(byReader)) {
		entries := byReader[who]
		f.metrics.entries.WithLabelValues("recorded").Add(float64(len(entries)))
		rs := f.packer.records(who, entries[max(0, len(entries)-keep):]) // the rest would be dropped soon
		if slices.ContainsFunc(rs, due) {
			full = append(full, who)
		}
		all = append(all, rs...)
	}
	for part := range slices.Chunk(all, saveBatch) {
		if err := f.save(ctx, part); err != nil {
			return err
		}
	}
	for _, who := range full {
		if err := f.trim(ctx, who); err != nil {
			return err
		}
	}
	return nil
}

// records packs the entries of a reader: into one record, unless they are large.
func (p *packer) records(who resource.Principal, entries []logged) (rs []record.Record) {
	for len(entries) > 0 {
		n, size := 0, 0
		for n < len(entries) && (n == 0 || size+len(entries[n].value) <= maxPacked) {
			size += len(entries[n].value)
			n++
		}
		rs = append(rs, record.Record{
			Table: entriesTable, Key: key(who, slices.MinFunc(entries[:n], newer)), Value: p.pack(entries[:n]), Version: record.Any,
		})
		entries = entries[n:]
	}
	return rs
}

// due picks about one of two hundred records, after which a reader's old ones are dropped:
// so nobody has to count, and a reader has some hundreds at most. More often would be a
// load on the store, since that is a scan.
func due(r record.Record) bool {
	const oneOf = 200
	h := fnv.New32a()
	h.Write([]byte(r.Key))
	return h.Sum32()%oneOf == 0
}

// spare is how many entries a reader has at least after a trim: as many as may be newer
// than the oldest one shown, on many partitions whose batches overlap in time.
const spare = 10 * keep

// trim drops what a reader has beyond what may be shown.
func (f *follower) trim(ctx context.Context, who resource.Principal) error {
	have := 0
	for after := ""; ; {
		rs, err := scan(ctx, f.Records, who, after)
		if err != nil {
			return err
		}
		var gone []record.Record
		for _, r := range rs {
			n, _, err := packed(r.Value)
			if have >= spare || err != nil {
				gone = append(gone, record.Record{Table: entriesTable, Key: r.Key, Version: record.Any})
			}
			have += n
		}
		if err := f.save(ctx, gone); err != nil || len(rs) < page {
			return err
		}
		after = rs[len(rs)-1].Key
	}
}

func (f *follower) save(ctx context.Context, rs []record.Record) error {
	if len(rs) == 0 {
		return nil
	}
	saved, err := f.Records.Save(ctx, rs)
	for i := range saved {
		err = errors.Join(err, saved[i].Err)
	}
	if err != nil {
		return fmt.Errorf("save feeds: %w", err)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
