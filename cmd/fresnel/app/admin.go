package app

import (
	"context"
	"fmt"
	"maps"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/listener"
	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/searchapi"
)

// ledger shows the books of the steps that are in this process.
type ledger struct {
	listener *listener.Listener // or nil
	indexer  *indexer.Indexer   // or nil
	// mine tells which partitions of a group this process has now; what it had before
	// is in the books of another.
	mine func(group string) func(stream.Partition) bool
	in   string // the listener's group
	out  string // the indexer's
}

// mine is about partitions that other processes may have taken over.
func (s *system) mine(group string) func(stream.Partition) bool {
	if s.broker != nil {
		return func(stream.Partition) bool { return true }
	}
	has := map[stream.Partition]bool{}
	for _, p := range s.kafka.Status(group).Partitions {
		has[p.Partition] = true
	}
	return func(p stream.Partition) bool { return has[p] }
}

// Books implements searchapi.Books.
func (l ledger) Books(context.Context) ([]searchapi.Book, error) {
	return append(l.listened(), l.indexed()...), nil
}

func (l ledger) listened() (out []searchapi.Book) {
	if l.listener == nil {
		return nil
	}
	mine := l.mine(l.in)
	for _, b := range l.listener.Books() {
		if !mine(stream.Partition{Topic: b.Topic, ID: b.Partition}) {
			continue
		}
		out = append(out, searchapi.Book{
			Role: "listener", Topic: b.Topic, Partition: b.Partition, Offset: b.Offset, Input: b.Records,
			Outcomes: map[string]int64{"ignored": sum(b.Ignored), "dead": sum(b.Dead), "dispatched": b.Dispatched},
			Reasons:  map[string]map[string]int64{"ignored": b.Ignored, "dead": b.Dead},
			Notes:    map[string]int64{"mutations": b.Mutations, "lost": b.Lost},
		})
	}
	return out
}

func (l ledger) indexed() (out []searchapi.Book) {
	if l.indexer == nil {
		return nil
	}
	mine := l.mine(l.out)
	for _, b := range l.indexer.Books() {
		if !mine(stream.Partition{Topic: b.Topic, ID: b.Partition}) {
			continue
		}
		out = append(out, searchapi.Book{
			Role: "indexer", Topic: b.Topic, Partition: b.Partition, Offset: b.Offset, Input: b.Mutations,
			Outcomes: map[string]int64{"applied": b.Applied, "silent": b.Silent, "stale": b.Stale, "forwarded": b.Forwarded, "dead": sum(b.Dead)},
			Reasons:  map[string]map[string]int64{"dead": b.Dead},
			Notes:    map[string]int64{"lost": b.Lost},
		})
	}
	return out
}

func sum(m map[string]int64) (n int64) {
	for v := range maps.Values(m) {
		n += v
	}
	return n
}

// resend brings a dead letter back to where it came from.
func (s *system) resend(ctx context.Context, d record.DeadLetter) error {
	if d.Kind == record.DeadDelivery {
		return s.redeliver(ctx, d.ID)
	}
	rec := stream.Record{Topic: d.Topic, Partition: -1, Key: d.Key, Value: d.Value}
	for k, v := range d.Headers {
		rec.Headers = append(rec.Headers, stream.Header{Key: k, Value: v})
	}
	return s.kafka.Produce(ctx, []stream.Record{rec})
}

// redeliver needs the engine that delivers.
func (s *system) redeliver(ctx context.Context, id string) error {
	if s.engine == nil {
		return fmt.Errorf("%w: this process delivers nothing; ask one that has the role publishers", searchapi.ErrConflict)
	}
	if who, waits := s.standby(); waits {
		return fmt.Errorf("%w: %s", searchapi.ErrConflict, who)
	}
	return undeliverable(s.engine.Redeliver(ctx, id))
}
