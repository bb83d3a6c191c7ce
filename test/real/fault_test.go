//go:build real

package real

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/configs/resources"
	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/test/harness"
	"github.com/fresnel-search/fresnel/test/oracle"
)

var (
	seeds = flag.Int("seeds", defaultSeeds, "how often each fault is brought about, each time in another way")
	first = flag.Uint64("seed", 1, "the first of the seeds")
	rate  = flag.Int("rate", defaultRate, "notifications a second while things break")
)

// faulty delivers everything to a receiver, retries soon, and gives up on an engine
// that says nothing before people would.
const faulty = `
searchapi: {listen: SEARCH_ADDR, identity: {mode: none}}
listener: {kafka: {embedded: {listen: KAFKA_ADDR, trim_interval: 1h}}}
indexer: {partitions: 3, elasticsearch: {replicas: 1, timeout: 5s}}
publishers:
  outbound: {allow: ["127.0.0.0/8"]}
  retry: {schedule: [0s, 100ms, 200ms, 400ms, 800ms, 1s, 1s, 1s, 1s, 1s, 1s, 1s]}
  subscriptions:
    - name: all
      publisher: webhook
      destination: "RECEIVER"
      secret: ` + harness.Secret + `
      admin_fields: true
      filter: {projects: ["*"]}
`

// world is one Fresnel of some processes, its engines, what is told to it and
// everything that is recorded of it.
type world struct {
	*testing.T
	e        *harness.Engines
	random   *rand.Rand
	servers  []*harness.Server
	receiver *harness.Receiver
	*workload
	watcher            *watcher
	mutations, changes *harness.Tail
	// history holds the logs of earlier lives of topics, and the faults.
	history oracle.History
	nodes   string // of Elasticsearch, whatever is in between
	// skipped is what each step was made not to see, by its role.
	skipped map[string]int64
	begun   time.Time
	alive   atomic.Int64 // the server that searches are sent to
}

// newWorld starts n servers on empty engines, and the workload.
func newWorld(t *testing.T, e *harness.Engines, seed uint64, n int) *world {
	t.Helper()
	w := &world{T: t, e: e, random: rand.New(rand.NewPCG(seed, 2)), receiver: harness.NewReceiver(t), nodes: e.Search, begun: time.Now()} //nolint:gosec // repeatable
	e.Reset(t)
	if e.Search == "" {
		n = 1 // the embedded store is one process's
	}
	for range n {
		w.servers = append(w.servers, e.New(t, strings.ReplaceAll(faulty, "RECEIVER", w.receiver.URL)))
	}
	brokers := w.servers[0].Kafka
	if e.IsReal() {
		w.workload = newWorkload(t, brokers, seed)
	}
	for _, s := range w.servers {
		s.Start()
	}
	if !e.IsReal() {
		w.workload = newWorkload(t, brokers, seed)
	}
	w.tail()
	w.watcher = watch(t, w.servers, w.some())
	w.run(*rate)
	w.Logf("%d servers are ready after %s", n, w.age())
	return w
}

func (w *world) age() time.Duration { return time.Since(w.begun).Round(10 * time.Millisecond) }

// tail reads both logs from their beginning.
func (w *world) tail() {
	w.mutations = harness.NewTail(w.T, w.servers[0].Kafka, "fresnel.mutations")
	w.changes = harness.NewTail(w.T, w.servers[0].Kafka, "fresnel.changes")
}

// resumes is how soon work must go on once what was broken is repaired.
const resumes = 30 * time.Second

// fault breaks something and repairs it, and waits until work goes on. Meanwhile one of
// the texts must be among what readiness says, if there are any.
func (w *world) fault(name string, breaks func(), said ...string) {
	w.Helper()
	f := oracle.Fault{Name: name, From: time.Now(), Said: said}
	breaks()
	f.To = time.Now()
	w.Logf("%6s %s, for %s", w.age(), name, f.To.Sub(f.From).Round(10*time.Millisecond))
	w.history.Faults = append(w.history.Faults, f)
	w.goesOn(name)
}

