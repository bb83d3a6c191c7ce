package changelog_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fresnel-search/fresnel/indexer/changelog"
	"github.com/fresnel-search/fresnel/indexer/resource"
)

func TestEntryCodecGivesBackTheEntry(t *testing.T) {
	t.Parallel()
	want := sampleEntry()
	b := changelog.Encode(want)
	got, err := changelog.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("decoded entry differs (-want +got):\n%s", d)
	}
	good := string(b)
	for name, bad := range map[string]string{
		"nothing":           "",
		"another version":   strings.Replace(good, `"v":1`, `"v":2`, 1),
		"an unknown member": strings.Replace(good, `"v":1`, `"v":1,"x":1`, 1),
		"an unknown action": strings.Replace(good, `"updated"`, `"upset"`, 1),
		"no id":             strings.Replace(good, `"id":"c1"`, `"id":""`, 1),
		"no type":           strings.Replace(good, `"type":"T"`, `"type":""`, 1),
		"trailing bytes":    good + "1",
	} {
		if _, err := changelog.Decode([]byte(bad)); !errors.Is(err, changelog.ErrMalformed) {
			t.Errorf("%s: error %v, want ErrMalformed", name, err)
		}
	}
}

func TestIDsAreStableAndDiffer(t *testing.T) {
	t.Parallel()
	// Receivers drop repeats by these: they must never change.
	if got, want := changelog.ChangeID("life", 3), "f86ff4b7d5b8c38fea82f00ad62cd639"; got != want {
		t.Errorf("ChangeID = %s, want %s", got, want)
	}
	if got, want := changelog.EventID("m1", self), "862621e50f0c36d5f4ba4a1ca6e2c4b4"; got != want {
		t.Errorf("EventID = %s, want %s", got, want)
	}
	seen := map[string]bool{}
	for _, id := range []string{
		changelog.ChangeID("life", 1), changelog.ChangeID("life", 11), changelog.ChangeID("life1", 1),
		changelog.EventID("life", self), changelog.EventID("life", resource.Ref{Type: "T", ID: "11"}),
	} {
		if seen[id] || len(id) != 32 {
			t.Errorf("id %q comes twice, or is not of 32 digits", id)
		}
		seen[id] = true
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(changelog.Encode(sampleEntry()))
	f.Add([]byte(`{"v":1,"id":"x","ref":{"type":"T","id":"1"},"action":"event","time":"2026-01-02T03:04:05Z","cause":{"kind":"timer"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := changelog.Decode(b)
		if err != nil {
			return
		}
		once := changelog.Encode(e)
		again, err := changelog.Decode(once)
		if err != nil {
			t.Fatalf("Decode(%s): %v", once, err)
		}
		if twice := changelog.Encode(again); !bytes.Equal(once, twice) {
			t.Fatalf("encoding is no fixed point:\n%s\n%s", once, twice)
		}
	})
}

func TestEncodingIsThatOfEncodingJSON(t *testing.T) {
	t.Parallel()
	e := sampleEntry()
	want, err := resource.Canonical(struct {
		V int `json:"v"`
		*changelog.Entry
	}{1, e})
	if err != nil {
		t.Fatal(err)
	}
	if got := changelog.Encode(e); string(got) != string(want) {
		t.Errorf("Encode = %s\nencoding/json: %s", got, want)
	}
}
