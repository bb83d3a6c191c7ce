package acceptance

import (
	"fmt"
	"testing"

	"github.com/fresnel-search/fresnel/test/harness"
)

// Account is what the admin API says of the records, or of the mutations.
type Account struct {
	Input    int64            `json:"input"`
	Outcomes map[string]int64 `json:"outcomes"`
	Notes    map[string]int64 `json:"notes"`
	AddsUp   bool             `json:"adds_up"`
}

// Books is what the admin API says of everything that came in.
type Books struct {
	AddsUp bool               `json:"adds_up"`
	Books  map[string]Account `json:"books"`
}

// Settled waits until n records are accounted for and every mutation that follows
// from them is folded, and returns the books.
func Settled(t testing.TB, s *harness.Server, n int, token string) (b Books) {
	t.Helper()
	s.Eventually(fmt.Sprintf("%d records are folded", n), func() error {
		b = Books{}
		if err := s.Call("GET", "/v1/admin/books", token, nil, &b); err != nil {
			return err
		}
		appended, err := harness.Ends(s.Kafka, "fresnel.mutations")
		if err != nil {
			return err
		}
		if b.Books["listener"].Input != int64(n) || b.Books["indexer"].Input != appended {
			return fmt.Errorf("%d of %d records, %d of %d mutations", b.Books["listener"].Input, n, b.Books["indexer"].Input, appended)
		}
		return nil
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
