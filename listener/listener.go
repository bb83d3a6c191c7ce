// Package listener turns what services announce on Kafka into mutations in the
// topic fresnel.mutations: it decodes each record, lets the catalogue say what it
// means, and accounts for every one of them.
//
// It folds nothing and stores no document (indexer does), and does not read Kafka
// itself: a consumer hands it batches of assigned partitions. Its invariant: before
// the offset of a record is committed, the record was ignored by a rule, is a dead
// letter, or its mutations are in the log; and the tally committed with the offset
// says which.
package listener

import (
	"cmp"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/listener/notification"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// MutationsTopic is the topic that the listener appends to, keyed by resource.
const MutationsTopic = "fresnel.mutations"

// Catalog says what a notification means. It is pure, so that a replayed record
// has the same mutations.
type Catalog interface {
	Mutations(n *notification.Notification) catalog.Result
}

// Deps are what the listener works with. Catalog, Producer and Records are needed.
type Deps struct {
	Catalog  Catalog
	Producer stream.Producer
	Records  record.Store // takes the dead letters
	// MutationLag tells how many mutations are appended but not handled; nil means
	// that nobody knows, and nothing is ever held back.
	MutationLag func() int64
	Logger      *slog.Logger          // nil discards
	Registerer  prometheus.Registerer // nil registers nothing
}

// Listener makes the handlers of source partitions and keeps their books.
type Listener struct {
	config  Config
	deps    Deps
	log     *slog.Logger
	metrics *metrics
	// inFlight counts records of low priority that are being handled.
	inFlight atomic.Int64

	mu    sync.Mutex
	books map[stream.Partition]Book
}

// Book is the account of one source partition: Records is the sum of what was
// ignored, given up on and dispatched.
type Book struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	// Offset is the offset after the last record accounted for.
	Offset int64 `json:"offset"`
	// Behind is how many records were waiting when the last batch was read.
	Behind int64 `json:"behind"`
	Tally
}

// New checks the configuration and returns a listener that waits for handlers to
// be asked for.
func New(config Config, deps Deps) (*Listener, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if deps.Catalog == nil || deps.Producer == nil || deps.Records == nil {
		return nil, errors.New("listener needs a catalogue, a producer and a record store")
	}
	log := cmp.Or(deps.Logger, slog.New(slog.DiscardHandler))
	m := newMetrics(deps.Registerer)
	return &Listener{
		config: config, deps: deps, log: log, metrics: m,
		books: make(map[stream.Partition]Book),
	}, nil
}

// NewHandler makes the handler of an assigned source partition. Its tally goes on
// where the partition's last owner left it.
func (l *Listener) NewHandler(a stream.Assignment) stream.Handler {
	tally, err := parseTally(a.Metadata)
	if err != nil {
		l.log.Warn("tally unreadable, counting from zero", "topic", a.Topic, "partition", a.ID, "err", err)
	}
	l.note(a.Partition, Book{Offset: a.Offset, Tally: tally})
	return &handler{l: l, at: a.Partition, before: tally, after: tally, next: a.Offset}
}

// Books returns the accounts of the partitions that this process has been
// assigned, by topic and partition.
func (l *Listener) Books() []Book {
	l.mu.Lock()
	defer l.mu.Unlock()
	books := make([]Book, 0, len(l.books))
	for _, b := range l.books {
		b.Tally = b.clone()
		books = append(books, b)
	}
	slices.SortFunc(books, func(a, b Book) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return books
}

// Total adds up the tallies of all books.
func (l *Listener) Total() Tally {
	var total Tally
	for _, b := range l.Books() {
		total.add(b.Tally)
	}
	return total
}

func (l *Listener) note(p stream.Partition, b Book) {
	b.Topic, b.Partition = p.Topic, p.ID
	l.mu.Lock()
	defer l.mu.Unlock()
	l.books[p] = b
}
