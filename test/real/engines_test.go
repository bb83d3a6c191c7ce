//go:build real

package real

import (
	"os"
	"strings"
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

// cluster is an Elasticsearch of three nodes to break: the environment's if it has as
// many, else one that is started for this test.
func cluster(t *testing.T) (*harness.Engines, *harness.Lab) {
	t.Helper()
	brokers := harness.Need(t, "FRESNEL_TEST_KAFKA")
	if nodes := os.Getenv("FRESNEL_TEST_ELASTICSEARCH"); strings.Count(nodes, ",") == 2 {
		return harness.On(t, brokers, nodes, "elasticsearch"), harness.SharedLab(t)
	}
	lab := harness.NewLab(t, 6000)
	lab.Run(t, []string{"ES_HEAP=512m"}, "elasticsearch.sh", "start", "3")
	nodes := []string{lab.Elasticsearch(0), lab.Elasticsearch(1), lab.Elasticsearch(2)}
	return harness.On(t, brokers, strings.Join(nodes, ","), "elasticsearch"), lab
}
