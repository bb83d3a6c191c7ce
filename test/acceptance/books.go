package acceptance

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/fresnel-search/fresnel/cmd/fresnel/play"
	"github.com/fresnel-search/fresnel/test/harness"
)

// Account is what the admin API says of the records, or of the mutations.
type Account struct {
	Input      int64            `json:"input"`
	Outcomes   map[string]int64 `json:"outcomes"`
	Notes      map[string]int64 `json:"notes"`
	AddsUp     bool             `json:"adds_up"`
	Partitions []page           `json:"partitions"`
}

// page is the part of an account that one partition makes.
type page struct {
	Topic     string           `json:"topic"`
	Partition int              `json:"partition"`
	Offset    int64            `json:"offset"`
	Input     int64            `json:"input"`
	Outcomes  map[string]int64 `json:"outcomes"`
	Notes     map[string]int64 `json:"notes"`
}

// Books is what the admin API says of everything that came in.
type Books struct {
	AddsUp bool               `json:"adds_up"`
	Books  map[string]Account `json:"books"`
}

// Settled waits until n records are accounted for and every mutation that follows
// from them is folded, and returns the books.
func Settled(t testing.TB, s *harness.Server, n int, token string) Books {
	t.Helper()
	return settled(t, []*harness.Server{s}, int64(n), token)
}

// appended is how many records were played of recordings, each so many times. On a real
// Kafka it may be more: a producer that got no answer in time repeats.
func appended(t testing.TB, s *harness.Server, times int, recordings ...string) int {
	t.Helper()
	rs, err := play.Load(recordings...)
	if err != nil {
		t.Fatal(err)
	}
	topics := map[string]bool{}
	var sum int64
	for _, r := range rs {
		if topics[r.Topic] {
			continue
		}
		topics[r.Topic] = true
		n, err := harness.Ends(s.Kafka, r.Topic)
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	n := int64(times * len(rs))
	if sum < n || sum > n && !s.On.IsReal() {
		t.Fatalf("%d records are in Kafka of %d", sum, n)
	}
	if sum > n {
		t.Logf("%d of %d records were repeated by who played them", sum-n, n)
	}
	return int(sum)
}

// settled is Settled of the processes of one Fresnel together.
func settled(t testing.TB, processes []*harness.Server, n int64, token string) (b Books) {
	t.Helper()
	harness.Patiently(t, fmt.Sprintf("%d records are folded", n), func() (int64, error) {
		var err error
		if b, err = books(processes, token); err != nil {
			return 0, err
		}
		got := b.Books["listener"].Input + b.Books["indexer"].Input
		appended, err := harness.Ends(processes[0].Kafka, "fresnel.mutations")
		if err != nil {
			return got, err
		}
		if b.Books["listener"].Input != n || b.Books["indexer"].Input != appended {
			return got, fmt.Errorf("%d of %d records, %d of %d mutations", b.Books["listener"].Input, n, b.Books["indexer"].Input, appended)
		}
		return got, nil
	})
	for role, a := range b.Books {
		var sum int64
		for _, c := range a.Outcomes {
			sum += c
		}
		if sum != a.Input || !a.AddsUp || a.Notes["lost"] != 0 {
			t.Errorf("books of the %s: %d of %d have an outcome (%+v)", role, sum, a.Input, a)
		}
	}
	return b
}

// books are those of all processes. Of a partition that moved between them, who has
// come furthest knows most.
func books(processes []*harness.Server, token string) (Books, error) {
	type place struct {
		role, topic string
		partition   int
	}
	latest := map[place]page{}
	all := Books{AddsUp: true, Books: map[string]Account{}}
	for _, s := range processes {
		var b Books
		if err := s.Call(http.MethodGet, "/v1/admin/books", token, nil, &b); err != nil {
			if refused := (*harness.StatusError)(nil); len(processes) > 1 && errors.As(err, &refused) && refused.Code == http.StatusNotFound {
				continue // it neither listens nor indexes
			}
			return all, err
		}
		all.AddsUp = all.AddsUp && b.AddsUp
		for role, a := range b.Books {
			for _, p := range a.Partitions {
				at := place{role, p.Topic, p.Partition}
				if was, ok := latest[at]; !ok || p.Offset >= was.Offset {
					latest[at] = p
				}
			}
		}
	}
	for at, p := range latest {
		a, ok := all.Books[at.role]
		if !ok {
			a = Account{Outcomes: map[string]int64{}, Notes: map[string]int64{}, AddsUp: all.AddsUp}
		}
		a.Input += p.Input
		for k, n := range p.Outcomes {
			a.Outcomes[k] += n
		}
		for k, n := range p.Notes {
			a.Notes[k] += n
		}
		all.Books[at.role] = a
	}
	return all, nil
}
