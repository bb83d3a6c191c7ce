//go:build real

package real

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/fresnel-search/fresnel/cmd/fresnel/play"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/test/harness"
)

// The topics that made-up lives are told on; recordings bring their own.
var lifeTopics = []string{"notifications.info", "notifications.info.second"}

const (
	imageType = "OS::Glance::Image"
	owner     = "0123456789abcdef0123456789abcdef"
	// watched is how many images are looked at over the API all the time.
	watched        = 40
	partitions     = 3
	ticksPerSecond = 20
)

// workload tells, at a steady rate, of the lives of many resources at once, in an
// order that services and Kafka may bring about: over several topics and partitions,
// some of it twice, some after the deletion. Besides it plays recorded clouds.
type workload struct {
	t      testing.TB
	cl     *kgo.Client
	random *rand.Rand
	base   time.Time

	mu     sync.Mutex
	born   int
	living []*life
	later  []stream.Record // that come once more
	clouds func() (stream.Record, bool)
	close  func()
	topics []string
	failed error

	stop, done chan struct{}
}

// life is one image and what is yet to be told of it.
type life struct {
	id   string
	rest []stream.Record
}

func newWorkload(t testing.TB, brokers string, seed uint64) *workload {
	t.Helper()
	recorded, err := play.Load(harness.Testdata(t, "notifications"))
	if err != nil {
		t.Fatal(err)
	}
	w := &workload{t: t, random: rand.New(rand.NewPCG(seed, 1)), base: time.Now()} //nolint:gosec // repeatable
	topics := map[string]bool{}
	for _, r := range recorded {
		topics[r.Topic] = true
	}
	for _, topic := range lifeTopics {
		topics[topic] = true
	}
	w.topics = slices.Sorted(maps.Keys(topics))
	w.clouds, w.close = iter.Pull(play.Options{Copies: 1 << 20}.Records(recorded))
	w.cl, err = kgo.NewClient(kgo.SeedBrokers(strings.Split(brokers, ",")...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.DialTimeout(time.Second), kgo.ProduceRequestTimeout(5*time.Second), kgo.RetryTimeout(2*time.Minute),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.MaxVersions(kversion.V3_5_0()), // topics by name, not by id
		kgo.UnknownTopicRetries(-1), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.halt()
		w.close()
		w.cl.Close()
	})
	harness.Eventually(t, "the services' topics are there", func() error { return createTopics(w.cl, w.topics...) })
	return w
}

// createTopics makes topics with three partitions.
func createTopics(cl *kgo.Client, names ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	for _, name := range names {
		rt := kmsg.NewCreateTopicsRequestTopic()
		rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, partitions, -1
		req.Topics = append(req.Topics, rt)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil && err != kerr.TopicAlreadyExists { //nolint:errorlint // as it is
			return fmt.Errorf("%s: %w", t.Topic, err)
		}
	}
	return nil
}

// run tells rate records a second until halt.
func (w *workload) run(rate int) {
	w.stop, w.done = make(chan struct{}), make(chan struct{})
	stop, done := w.stop, w.done
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second / ticksPerSecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			for range max(1, rate/ticksPerSecond) {
				w.tell(w.next())
			}
		}
	}()
}

// halt stops telling and waits until Kafka has taken everything.
func (w *workload) halt() {
	if w.stop == nil {
		return
	}
	close(w.stop)
	<-w.done
	w.stop = nil
	w.flush()
}

func (w *workload) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := w.cl.Flush(ctx); err != nil {
		w.t.Errorf("what was told does not get into Kafka: %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed != nil {
		w.t.Errorf("Kafka refused: %v", w.failed)
	}
}