// goesOn tells of a new image on each partition of the services, and waits until all
// are shown: what was told before on these partitions is handled then, too.
func (w *world) goesOn(after string) {
	w.Helper()
	begin := time.Now()
	var canaries []string
	for _, topic := range lifeTopics {
		for p := range partitions {
			id := fmt.Sprintf("canary-%d-%d", len(w.history.Faults), len(canaries))
			r := notify(topic, "image.create", begin, image(id, after, 0))
			r.Partition = p
			w.tell(r)
			canaries = append(canaries, id)
		}
	}
	harness.Eventually(w.T, "work goes on after "+after, func() error {
		for len(canaries) > 0 {
			if err := w.shown(canaries[0]); err != nil {
				return err
			}
			canaries = canaries[1:]
		}
		return nil
	})
	took := time.Since(begin)
	w.Logf("%6s work goes on after %s", w.age(), took.Round(10*time.Millisecond))
	if took > resumes {
		w.Errorf("after %s it took %s until work went on, want %s at most", after, took, resumes)
	}
}

// shown asks all servers for an image; one must have it.
func (w *world) shown(id string) (err error) {
	for _, s := range w.servers {
		if err = s.Get("/v1/resources/"+url.PathEscape(imageType)+"/"+id, nil); err == nil {
			return nil
		}
	}
	return err
}

// pass lets time go by with everything as it is.
func (w *world) pass(d time.Duration) {
	select {
	case <-w.Context().Done():
	case <-time.After(d):
	}
}

// between is a time by chance.
func (w *world) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.random.Int64N(int64(most-least)))
}

// rest ends the workload and waits until nothing is left to do: all is folded,
// delivered, and read by the tails. It returns the books.
func (w *world) rest() map[string]oracle.Account {
	w.Helper()
	w.halt()
	begin := time.Now()
	var books map[string]oracle.Account
	harness.Patiently(w.T, "everything is folded and delivered", func() (progress int64, err error) {
		books, err = w.books()
		if err != nil {
			return 0, err
		}
		progress = books["listener"].Input + books["indexer"].Input
		for role, n := range w.appended() {
			if got := books[role].Input; got != n {
				err = errors.Join(err, fmt.Errorf("the %s has %d of %d", role, got, n))
			}
		}
		got, all := int64(w.changes.Count()), w.end("fresnel.changes")
		if err == nil && got != all {
			err = fmt.Errorf("%d of %d changes are read", got, all)
		}
		progress += int64(w.receiver.Count()) + got
		return progress, errors.Join(err, w.delivered())
	})
	w.Logf("%6s at rest %s after the last record: %d records, %d mutations, %d changes", w.age(),
		time.Since(begin).Round(10*time.Millisecond), books["listener"].Input, books["indexer"].Input, w.changes.Count())
	return books
}

// delivered says what the subscription still has to do, by the one server that
// publishes.
func (w *world) delivered() error {
	var errs []error
	for _, s := range w.servers {
		var a struct {
			Subscriptions []struct {
				Lag, Parked int64
				State       string
				Counters    map[string]int64
			}
		}
		if err := s.Get("/v1/admin/subscriptions", &a); err != nil {
			errs = append(errs, err)
			continue
		}
		if len(a.Subscriptions) == 1 && a.Subscriptions[0].State == "working" {
			if s := a.Subscriptions[0]; s.Lag != 0 || s.Parked != 0 || s.Counters["open"] != 0 {
				return fmt.Errorf("subscription %+v", s)
			}
			return nil
		}
		errs = append(errs, fmt.Errorf("subscriptions %+v", a.Subscriptions))
	}
	return errors.Join(errs...)
}

// end is how many records were ever appended to a topic; -1 if that is unknown.
func (w *world) end(topic string) int64 {
	ctx, cancel := context.WithTimeout(w.Context(), 5*time.Second)
	defer cancel()
	ends, err := harness.EndOf(ctx, w.cl, topic)
	if err != nil {
		return -1
	}
	var sum int64
	for _, n := range ends {
		sum += n
	}
	return sum
}

