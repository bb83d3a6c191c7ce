package kafka_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/listener/kafka"
	"github.com/fresnel-search/fresnel/listener/stream"
)

func TestConsumeCommitsOnlyHandledBatches(t *testing.T) {
	t.Parallel()
	c := newClient(t, startBroker(t, t.TempDir()).Addr())
	ensure(t, c, "a", 1)
	produce(t, c, numbered("a", 0, 10)...)
	release, taken := make(chan struct{}), make(chan stream.Batch, 10)
	consume(t, c, named("g", "a"), always(func(_ context.Context, b stream.Batch) (string, error) {
		taken <- b
		<-release
		return "tally", nil
	}))
	var n int
	first := <-taken
	if got := committed(t, c, "g"); len(got) != 0 {
		t.Errorf("committed before Handle returned: %v", got)
	}
	for n = len(first.Records); n < 10; {
		release <- struct{}{}
		b := <-taken
		n += len(b.Records)
	}
	close(release)
	want := kafka.Committed{Offset: 10, Metadata: "tally"}
	eventually(t, 3*time.Second, "offset and metadata committed", func() bool {
		return committed(t, c, "g")[stream.Partition{Topic: "a"}] == want
	})
}

func TestConsumeRepeatsWhatACrashLeftUncommitted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := startBroker(t, dir)
	c := newClient(t, b.Addr(), func(c *kafka.Config) { c.DrainTimeout = 100 * time.Millisecond })
	ensure(t, c, "a", 1)
	produce(t, c, numbered("a", 0, 5)...)
	var before, after seen
	ctx, crash := context.WithCancel(t.Context())
	err := c.Consume(ctx, named("g", "a"), always(func(_ context.Context, batch stream.Batch) (string, error) {
		before.add(batch)
		crash()
		return "", b.Close() // nobody is there to take the commit
	}))
	if err != nil {
		t.Fatal(err)
	}
	c2 := newClient(t, startBroker(t, dir).Addr())
	consume(t, c2, named("g", "a"), after.handler())
	eventually(t, 3*time.Second, "all records again", func() bool { return len(after.all()) == 5 })
	if len(before.all()) == 0 || after.all()[0] != before.all()[0] {
		t.Errorf("first handled %q, then %q", before.all(), after.all())
	}
}

func TestRebalanceLosesNothing(t *testing.T) {
	t.Parallel()
	addr := startBroker(t, t.TempDir()).Addr()
	c := newClient(t, addr)
	ensure(t, c, "a", 6)
	const total = 6000
	var s seen
	join := func() func() {
		return consume(t, newClient(t, addr), named("g", "a"), always(func(ctx context.Context, b stream.Batch) (string, error) {
			s.add(b)
			<-time.After(5 * time.Millisecond) // "indexing"
			return "", nil
		}))
	}
	leave1 := join()
	fed := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < total && err == nil; i += 100 {
			err = c.Produce(t.Context(), numbered("a", i, i+100))
			<-time.After(10 * time.Millisecond)
		}
		fed <- err
	}()
	eventually(t, 5*time.Second, "first member reads", func() bool { return len(s.all()) > 0 })
	join()
	leave3 := join()
	eventually(t, 5*time.Second, "others read on", func() bool { return len(s.all()) > total/3 })
	leave1()
	leave3()
	if err := <-fed; err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "everything handled", func() bool { return s.distinct() == total })
	if d := len(s.all()) - total; d > 0 {
		t.Errorf("%d records handled twice although every member left in order", d)
	}
}

func TestBacklogOfOneTopicDoesNotHoldUpAnother(t *testing.T) {
	t.Parallel()
	c := newClient(t, startBroker(t, t.TempDir()).Addr())
	ensure(t, c, "n.info", 1)
	ensure(t, c, "n.error", 1)
	for i := 0; i < 100_000; i += 10_000 {
		produce(t, c, numbered("n.info", i, i+10_000)...)
	}
	urgent := make(chan time.Time, 1)
	consume(t, c, matching("g", `^n\.`), always(func(_ context.Context, b stream.Batch) (string, error) {
		if b.Topic == "n.error" {
			urgent <- time.Now()
		} else {
			<-time.After(20 * time.Millisecond)
		}
		return "", nil
	}))
	eventually(t, 5*time.Second, "backlog being read", func() bool { return len(committed(t, c, "g")) > 0 })
	began := time.Now()
	produce(t, c, stream.Record{Topic: "n.error", Partition: -1, Value: []byte("x")})
	if took := (<-urgent).Sub(began); took > time.Second {
		t.Errorf("error record handled after %s", took)
	}
	if p := c.Status("g").Partitions; len(p) != 2 || p[1].Lag() == 0 {
		t.Errorf("status = %+v, want a backlog of n.info", p)
	}
}

func TestMetadataComesBackWithTheAssignment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := startBroker(t, dir)
	c := newClient(t, b.Addr())
	ensure(t, c, "a", 1)
	produce(t, c, numbered("a", 0, 3)...)
	tally := func(got chan stream.Assignment) stream.NewHandler {
		return func(a stream.Assignment) stream.Handler {
			got <- a
			return handle(func(_ context.Context, b stream.Batch) (string, error) { return `{"records":3}`, nil })
		}
	}
	got := make(chan stream.Assignment, 9)
	stop := consume(t, c, named("g", "a"), tally(got))
	if a := <-got; a.Offset != 0 || a.Metadata != "" {
		t.Errorf("first assignment = %+v", a)
	}
	at := stream.Partition{Topic: "a"}
	eventually(t, 3*time.Second, "committed", func() bool { return committed(t, c, "g")[at].Offset == 3 })
	stop()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	consume(t, newClient(t, startBroker(t, dir).Addr()), named("g", "a"), tally(got))
	want := stream.Assignment{Partition: at, Offset: 3, Metadata: `{"records":3}`}
	if diff := cmp.Diff(want, <-got); diff != "" {
		t.Errorf("assignment after a restart (-want +got):\n%s", diff)
	}
}

