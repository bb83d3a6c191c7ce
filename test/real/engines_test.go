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
	if os.Getenv("FRESNEL_TEST_FAULTS") == "embedded" {
		return harness.Embedded()
	}
	return harness.Real(t)
}