// appended is how long the logs are that each step reads, what it skipped left out.
func (w *world) appended() map[string]int64 {
	n := map[string]int64{"indexer": w.end("fresnel.mutations") - w.skipped["indexer"], "listener": -w.skipped["listener"]}
	for _, topic := range w.topics {
		n["listener"] += w.end(topic)
	}
	return n
}

// books adds up what all servers say of their partitions: of a partition that moved,
// who has come furthest knows most.
func (w *world) books() (map[string]oracle.Account, error) {
	type book struct {
		Topic     string
		Partition int
		Offset    int64
		Input     int64
		Outcomes  map[string]int64
		Notes     map[string]int64
	}
	type place struct {
		role, topic string
		partition   int
	}
	latest := map[place]book{}
	for _, s := range w.servers {
		var a struct {
			Books map[string]struct{ Partitions []book }
		}
		if err := s.Get("/v1/admin/books", &a); err != nil {
			return nil, err
		}
		for role, all := range a.Books {
			for _, b := range all.Partitions {
				at := place{role, b.Topic, b.Partition}
				if was, ok := latest[at]; !ok || b.Offset >= was.Offset {
					latest[at] = b
				}
			}
		}
	}
	sums := map[string]oracle.Account{}
	for at, b := range latest {
		a, ok := sums[at.role]
		if !ok {
			a = oracle.Account{Outcomes: map[string]int64{}, Notes: map[string]int64{}, AddsUp: true}
		}
		var sum int64
		for k, n := range b.Outcomes {
			a.Outcomes[k] += n
			sum += n
		}
		for k, n := range b.Notes {
			a.Notes[k] += n
		}
		a.Input += b.Input
		a.AddsUp = a.AddsUp && sum == b.Input
		sums[at.role] = a
	}
	return sums, nil
}

// check waits for rest and compares all that was recorded with the invariants.
func (w *world) check() {
	w.Helper()
	h := &w.history
	h.Books = w.rest()
	types, err := catalog.Load(resources.FS)
	if err != nil {
		w.Fatal(err)
	}
	h.Types, h.Receiver, h.Appended = types, w.receiver, w.appended()
	for topic, tail := range map[string]*harness.Tail{"fresnel.mutations": w.mutations, "fresnel.changes": w.changes} {
		harness.Eventually(w.T, topic+" is read to its end", func() error {
			if got, n := int64(tail.Count()), w.end(topic); got != n {
				return fmt.Errorf("%d of %d", got, n)
			}
			return nil
		})
	}
	h.Mutations = append(h.Mutations, w.mutations.Entries()...)
	h.Changes = append(h.Changes, w.changes.Entries()...)
	w.e.Refresh(w.T)
	h.Documents = w.documents(types)
	w.watcher.into(h)
	h.Check(w.T)
	w.Logf("%6s checked: %d documents, %d sightings", w.age(), len(h.Documents), len(h.Sightings))
}

// documents are all that searches find, type by type and page by page.
func (w *world) documents(types *catalog.Catalog) map[resource.Ref]map[string]any {
	w.Helper()
	all := map[resource.Ref]map[string]any{}
	for _, typ := range types.Types() {
		for last := ""; ; {
			var a struct {
				Hits struct {
					Hits []struct {
						ID     string         `json:"_id"`
						Source map[string]any `json:"_source"`
					}
				}
			}
			body := map[string]any{
				"type": typ.Name, "size": 1000, "all_projects": true, "sort": []string{"id"},
				"query": map[string]any{"range": map[string]any{"id": map[string]any{"gt": last}}},
			}
			if err := w.servers[0].Call("POST", "/v1/search", "", body, &a); err != nil {
				w.Fatal(err)
			}
			if len(a.Hits.Hits) == 0 {
				break
			}
			for _, hit := range a.Hits.Hits {
				all[resource.Ref{Type: typ.Name, ID: hit.ID}] = hit.Source
				last = hit.ID
			}
		}
	}
	return all
}

// each runs a fault with every seed.
func each(t *testing.T, f func(t *testing.T, seed uint64)) {
	t.Helper()
	for n := range *seeds {
		seed := *first + uint64(n) //nolint:gosec // small
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { f(t, seed) })
		if t.Failed() {
			return
		}
	}
}
