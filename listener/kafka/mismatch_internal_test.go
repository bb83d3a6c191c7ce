package kafka

import (
	"strings"
	"testing"
	"time"
)

func TestCompareSaysWhatIsNotAsWanted(t *testing.T) {
	t.Parallel()
	want := Topic{Name: "fresnel.changes", Partitions: 3, Replication: 3, MinInsync: 2, Retention: 24 * time.Hour}
	good := func(change func(*found)) found {
		f := found{partitions: 3, replicas: 3, brokers: 3, settings: map[string]string{
			keyPolicy: "delete", keyRetention: "86400000", keyRetentionBytes: "-1", keyMinInsync: "2",
		}}
		change(&f)
		return f
	}
	for name, tc := range map[string]struct {
		f     found
		fatal bool
		words []string // none: as wanted
	}{
		"all as wanted":             {good(func(*found) {}), false, nil},
		"kept for ever":             {good(func(f *found) { f.settings[keyRetention] = "-1" }), false, nil},
		"more copies":               {good(func(f *found) { f.replicas = 4 }), false, nil},
		"too few partitions":        {good(func(f *found) { f.partitions = 2 }), true, []string{"partitions is 2, wanted 3", "configure 2"}},
		"too many partitions":       {good(func(f *found) { f.partitions = 4 }), true, []string{"partitions is 4, wanted 3", "keys have moved"}},
		"compaction":                {good(func(f *found) { f.settings[keyPolicy] = "compact" }), true, []string{"cleanup.policy is compact", "cleanup.policy=delete"}},
		"shorter retention":         {good(func(f *found) { f.settings[keyRetention] = "3600000" }), false, []string{"retention.ms is 3600000 (1h0m0s)", "retention.ms=86400000"}},
		"retention by size":         {good(func(f *found) { f.settings[keyRetentionBytes] = "1000" }), false, []string{"retention.bytes is 1000"}},
		"fewer copies":              {good(func(f *found) { f.replicas = 2 }), false, []string{"replication is 2, wanted 3"}},
		"fewer in-sync replicas":    {good(func(f *found) { f.settings[keyMinInsync] = "1" }), false, []string{"min.insync.replicas is 1, wanted 2"}},
		"in-sync above the copies":  {good(func(f *found) { f.settings[keyMinInsync] = "4" }), true, []string{"nothing can be appended"}},
		"settings we may not see":   {good(func(f *found) { f.settings = nil }), false, []string{"DescribeConfigs"}},
		"partitions and compaction": {good(func(f *found) { f.partitions = 1; f.settings[keyPolicy] = "compact,delete" }), true, []string{"partitions", "cleanup.policy"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var text []string
			fatal := false
			for _, m := range compare(want, tc.f) {
				text = append(text, m.Error())
				fatal = fatal || m.Fatal
				if !strings.Contains(m.Error(), "topic fresnel.changes") {
					t.Errorf("%q names no topic", m.Error())
				}
			}
			if (len(text) > 0) != (len(tc.words) > 0) || fatal != tc.fatal {
				t.Errorf("compare = %q, fatal %t", text, fatal)
			}
			for _, w := range tc.words {
				if !strings.Contains(strings.Join(text, "\n"), w) {
					t.Errorf("compare = %q, lacks %q", text, w)
				}
			}
		})
	}
	if m := compare(Topic{Name: "a", Retention: time.Hour}, found{partitions: 1, replicas: 1, brokers: 3, settings: map[string]string{}}); len(m) != 1 || m[0].Fatal {
		t.Errorf("one copy on three brokers: %v, want one warning", m)
	}
}
