package searchapi_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/indexer/changelog"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/searchapi/feed"
)

// memoryLog is a change log of one partition; its end is an error.
type memoryLog struct{ records []stream.Record }

func (l *memoryLog) say(e *changelog.Entry) {
	n := int64(len(l.records))
	l.records = append(l.records, stream.Record{Offset: n, Time: time.UnixMilli(1_800_000_000_000 + n), Value: changelog.Encode(e)})
}

func (l *memoryLog) Partitions(context.Context, string) (int, error) { return 1, nil }

func (l *memoryLog) Bounds(context.Context, stream.Partition) (first, end int64, err error) {
	return 0, int64(len(l.records)), nil
}

func (l *memoryLog) Read(_ context.Context, p stream.Partition, offset int64, fn func(stream.Batch) error) error {
	if offset < int64(len(l.records)) {
		if err := fn(stream.Batch{Partition: p, Records: l.records[offset:]}); err != nil {
			return err
		}
	}
	return errors.New("the end of the log")
}

// record records the log in a store.
func (l *memoryLog) record(t *testing.T, store record.Store, project feed.Project) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := feed.NewRecorder(feed.Deps{Log: l, Records: store, Project: project})
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	for tick := time.Tick(5 * time.Millisecond); r.Ready() == nil; {
		<-tick
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
