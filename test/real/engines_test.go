//go:build real

package real

import (
	"os"
	"testing"

	"github.com/fresnel-search/fresnel/test/harness"
)

// engines are those that the environment names.
func engines(t *testing.T) *harness.Engines {
	t.Helper()
	switch os.Getenv("FRESNEL_TEST_FAULTS") {
	case "embedded":
		return harness.Embedded()
	case "kafka": // with the embedded store
		return harness.On(t, harness.Need(t, "FRESNEL_TEST_KAFKA"), "", "")
	}
	return harness.Real(t)
}