// tell appends records, each to a partition by chance if it names none.
func (w *workload) tell(rs ...stream.Record) {
	for _, r := range rs {
		if r.Partition < 0 {
			w.mu.Lock()
			r.Partition = w.random.IntN(partitions)
			w.mu.Unlock()
		}
		rec := &kgo.Record{Topic: r.Topic, Partition: int32(r.Partition), Key: r.Key, Value: r.Value} //nolint:gosec // small
		w.cl.Produce(context.Background(), rec, func(_ *kgo.Record, err error) {
			if err != nil {
				w.mu.Lock()
				w.failed = err
				w.mu.Unlock()
			}
		})
	}
}

// next is what is told next: of a life, again, or of a recorded cloud.
func (w *workload) next() stream.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch p := w.random.Float64(); {
	case p < 0.1 && len(w.later) > 50:
		i := w.random.IntN(len(w.later))
		r := w.later[i]
		w.later = slices.Delete(w.later, i, i+1)
		return r
	case p < 0.3:
		r, _ := w.clouds()
		r.Partition = -1
		return r
	}
	for len(w.living) < 300 {
		w.living = append(w.living, w.newLife())
	}
	i := w.random.IntN(len(w.living))
	l := w.living[i]
	r := l.rest[0]
	if l.rest = l.rest[1:]; len(l.rest) == 0 {
		w.living[i] = w.newLife()
	}
	if w.random.Float64() < 0.1 {
		w.later = append(w.later, r)
	}
	return r
}

// newLife makes an image up: created, updated some times, mostly deleted, and then
// often talked about nevertheless, by messages from before and from after.
func (w *workload) newLife() *life {
	l := &life{id: imageID(w.born)}
	w.born++
	at := w.base.Add(time.Duration(w.born) * time.Millisecond)
	say := func(event string, after time.Duration, version int) {
		topic := lifeTopics[w.random.IntN(len(lifeTopics))]
		name := fmt.Sprintf("v%d", version)
		l.rest = append(l.rest, notify(topic, event, at.Add(after), image(l.id, name, w.random.IntN(3))))
	}
	updates := w.random.IntN(6)
	say("image.create", 0, 0)
	for i := range updates {
		say("image.update", time.Duration(i+1)*time.Second, i+1)
	}
	if w.random.Float64() < 0.7 {
		say("image.delete", 10*time.Second, updates)
		if w.random.Float64() < 0.4 {
			say("image.update", 9*time.Second, 90)
			say("image.update", 11*time.Second, 91)
		}
	}
	return l
}

// some are references of images that are, or were, or will be.
func (w *workload) some() []resource.Ref {
	refs := make([]resource.Ref, watched)
	for i := range refs {
		refs[i] = resource.Ref{Type: imageType, ID: imageID(i)}
	}
	return refs
}

func imageID(n int) string { return fmt.Sprintf("image-%06d", n) }

// notify is a notification in oslo's envelope.
func notify(topic, event string, at time.Time, payload map[string]any) stream.Record {
	return stamped(topic, event, at.UTC().Format("2006-01-02 15:04:05.000000"), payload)
}

// stamped is a notification with a timestamp as given; without one if it is empty.
func stamped(topic, event, at string, payload map[string]any) stream.Record {
	message := map[string]any{
		"message_id": fmt.Sprintf("%s-%s-%s-%s", payload["id"], event, at, payload["name"]), "publisher_id": "test", "event_type": event,
		"priority": "INFO", "timestamp": at, "payload": payload, "_context": map[string]any{},
	}
	if at == "" {
		delete(message, "timestamp")
	}
	text, err := json.Marshal(message)
	if err != nil {
		panic(err)
	}
	whole, err := json.Marshal(map[string]string{"oslo.version": "2.0", "oslo.message": string(text)})
	if err != nil {
		panic(err)
	}
	return stream.Record{Topic: topic, Partition: -1, Value: whole}
}

// image is what Glance says of an image.
func image(id, name string, tags int) map[string]any {
	return map[string]any{
		"id": id, "name": name, "status": "active", "visibility": "private", "owner": owner,
		"properties": map[string]any{"os_distro": "debian"}, "tags": []string{"a", "b", "c"}[:tags],
	}
}
