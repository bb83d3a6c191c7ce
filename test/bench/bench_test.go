package bench

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/test/harness"
)

// plain is a configuration without subscriptions.
const plain = `
searchapi: {listen: SEARCH_ADDR, identity: {mode: none}}
listener: {kafka: {embedded: {listen: KAFKA_ADDR}}}
`

// patience bounds every wait.
const patience = 4 * time.Minute

// BenchmarkFresnel takes all figures, or those that the environment's BENCH names,
// and prints the table.
func BenchmarkFresnel(b *testing.B) {
	r := newReport("make bench")
	wanted := strings.FieldsFunc(os.Getenv("BENCH"), func(c rune) bool { return c == ',' })
	for _, part := range []struct {
		name    string
		measure func(*testing.B, *report)
	}{
		{"ingest", ingest},
		{"documents", documents},
		{"searchable", searchable},
		{"attempt", attempt},
		{"deliveries", deliveries},
		{"start", start},
		{"broker", broker},
	} {
		if len(wanted) > 0 && !slices.Contains(wanted, part.name) {
			continue
		}
		began := time.Now()
		part.measure(b, r)
		fmt.Fprintf(os.Stderr, "%s: %s\n", part.name, time.Since(began).Round(100*time.Millisecond))
		if b.Failed() {
			return
		}
	}
	b.ReportMetric(0, "ns/op") // of no meaning
	if err := r.print(os.Stdout); err != nil {
		b.Fatal(err)
	}
}

// until looks every few milliseconds whether the condition holds.
func until(b *testing.B, every time.Duration, ok func() error) {
	b.Helper()
	tick := time.NewTicker(every)
	defer tick.Stop()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		if err = ok(); err == nil {
			return
		}
	}
	b.Fatalf("waited %s: %v", patience, err)
}

type account struct {
	Input    int64            `json:"input"`
	Outcomes map[string]int64 `json:"outcomes"`
}

// settled waits until the records, and the mutations that follow from them, are
// accounted for.
func settled(b *testing.B, s *harness.Server, records int) map[string]account {
	b.Helper()
	var books struct {
		Books map[string]account `json:"books"`
	}
	until(b, 25*time.Millisecond, func() error {
		books.Books = nil
		if err := s.Get("/v1/admin/books", &books); err != nil {
			return err
		}
		if n := books.Books["listener"].Input; n != int64(records) {
			return fmt.Errorf("%d of %d records", n, records)
		}
		appended, err := harness.Ends(s.Kafka, "fresnel.mutations")
		if n := books.Books["indexer"].Input; err == nil && n != appended {
			err = fmt.Errorf("%d of %d mutations", n, appended)
		}
		return err
	})
	return books.Books
}

// metric sums the series of a metric of the server.
func metric(b *testing.B, s *harness.Server, name string) float64 {
	b.Helper()
	text, err := s.Text("/metrics")
	if err != nil {
		b.Fatal(err)
	}
	sum, found := 0.0, false
	for _, m := range regexp.MustCompile(`(?m)^`+name+`(?:\{[^}]*\})? (\S+)$`).FindAllStringSubmatch(text, -1) {
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			b.Fatal(err)
		}
		sum, found = sum+v, true
	}
	if !found {
		b.Fatal(errors.New("no metric " + name))
	}
	return sum
}
