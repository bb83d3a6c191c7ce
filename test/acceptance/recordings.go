package acceptance

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/test/harness"
)

// EveryRecording plays all recordings, then again shuffled and each three times, and
// checks that both end in the same documents.
func EveryRecording(t testing.TB, e *harness.Engines) {
	t.Helper()
	recordings := Recordings(t)
	plain := e.New(t, Admin).Start()
	plain.Play(recordings...)
	Settled(t, plain, appended(t, plain, 1, recordings...), "")
	want := Dump(t, plain, "")
	if len(want) < 300 {
		t.Fatalf("only %d documents", len(want))
	}
	e.Reset(t)
	shuffled := e.New(t, Admin).Start()
	shuffled.Play(append([]string{"--shuffle", "7", "--duplicate", "3"}, recordings...)...)
	Settled(t, shuffled, appended(t, shuffled, 3, recordings...), "")
	got := Dump(t, shuffled, "")
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("documents differ after shuffling and repeating (-plain +shuffled):\n%.4000s", d)
	}
}
