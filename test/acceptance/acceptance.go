// Package acceptance holds what every Fresnel must do, whatever it stands on, as
// functions that a test calls with engines: embedded ones in `make test`, real ones in
// the tests with the build tag real.
//
// It starts no engine. Its invariant: a body sees servers only through their API,
// their Kafka and their deliveries, so that it says the same of all engines.
package acceptance

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/fresnel-search/fresnel/cmd/fresnel/play"
	"github.com/fresnel-search/fresnel/test/harness"
)

// Admin is a configuration without log-in and without subscriptions.
const Admin = `
searchapi: {listen: SEARCH_ADDR, identity: {mode: none}}
listener: {kafka: {embedded: {listen: KAFKA_ADDR}}}
`

// Recordings are the paths of all recorded notifications.
func Recordings(t testing.TB) []string {
	t.Helper()
	return []string{harness.Testdata(t, "notifications"), harness.Testdata(t, "day")}
}

// Count is how many notifications there are in recordings.
func Count(t testing.TB, paths ...string) int {
	t.Helper()
	rs, err := play.Load(paths...)
	if err != nil {
		t.Fatal(err)
	}
	return len(rs)
}

// Quote replaces a word of a configuration by a string in quotes.
func Quote(text, old, with string) string {
	b, err := json.Marshal(with)
	if err != nil {
		return text
	}
	return strings.ReplaceAll(text, old, string(b))
}
