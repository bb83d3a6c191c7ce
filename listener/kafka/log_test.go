package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/listener/kafka"
	"github.com/fresnel-search/fresnel/listener/kafka/embedded"
	"github.com/fresnel-search/fresnel/listener/stream"
)

func TestReadFollowsFromAnOffset(t *testing.T) {
	t.Parallel()
	c := newClient(t, startBroker(t, t.TempDir()).Addr())
	ensure(t, c, "a", 1)
	p := stream.Partition{Topic: "a"}
	produce(t, c, numbered("a", 0, 10)...)
	got := make(chan stream.Batch, 99)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- c.Read(ctx, p, 7, func(b stream.Batch) error {
			got <- b
			return nil
		})
	}()
	for want := int64(7); want < 10; {
		for _, r := range (<-got).Records {
			if r.Offset != want {
				t.Errorf("offset %d, want %d", r.Offset, want)
			}
			want++
		}
	}
	produce(t, c, stream.Record{Topic: "a", Value: []byte("new")})
	if b := <-got; string(b.Records[0].Value) != "new" || b.HighWater != 11 {
		t.Errorf("next batch = %+v", b)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Read = %v, want nil when ctx is done", err)
	}
}

func TestReadSaysWhenAnOffsetIsNotThere(t *testing.T) {
	t.Parallel()
	c := newClient(t, startBroker(t, t.TempDir()).Addr())
	ensure(t, c, "a", 1)
	produce(t, c, numbered("a", 0, 3)...)
	never := func(stream.Batch) error { return errors.New("called") }
	for _, offset := range []int64{-1, 4} {
		if err := c.Read(t.Context(), stream.Partition{Topic: "a"}, offset, never); !errors.Is(err, stream.ErrOffset) {
			t.Errorf("Read at %d = %v, want ErrOffset", offset, err)
		}
	}
	stop := errors.New("stop")
	if err := c.Read(t.Context(), stream.Partition{Topic: "a"}, 0, func(stream.Batch) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Read = %v, want the callback's error", err)
	}
}

// trimmedBroker drops what group "fast" has committed.
func trimmedBroker(t *testing.T) *embedded.Broker {
	return startBroker(t, t.TempDir(), func(c *embedded.Config) {
		c.CapBytes = 8 << 20
		c.Groups = []embedded.Reads{{Group: "fast", Topics: regexp.MustCompile(`^a$`)}}
	})
}

// overtake produces and lets "fast" commit, until the broker has dropped records.
func overtake(t *testing.T, b *embedded.Broker, c *kafka.Client, n int) (first int64) {
	t.Helper()
	var rs []stream.Record
	for range 20 {
		rs = append(rs, stream.Record{Topic: "a", Value: bytes.Repeat([]byte("x"), 1000)})
	}
	for range n / len(rs) {
		produce(t, c, rs...)
	}
	var s seen
	stop := consume(t, c, named("fast", "a"), s.handler())
	eventually(t, 5*time.Second, "fast has committed", func() bool { return committed(t, c, "fast")[stream.Partition{Topic: "a"}].Offset >= int64(n) })
	stop()
	if err := b.Trim(); err != nil {
		t.Fatal(err)
	}
	first, _, err := c.Bounds(t.Context(), stream.Partition{Topic: "a"})
	if err != nil || first == 0 {
		t.Fatalf("log starts at %d, %v; nothing was trimmed", first, err)
	}
	return first
}

func TestRecordsDroppedUnreadAreCounted(t *testing.T) {
	t.Parallel()
	b := trimmedBroker(t)
	c := newClient(t, b.Addr(), func(c *kafka.Config) { c.Compression = "none" })
	ensure(t, c, "a", 1)
	produce(t, c, stream.Record{Topic: "a", Value: []byte("0")})
	var s seen
	stop := consume(t, c, named("slow", "a"), s.handler())
	eventually(t, 5*time.Second, "slow has committed", func() bool { return committed(t, c, "slow")[stream.Partition{Topic: "a"}].Offset == 1 })
	stop()
	first := overtake(t, b, c, 200)
	got := make(chan stream.Batch, 99)
	consume(t, c, named("slow", "a"), always(func(_ context.Context, b stream.Batch) (string, error) {
		got <- b
		return "", nil
	}))
	if b := <-got; b.Lost != first-1 || b.Records[0].Offset != first {
		t.Errorf("first batch lost %d and starts at %d, want %d and %d", b.Lost, b.Records[0].Offset, first-1, first)
	}
}

func TestReadSaysThatItFellOffTheLog(t *testing.T) {
	t.Parallel()
	b := trimmedBroker(t)
	c := newClient(t, b.Addr(), func(c *kafka.Config) { c.Compression = "none" })
	ensure(t, c, "a", 1)
	produce(t, c, stream.Record{Topic: "a", Value: []byte("0")})
	var once bool
	err := c.Read(t.Context(), stream.Partition{Topic: "a"}, 0, func(stream.Batch) error {
		if !once {
			once = true
			overtake(t, b, c, 4000) // more than is read ahead
		}
		return nil
	})
	if !errors.Is(err, stream.ErrOffset) {
		t.Errorf("Read = %v, want ErrOffset", err)
	}
}
