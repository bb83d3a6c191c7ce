package harness

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Entry is one record of a topic.
type Entry struct {
	Partition int32
	Offset    int64
	Key       string
	Value     []byte
}

// Tail reads a topic from its start for as long as the test runs, over restarts of
// the broker, and remembers everything. It reads with franz-go, not with the client
// that the server uses.
type Tail struct {
	mu  sync.Mutex
	all []Entry
}

// NewTail starts reading; the topic need not exist yet.
func NewTail(t testing.TB, broker, topic string) *Tail {
	t.Helper()
	cl, err := kgo.NewClient(seeds(broker), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200*time.Millisecond),
		kgo.MetadataMinAge(50*time.Millisecond), kgo.MetadataMaxAge(time.Second),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
		kgo.DialTimeout(time.Second), kgo.UnknownTopicRetries(-1))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	tail, done := &Tail{}, make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			fs := cl.PollFetches(ctx)
			tail.mu.Lock()
			fs.EachRecord(func(r *kgo.Record) {
				tail.all = append(tail.all, Entry{r.Partition, r.Offset, string(r.Key), r.Value})
			})
			tail.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		cl.Close()
	})
	return tail
}

// Entries are all records so far, each partition's in order.
func (t *Tail) Entries() []Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Entry(nil), t.all...)
}

// Count is how many records have been read.
func (t *Tail) Count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all)
}

// Ends returns the sum of the end offsets of a topic's partitions: how many records
// were ever appended to it.
func Ends(broker, topic string) (sum int64, err error) {
	cl, err := kgo.NewClient(seeds(broker), kgo.DialTimeout(time.Second))
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	ends, err := EndOf(ctx, cl, topic)
	for _, end := range ends {
		sum += end
	}
	return sum, err
}

// EndOf returns the end offsets of a topic by partition.
func EndOf(ctx context.Context, cl *kgo.Client, topic string) (map[int32]int64, error) {
	meta := kmsg.NewPtrMetadataRequest()
	mt := kmsg.NewMetadataRequestTopic()
	mt.Topic = &topic
	meta.Topics = append(meta.Topics, mt)
	m, err := meta.RequestWith(ctx, cl)
	if err != nil {
		return nil, err
	}
	req := kmsg.NewPtrListOffsetsRequest()
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = topic
	for _, mt := range m.Topics {
		if mt.ErrorCode != 0 {
			return nil, errors.New("no topic " + topic)
		}
		for _, p := range mt.Partitions {
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Partition, rp.Timestamp = p.Partition, -1
			rt.Partitions = append(rt.Partitions, rp)
		}
	}
	req.Topics = append(req.Topics, rt)
	ends := map[int32]int64{}
	for _, sh := range cl.RequestSharded(ctx, req) {
		if sh.Err != nil {
			return nil, sh.Err
		}
		for _, t := range sh.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, err
				}
				ends[p.Partition] = p.Offset
			}
		}
	}
	return ends, nil
}
