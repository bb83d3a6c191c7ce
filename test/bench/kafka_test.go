package bench

import (
	"context"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/fresnel-search/fresnel/cmd/fresnel/play"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// refTopic is one that no part of the server reads.
const refTopic = "bench.reference"

func client(b *testing.B, broker string, opts ...kgo.Opt) *kgo.Client {
	b.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(broker), kgo.AllowAutoTopicCreation(),
		kgo.MetadataMinAge(50 * time.Millisecond), kgo.FetchMaxWait(200 * time.Millisecond), kgo.ProducerLinger(0),
	}, opts...)...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(cl.Close)
	return cl
}

// portID finds the id of the port that a notification is about.
var portID = regexp.MustCompile(`port\\?": \{\\?"id\\?": \\?"([0-9a-f-]{36})`)

// ports makes n notifications of as many new ports out of one recorded, and returns
// their ids too. Two calls with different firsts share none.
func ports(b *testing.B, first, n int) (records []stream.Record, ids []string) {
	b.Helper()
	all, err := play.Load("../notifications/neutron.jsonl.gz")
	if err != nil {
		b.Fatal(err)
	}
	i := slices.IndexFunc(all, func(r stream.Record) bool {
		return regexp.MustCompile(`port\.create\.end`).Match(r.Value)
	})
	if i < 0 {
		b.Fatal("no port.create.end is recorded")
	}
	nth := 0
	for r := range (play.Options{Copies: first + n}).Records(all[i : i+1]) {
		if nth++; nth <= first {
			continue
		}
		id := portID.FindSubmatch(r.Value)
		if id == nil {
			b.Fatalf("no port in %.300s", r.Value)
		}
		r.Partition, r.Time = -1, time.Time{}
		records, ids = append(records, r), append(ids, string(id[1]))
	}
	return records, ids
}

// produce appends records as fast as it goes.
func produce(b *testing.B, cl *kgo.Client, topic string, records []stream.Record) {
	b.Helper()
	for chunk := range slices.Chunk(records, 500) {
		out := make([]*kgo.Record, len(chunk))
		for i, r := range chunk {
			out[i] = &kgo.Record{Topic: r.Topic, Value: r.Value}
			if topic != "" {
				out[i].Topic = topic
			}
		}
		if err := cl.ProduceSync(b.Context(), out...).FirstErr(); err != nil {
			b.Fatal(err)
		}
	}
}

// steadily appends records one by one, rate a second, and calls began with each
// one's number just before.
func steadily(b *testing.B, cl *kgo.Client, topic string, records []stream.Record, rate int, began func(i int)) {
	b.Helper()
	var failed sync.Once
	var pending sync.WaitGroup
	start, tick := time.Now(), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := 0; i < len(records); <-tick.C {
		for due := int(time.Since(start).Seconds() * float64(rate)); i < min(due, len(records)); i++ {
			r := &kgo.Record{Topic: records[i].Topic, Value: records[i].Value}
			if topic != "" {
				r.Topic = topic
			}
			began(i)
			pending.Add(1)
			cl.Produce(b.Context(), r, func(_ *kgo.Record, err error) {
				defer pending.Done()
				if err != nil {
					failed.Do(func() { b.Error(err) })
				}
			})
		}
	}
	pending.Wait()
}

// bareTrip appends records to a topic of no meaning and reads them back, both with
// franz-go, and returns how many a second.
func bareTrip(b *testing.B, broker string, records []stream.Record) float64 {
	b.Helper()
	in := client(b, broker, kgo.ConsumeTopics(refTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()))
	out := client(b, broker)
	warm(b, out, in)
	begin := time.Now()
	done := make(chan int)
	go func() {
		n := 0
		for n < len(records) && b.Context().Err() == nil {
			n += in.PollFetches(b.Context()).NumRecords()
		}
		done <- n
	}()
	produce(b, out, refTopic, records)
	<-done
	return float64(len(records)) / time.Since(begin).Seconds()
}

// warm appends records until the consumer has seen one.
func warm(b *testing.B, out, in *kgo.Client) {
	b.Helper()
	produce(b, out, refTopic, []stream.Record{{Value: []byte("first")}}) // makes the topic
	for seen := false; !seen; {
		produce(b, out, refTopic, []stream.Record{{Value: []byte("warm")}})
		ctx, cancel := context.WithTimeout(b.Context(), 100*time.Millisecond)
		seen = in.PollFetches(ctx).NumRecords() > 0
		cancel()
	}
	for { // and the rest of them
		ctx, cancel := context.WithTimeout(b.Context(), 300*time.Millisecond)
		n := in.PollFetches(ctx).NumRecords()
		cancel()
		if n == 0 {
			return
		}
	}
}

// bareFlow appends records at a rate, and calls got when one has come back.
func bareFlow(b *testing.B, broker string, records []stream.Record, rate int, got func(value []byte)) []time.Time {
	b.Helper()
	in := client(b, broker, kgo.ConsumeTopics(refTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()))
	out := client(b, broker)
	warm(b, out, in)
	began := make([]time.Time, len(records))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; n < len(records) && b.Context().Err() == nil; {
			in.PollFetches(b.Context()).EachRecord(func(r *kgo.Record) {
				n++
				got(r.Value)
			})
		}
	}()
	steadily(b, out, refTopic, records, rate, func(i int) { began[i] = time.Now() })
	<-done
	return began
}