func TestHandlerErrorPausesOnlyItsPartition(t *testing.T) {
	t.Parallel()
	c := newClient(t, startBroker(t, t.TempDir()).Addr())
	ensure(t, c, "a", 2)
	var sick atomic.Bool
	sick.Store(true)
	var tried, well seen
	consume(t, c, named("g", "a"), always(func(_ context.Context, b stream.Batch) (string, error) {
		if b.ID == 1 {
			well.add(b)
			return "", nil
		}
		tried.add(b)
		if sick.Load() {
			return "", errors.New("index is away")
		}
		return "", nil
	}))
	produce(t, c, stream.Record{Topic: "a", Partition: 0, Value: []byte("first")})
	eventually(t, 5*time.Second, "several tries", func() bool { return len(tried.all()) >= 3 })
	produce(t, c, stream.Record{Topic: "a", Partition: 0, Value: []byte("second")}, stream.Record{Topic: "a", Partition: 1, Value: []byte("other")})
	eventually(t, time.Second, "the other partition goes on", func() bool { return slices.Equal(well.all(), []string{"other"}) })
	if p := c.Status("g").Partitions; len(p) != 2 || p[0].Err == nil || p[1].Err != nil {
		t.Errorf("status = %+v, want an error of partition 0 alone", p)
	}
	if at, found := committed(t, c, "g")[stream.Partition{Topic: "a"}]; found {
		t.Errorf("committed %+v although nothing was handled", at)
	}
	sick.Store(false)
	eventually(t, 5*time.Second, "both in order", func() bool {
		v := tried.all()
		return len(v) > 3 && v[len(v)-1] == "second" && v[len(v)-2] == "first"
	})
}

func TestHeldPartitionIsLeftAlone(t *testing.T) {
	t.Parallel()
	c := newClient(t, startBroker(t, t.TempDir()).Addr())
	ensure(t, c, "a", 1)
	ensure(t, c, "b", 1)
	var held atomic.Bool
	held.Store(true)
	var s seen
	cfg := named("g", "a", "b")
	cfg.Hold = func(p stream.Partition) bool { return p.Topic == "a" && held.Load() }
	produce(t, c, stream.Record{Topic: "a", Value: []byte("a")}, stream.Record{Topic: "b", Value: []byte("b")})
	consume(t, c, cfg, s.handler())
	eventually(t, 3*time.Second, "b handled", func() bool { return len(s.all()) == 1 })
	if got := s.all(); got[0] != "b" {
		t.Errorf("handled %q while a was held", got)
	}
	held.Store(false)
	eventually(t, 3*time.Second, "a handled", func() bool { return len(s.all()) == 2 })
}

func TestGroupWaitsForATopicAndPicksUpMore(t *testing.T) {
	t.Parallel()
	c := newClient(t, startBroker(t, t.TempDir()).Addr())
	var s seen
	consume(t, c, matching("g", `^n\.`), s.handler())
	eventually(t, time.Second, "running without topics, and saying so", func() bool { st := c.Status("g"); return st.Running && st.Idle })
	if st := c.Status("g"); len(st.Topics) != 0 {
		t.Errorf("status = %+v, want no topic yet", st)
	}
	produce(t, c, stream.Record{Topic: "n.one", Partition: -1, Value: []byte("1")}) // creates it
	eventually(t, 10*time.Second, "first topic read", func() bool { return len(s.all()) == 1 })
	produce(t, c, stream.Record{Topic: "n.two", Partition: -1, Value: []byte("2")}, stream.Record{Topic: "other", Partition: -1, Value: []byte("3")})
	eventually(t, 10*time.Second, "second topic read", func() bool { return len(s.all()) == 2 })
	if got := s.all(); !slices.Equal(got, []string{"1", "2"}) || c.Status("g").Idle {
		t.Errorf("read %q, status %+v", got, c.Status("g"))
	}
}

func TestStopFinishesAndCommitsTheBatchAtHand(t *testing.T) {
	t.Parallel()
	c := newClient(t, startBroker(t, t.TempDir()).Addr())
	ensure(t, c, "a", 1)
	produce(t, c, stream.Record{Topic: "a", Value: []byte("x")})
	begun, release := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- c.Consume(ctx, named("g", "a"), always(func(ctx context.Context, _ stream.Batch) (string, error) {
			close(begun)
			<-release
			return "", ctx.Err()
		}))
	}()
	<-begun
	cancel()
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := committed(t, c, "g")[stream.Partition{Topic: "a"}].Offset; got != 1 {
		t.Errorf("committed %d, want 1", got)
	}
}

func TestLagCountsWhatAGroupHasNotCommitted(t *testing.T) {
	t.Parallel()
	c := newClient(t, startBroker(t, t.TempDir()).Addr())
	ensure(t, c, "a", 1)
	produce(t, c, numbered("a", 0, 7)...)
	lag := func() map[stream.Partition]int64 {
		m, err := c.Lag(t.Context(), "g", "a", "missing")
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	at := stream.Partition{Topic: "a"}
	if diff := cmp.Diff(map[stream.Partition]int64{at: 7}, lag()); diff != "" {
		t.Errorf("lag (-want +got):\n%s", diff)
	}
	var s seen
	consume(t, c, named("g", "a"), s.handler())
	eventually(t, 3*time.Second, "no lag", func() bool { return lag()[at] == 0 })
}
