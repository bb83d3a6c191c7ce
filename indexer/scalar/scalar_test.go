package scalar_test

import (
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/indexer/scalar"
)

func TestDatesOfTheUsualFormsAreRead(t *testing.T) {
	t.Parallel()
	at := func(s string) int64 {
		tm, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return tm.UnixMilli()
	}
	for s, want := range map[string][2]string{
		"2026-05-01T10:11:12Z":           {"2026-05-01T10:11:12Z", "2026-05-01T10:11:12Z"},
		"2026-05-01T10:11:12.123456":     {"2026-05-01T10:11:12.123Z", "2026-05-01T10:11:12.123Z"},
		"2026-05-01 10:11:12":            {"2026-05-01T10:11:12Z", "2026-05-01T10:11:12Z"},
		"2026-05-01 10:11:12.5+02:00":    {"2026-05-01T08:11:12.5Z", "2026-05-01T08:11:12.5Z"},
		"2026-05-01T10:11:12+0200":       {"2026-05-01T08:11:12Z", "2026-05-01T08:11:12Z"},
		"2026-05-01":                     {"2026-05-01T00:00:00Z", "2026-05-01T23:59:59.999Z"},
		"2026-05":                        {"2026-05-01T00:00:00Z", "2026-05-01T23:59:59.999Z"},
		"2026":                           {"2026-01-01T00:00:00Z", "2026-01-01T23:59:59.999Z"},
		"2026-05-01T10":                  {"2026-05-01T10:00:00Z", "2026-05-01T10:59:59.999Z"},
		"1777629600000":                  {"2026-05-01T10:00:00Z", "2026-05-01T10:00:00Z"},
		"2026-05-01T10:00:00.999999999Z": {"2026-05-01T10:00:00.999Z", "2026-05-01T10:00:00.999Z"},
	} {
		lo, hi, ok := scalar.Date(s)
		if !ok || lo != at(want[0]) || hi != at(want[1]) {
			t.Errorf("scalar.Date(%q) = %d, %d, %t, want %d, %d", s, lo, hi, ok, at(want[0]), at(want[1]))
		}
	}
	for _, s := range []string{"", "yesterday", "2026-13-01", "10:00", "2026-05-01T25:00:00Z"} {
		if _, _, ok := scalar.Date(s); ok {
			t.Errorf("scalar.Date(%q) took it", s)
		}
	}
}
