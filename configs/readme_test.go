package configs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadmeNamesMetricsThatExist holds what operators are told to watch against the
// sources: the last word of a metric's name stands in them, in quotes or at the end
// of a whole name.
func TestReadmeNamesMetricsThatExist(t *testing.T) {
	t.Parallel()
	_, watch, found := strings.Cut(read(t, "../README.md"), "<!-- watch -->")
	if !found {
		t.Fatal("the README does not say what to watch")
	}
	watch, _, _ = strings.Cut(watch, "<!-- /watch -->")
	sources := metricSources(t)
	for _, name := range regexp.MustCompile(`fresnel_[a-z_]+`).FindAllString(watch, -1) {
		subsystem, rest, _ := strings.Cut(strings.TrimPrefix(name, "fresnel_"), "_")
		if text := sources[subsystem]; !strings.Contains(text, `"`+name+`"`) && !strings.Contains(text, `"`+rest+`"`) {
			t.Errorf("the README tells operators to watch %s; no part of Fresnel has it", name)
		}
	}
}

// metricSources are the files that define metrics, by subsystem.
func metricSources(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "metrics.go" {
			return err
		}
		b, err := os.ReadFile(path)
		for _, s := range []string{"kafka", "listener", "indexer", "elastic", "publishers", "searchapi"} {
			if strings.Contains(path, s) {
				all[s] += string(b)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
