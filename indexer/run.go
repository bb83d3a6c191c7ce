package indexer

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// Catalog tells what the indexer must know of resource types.
type Catalog interface {
	// Type returns the type of that name; nil if there is none.
	Type(name string) *catalog.Type
	// Children returns the names of the types that inherit from parent, sorted.
	Children(parent string) []string
}

// Deps are what the indexer works with; all are needed but Log and the last two.
type Deps struct {
	Catalog  Catalog
	Store    Store
	Records  record.Store    // takes the dead letters
	Producer stream.Producer // appends to both topics
	// Logs names the mutation log: a topic that was made anew has another id.
	Logs LogNames
	// Log tells how long the mutation log is, so that Lag is right while a batch is
	// stuck or a partition held; nil means that only batches tell.
	Log stream.Log
	// Lineage makes a random id for a document that is stored for the first time.
	Lineage    func() string
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil registers nothing
}

// Indexer makes the handlers of the mutation log's partitions and keeps their books.
type Indexer struct {
	config  Config
	deps    Deps
	log     *slog.Logger
	metrics *metrics

	mu    sync.Mutex
	books map[stream.Partition]Book
}

// Book is the account of one partition of the mutation log: Mutations is the sum of
// its outcomes.
type Book struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	// Offset is the offset after the last mutation accounted for, and Behind how
	// many were known to wait beyond it.
	Offset int64 `json:"offset"`
	Behind int64 `json:"behind"`
	Tally
}

// New checks the configuration and returns an indexer that waits for handlers to be
// asked for.
func New(config Config, deps Deps) (*Indexer, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if deps.Catalog == nil || deps.Store == nil || deps.Records == nil || deps.Producer == nil ||
		deps.Logs == nil || deps.Lineage == nil {
		return nil, errors.New("indexer needs a catalogue, a store, records, a producer, names of logs and lineages")
	}
	return &Indexer{
		config: config, deps: deps,
		log:     cmp.Or(deps.Logger, slog.New(slog.DiscardHandler)),
		metrics: newMetrics(deps.Registerer),
		books:   make(map[stream.Partition]Book),
	}, nil
}

// NewHandler makes the handler of an assigned partition of the mutation log. Its
// tally goes on where the partition's last owner left it.
func (x *Indexer) NewHandler(a stream.Assignment) stream.Handler {
	tally, err := parseTally(a.Metadata)
	if err != nil {
		x.log.Warn("tally unreadable, counting from zero", "topic", a.Topic, "partition", a.ID, "err", err)
	}
	x.note(a.Partition, Book{Offset: a.Offset, Tally: tally})
	return &handler{
		x: x, at: a.Partition, began: a.Offset,
		cache:  newCache(x.config.CacheDocuments, x.config.CacheBytes),
		before: tally, after: tally, next: a.Offset, newcomers: 1,
	}
}

// Run removes old tombstones and watches how long the mutation log grows, until ctx
// is done. That is all that the indexer does by itself: the rest is its handlers'.
func (x *Indexer) Run(ctx context.Context) error {
	tick := time.NewTicker(x.config.SweepInterval)
	defer tick.Stop()
	var look <-chan time.Time
	if x.deps.Log != nil {
		t := time.NewTicker(lookInterval)
		defer t.Stop()
		look = t.C
	}
	due := true
	for {
		if due {
			if err := x.sweep(ctx); err != nil && ctx.Err() == nil {
				x.log.Warn("tombstones not swept", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			due = true
		case <-look:
			due = false
			x.look(ctx)
		}
	}
}

// lookInterval is how often the length of the mutation log is asked for.
const lookInterval = 250 * time.Millisecond

// look corrects how far each assigned partition is behind. Between looks the batches
// themselves tell; a look that fails is made good by the next.
func (x *Indexer) look(ctx context.Context) {
	for _, b := range x.Books() {
		p := stream.Partition{Topic: b.Topic, ID: b.Partition}
		_, end, err := x.deps.Log.Bounds(ctx, p)
		if err != nil {
			x.log.Debug("length of the mutation log unknown", "partition", p.ID, "err", err)
			return
		}
		x.mu.Lock()
		now := x.books[p]
		now.Behind = max(0, end-now.Offset)
		x.books[p] = now
		x.mu.Unlock()
	}
}

// sweep removes tombstones in small portions, so that writers are not kept waiting.
func (x *Indexer) sweep(ctx context.Context) error {
	const portion = 200
	before := time.Now().Add(-x.config.TombstoneRetention)
	for ctx.Err() == nil {
		n, err := x.deps.Store.Sweep(ctx, before, portion)
		if err != nil {
			return err
		}
		x.metrics.swept.Add(float64(n))
		if n < portion {
			return nil
		}
	}
	return nil
}

// Books returns the accounts of the partitions that this process has been
// assigned, by topic and partition.
func (x *Indexer) Books() []Book {
	x.mu.Lock()
	defer x.mu.Unlock()
	books := make([]Book, 0, len(x.books))
	for _, b := range x.books {
		b.Tally = b.clone()
		books = append(books, b)
	}
	slices.SortFunc(books, func(a, b Book) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return books
}

// Total adds up the tallies of all books.
func (x *Indexer) Total() Tally {
	var total Tally
	for _, b := range x.Books() {
		total.add(b.Tally)
	}
	return total
}

// Lag is how many mutations of the assigned partitions wait, as far as the last
// batches and looks at the log showed.
func (x *Indexer) Lag() int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	var lag int64
	for _, b := range x.books {
		lag += b.Behind
	}
	return lag
}

func (x *Indexer) note(p stream.Partition, b Book) {
	b.Topic, b.Partition = p.Topic, p.ID
	x.mu.Lock()
	defer x.mu.Unlock()
	x.books[p] = b
}
