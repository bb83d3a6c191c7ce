//go:build real

package real

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/listener/stream"
	"github.com/fresnel-search/fresnel/test/acceptance"
	"github.com/fresnel-search/fresnel/test/harness"
)

// Somebody made the index of images by hand: its min_disk is no number, and it has no
// room for a checksum.
func TestDocumentsThatAMappingRejectsAreDeadLettersAndTheRestGoesOn(t *testing.T) { // F12
	for flavor, engines := range map[string]func(testing.TB) *harness.Engines{
		"elasticsearch": harness.Real, "opensearch": harness.RealOpenSearch,
	} {
		t.Run(flavor, func(t *testing.T) {
			e := engines(t)
			s := e.New(t, acceptance.Admin).Start()
			s.Stop()
			misfit(t, e)
			s.Start()
			at := time.Now()
			const topic = "notifications.info"
			tell := func(event, id, name string, more map[string]any) stream.Record {
				at = at.Add(time.Millisecond)
				return acceptance.Notify(topic, event, at, acceptance.Image(id, name, more))
			}
			records := []stream.Record{
				tell("image.create", "conflict", "never", map[string]any{"min_disk": 4711}),
				tell("image.create", "full", "never", map[string]any{"checksum": "4711"}),
				tell("image.create", "partly", "first", nil),
				tell("image.update", "partly", "never", map[string]any{"min_disk": 4711}),
				tell("image.update", "partly", "last", nil),
			}
			for i := range 50 {
				records = append(records, tell("image.create", fmt.Sprintf("good-%d", i), "good", nil))
			}
			if err := harness.Produce(t.Context(), s.Kafka, records); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			books := acceptance.Settled(t, s, len(records), "")
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("three documents that are rejected held up the rest for %s", took)
			}
			if n := books.Books["indexer"].Outcomes["dead"]; n != 3 {
				t.Errorf("%d mutations are dead: %+v", n, books.Books["indexer"])
			}
			s.Refresh()
			for i := range 50 {
				if _, err := acceptance.One(s, acceptance.ImageType, fmt.Sprintf("good-%d", i)); err != nil {
					t.Error(err)
				}
			}
			if d, err := acceptance.One(s, acceptance.ImageType, "partly"); err != nil || d["name"] != "last" {
				t.Errorf("the image of which one statement was rejected is %v, %v", d, err)
			}
			letters := acceptance.DeadLetters(t, s)
			if len(letters) != 3 {
				t.Errorf("%d dead letters", len(letters))
			}
			for _, id := range letters {
				l := acceptance.ShowLetter(t, s, id)
				t.Logf("%s: %s", id, l.Detail)
				if l.Reason != "rejected" || !strings.Contains(l.Detail, "400") || strings.Contains(l.Detail, "4711") {
					t.Errorf("dead letter %s: %s: %s", id, l.Reason, l.Detail)
				}
			}
			// The catalogue's mapping takes all of it.
			s.MustRun("reindex", "--force", acceptance.ImageType)
			for _, id := range letters {
				s.MustRun("deadletters", "replay", id)
			}
			for _, id := range []string{"conflict", "full"} {
				s.Eventually(id+" is there after a reindex and a replay", func() error {
					_, err := acceptance.One(s, acceptance.ImageType, id)
					return err
				})
			}
			s.Refresh()
			if d, err := acceptance.One(s, acceptance.ImageType, "partly"); err != nil || d["name"] != "last" {
				t.Errorf("a replay turned time back: %v, %v", d, err)
			}
		})
	}
}

// misfit replaces the index of images by one that differs in two fields.
func misfit(t *testing.T, e *harness.Engines) {
	t.Helper()
	name := e.Prefix + "-os-glance-image-000001"
	must := func(method, path string, body any) (answer []byte) {
		t.Helper()
		var b []byte
		if body != nil {
			var err error
			if b, err = json.Marshal(body); err != nil {
				t.Fatal(err)
			}
		}
		text, err := ask(method, e.Search+path, string(b))
		if err != nil {
			t.Fatal(err)
		}
		return []byte(text)
	}
	var all map[string]struct{ Aliases, Mappings map[string]any }
	if err := json.Unmarshal(must("GET", "/"+name, nil), &all); err != nil {
		t.Fatal(err)
	}
	index := all[name]
	fields := index.Mappings["properties"].(map[string]any)["fields"].(map[string]any)
	properties := fields["properties"].(map[string]any)
	properties["min_disk"] = map[string]any{"type": "boolean"}
	delete(properties, "checksum")
	fields["dynamic"] = true
	must("DELETE", "/"+name, nil)
	must("PUT", "/"+name, map[string]any{
		"aliases": index.Aliases, "mappings": index.Mappings, "settings": map[string]any{"number_of_replicas": 0, "refresh_interval": "1s"},
	})
	must("PUT", "/"+name+"/_settings", map[string]any{"index.mapping.total_fields.limit": count(index.Mappings)})
}

// count is how many fields there are in a mapping.
func count(mapping map[string]any) (n int) {
	for _, key := range []string{"properties", "fields"} {
		inner, _ := mapping[key].(map[string]any)
		for _, field := range inner {
			n += 1 + count(field.(map[string]any))
		}
	}
	return n
}
