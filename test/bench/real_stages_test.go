//go:build real

package bench

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// stages says by which function, looked for from the innermost outwards, a sample of
// a profile counts for a stage.
var stages = []struct{ prefix, stage string }{
	{"runtime.gcBgMarkWorker", "garbage collection"},
	{"runtime.gcAssistAlloc", "garbage collection"},
	{"runtime.bgsweep", "garbage collection"},
	{"runtime.bgscavenge", "garbage collection"},
	{"fresnel/listener/notification.", "decode"},
	{"fresnel/indexer/catalog.", "catalogue"},
	{"fresnel/indexer/resource.EncodeMutation", "mutation log"},
	{"fresnel/indexer/resource.DecodeMutation", "mutation log"},
	{"fresnel/indexer/fold.", "fold"},
	{"fresnel/indexer/changelog.", "change log"},
	{"fresnel/indexer/elastic/layout.", "documents"},
	{"fresnel/indexer/elastic.", "store"},
	{"elastic/go-elasticsearch", "store"},
	{"elastic/elastic-transport-go", "store"},
	{"segmentio/kafka-go", "Kafka client"},
	{"fresnel/listener/kafka.", "Kafka client"},
	{"net/http.(*persistConn)", "store"},
	{"net/http.(*Transport)", "store"},
	{"fresnel/publishers", "publishers"},
	{"fresnel/searchapi", "API"},
	{"net/http.(*conn)", "API"},
	{"fresnel/indexer.", "indexer"},
	{"fresnel/listener.", "listener"},
}

const otherStage = "runtime and rest"

// perStage is the processor time of a profile by stage.
func (l *lab) perStage(profile string) map[string]time.Duration {
	l.Helper()
	out, err := exec.CommandContext(l.Context(), "go", "tool", "pprof", "-traces", profile).Output()
	if err != nil {
		l.Fatal(err)
	}
	sums := map[string]time.Duration{}
	stage, took := "", time.Duration(0)
	flush := func() {
		if took > 0 {
			sums[cmp.Or(stage, otherStage)] += took
		}
		stage, took = "", 0
	}
	for sc := bufio.NewScanner(bytes.NewReader(out)); sc.Scan(); {
		line := sc.Text()
		if strings.HasPrefix(line, "-----------+") {
			flush()
			continue
		}
		f := strings.Fields(line)
		if len(f) > 1 && took == 0 {
			if d, err := time.ParseDuration(f[0]); err == nil {
				took, f = d, f[1:]
			}
		}
		if stage == "" && took > 0 && len(f) > 0 {
			stage = stageOf(f[0])
		}
	}
	flush()
	return sums
}

func stageOf(function string) string {
	for _, s := range stages {
		if strings.Contains(function, s.prefix) {
			return s.stage
		}
	}
	return ""
}

// stagesPer tells the stages in microseconds for each of n documents, the dearest
// first.
func stagesPer(sums map[string]time.Duration, n int) string {
	names := slices.SortedFunc(maps.Keys(sums), func(a, b string) int { return cmp.Compare(sums[b], sums[a]) })
	var parts []string
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%s %.0f", name, float64(sums[name].Microseconds())/float64(n)))
	}
	return strings.Join(parts, ", ")
}
