package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/listener/kafka"
	"github.com/fresnel-search/fresnel/listener/kafka/embedded"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// readAll reads a partition from its start until n records have come.
func readAll(t testing.TB, c *kafka.Client, p stream.Partition, n int) (rs []stream.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := c.Read(ctx, p, 0, func(b stream.Batch) error {
		rs = append(rs, b.Records...)
		if len(rs) >= n {
			cancel()
		}
		return nil
	})
	if err != nil || len(rs) != n {
		t.Fatalf("read %d of %d records of %v: %v", len(rs), n, p, err)
	}
	return rs
}

// The hashes are those of Kafka's own UtilsTest.testMurmur2.
func TestKeysChooseTheSamePartitionsAsJavaClients(t *testing.T) {
	t.Parallel()
	c := newClient(t, startBroker(t, t.TempDir()).Addr())
	ensure(t, c, "a", 7)
	for key, hash := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
	} {
		want := stream.Partition{Topic: "a", ID: int(hash&0x7fffffff) % 7}
		_, before, err := c.Bounds(t.Context(), want)
		if err != nil {
			t.Fatal(err)
		}
		produce(t, c, stream.Record{Topic: "a", Partition: -1, Key: []byte(key)})
		if _, end, err := c.Bounds(t.Context(), want); err != nil || end != before+1 {
			t.Errorf("key %q did not go to partition %d: %v", key, want.ID, err)
		}
	}
}

func TestProduceKeepsRecordsWhole(t *testing.T) {
	t.Parallel()
	c := newClient(t, startBroker(t, t.TempDir()).Addr())
	ensure(t, c, "a", 3)
	want := []stream.Record{
		{Topic: "a", Partition: 2, Offset: 0, Time: time.UnixMilli(1_700_000_000_123), Key: []byte("k"), Value: []byte("v"), Headers: []stream.Header{{Key: "h", Value: []byte("1")}, {Key: "h", Value: []byte("2")}}},
		{Topic: "a", Partition: 2, Offset: 1, Time: time.UnixMilli(1_700_000_000_456), Value: nil},
	}
	produce(t, c, want...)
	got := readAll(t, c, stream.Partition{Topic: "a", ID: 2}, 2)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

func TestProduceSplitsLargeBatchesInOrder(t *testing.T) {
	t.Parallel()
	c := newClient(t, startBroker(t, t.TempDir()).Addr(), func(c *kafka.Config) { c.Compression = "none" })
	ensure(t, c, "a", 2)
	var rs []stream.Record
	for i := range 300 {
		rs = append(rs, stream.Record{Topic: "a", Partition: 1, Value: fmt.Appendf(bytes.Repeat([]byte("x"), 20_000), "%03d", i)})
	}
	produce(t, c, rs...) // 6 MB
	for i, r := range readAll(t, c, stream.Partition{Topic: "a", ID: 1}, len(rs)) {
		if want := fmt.Sprintf("%03d", i); !strings.HasSuffix(string(r.Value), want) {
			t.Fatalf("record %d ends in %q", i, r.Value[20_000:])
		}
	}
}

func TestProduceSaysWhatWasRefused(t *testing.T) {
	t.Parallel()
	b := startBroker(t, t.TempDir(), func(c *embedded.Config) {
		c.CapBytes = 2 << 20
		c.Groups = []embedded.Reads{{Group: "listener", Topics: regexp.MustCompile(`^source$`)}}
	})
	c := newClient(t, b.Addr(), func(c *kafka.Config) { c.Compression = "none" })
	ensure(t, c, "source", 1)
	ensure(t, c, "fresnel.mutations", 1)
	big := func(n int) stream.Record { return stream.Record{Topic: "source", Value: make([]byte, n)} }
	if err := c.Produce(t.Context(), []stream.Record{big(2 << 20)}); !errors.Is(err, stream.ErrTooLarge) {
		t.Errorf("2 MiB record: %v, want ErrTooLarge", err)
	}
	var err error
	for range 10 {
		if err = c.Produce(t.Context(), []stream.Record{big(300_000)}); err != nil {
			break
		}
	}
	if !errors.Is(err, stream.ErrFull) || !strings.Contains(err.Error(), "full") {
		t.Errorf("at the cap: %v, want ErrFull in words", err)
	}
	produce(t, c, stream.Record{Topic: "fresnel.mutations", Value: make([]byte, 300_000)})
}

func TestProduceEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := startBroker(t, t.TempDir())
	c := newClient(t, b.Addr())
	ensure(t, c, "a", 1)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := c.Produce(ctx, []stream.Record{{Topic: "a"}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Produce = %v, want the deadline named", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestEnsureTopicsRefusesAnotherPartitionCount(t *testing.T) {
	t.Parallel()
	c := newClient(t, startBroker(t, t.TempDir()).Addr())
	ensure(t, c, "a", 3)
	ensure(t, c, "a", 3)
	if n, err := c.Partitions(t.Context(), "a"); n != 3 || err != nil {
		t.Errorf("Partitions = %d, %v, want 3", n, err)
	}
	if err := c.EnsureTopics(t.Context(), kafka.Topic{Name: "a", Partitions: 4}); err == nil {
		t.Error("another partition count was taken")
	}
}

func TestEnsureTopicsTakesMorePartitionsIfTheyWillDo(t *testing.T) {
	t.Parallel()
	c := newClient(t, startBroker(t, t.TempDir()).Addr())
	ensure(t, c, "wide", 6)
	if err := c.EnsureTopics(t.Context(), kafka.Topic{Name: "wide", Partitions: 4, Least: 1}); err != nil {
		t.Errorf("6 partitions where 1 is enough: %v", err)
	}
	err := c.EnsureTopics(t.Context(), kafka.Topic{Name: "wide", Partitions: 8, Least: 7})
	if err == nil || !strings.Contains(err.Error(), "topic wide: partitions is 6, wanted at least 7") {
		t.Errorf("6 partitions where 7 are needed: %v", err)
	}
}

// A broker that accepts connections and says nothing must not hold up a client
// that knows another.
func TestSilentBrokerIsPassedOver(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := silent.Close(); err != nil {
			t.Error(err)
		}
	}()
	addr := startBroker(t, t.TempDir()).Addr()
	c := newClient(t, silent.Addr().String(), func(c *kafka.Config) {
		c.Brokers = append(c.Brokers, addr)
		c.ReadTimeout, c.RefuseFor = 300*time.Millisecond, 15*time.Second
	})
	ensure(t, newClient(t, addr), "a", 1)
	produce(t, newClient(t, addr), stream.Record{Topic: "a", Value: []byte("x")})
	var s seen
	consume(t, c, named("g", "a"), s.handler())
	eventually(t, 10*time.Second, "read in spite of the silent broker", func() bool { return len(s.all()) == 1 })
	produce(t, c, stream.Record{Topic: "a", Value: []byte("y")})
}
