package test

import (
	"path/filepath"
	"testing"

	"github.com/fresnel-search/fresnel/plugins/plugintest"
	"github.com/fresnel-search/fresnel/test/acceptance"
	"github.com/fresnel-search/fresnel/test/harness"
)

// TestBuiltInPublishersKeepTheContractOfPlugins verifies, as anybody's plugin is, those
// that need no server but the kit's own as they are in our program. The others, which
// need one or speak to it in another way, are verified in packages of their own.
func TestBuiltInPublishersKeepTheContractOfPlugins(t *testing.T) {
	t.Parallel()
	binary := harness.New(t, acceptance.Admin).Binary()
	for name, f := range map[string]plugintest.Fixtures{
		"webhook": {},
		"log": {Destinations: map[string]plugintest.Destination{
			"ok":        {URI: "file://" + filepath.Join(t.TempDir(), "changes.jsonl")},
			"transient": {URI: "file:///no/such/folder/changes.jsonl"},
		}},
		"discard": {Destinations: map[string]plugintest.Destination{"ok": {URI: "discard:"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := plugintest.Verify(t.Context(), plugintest.Config{
				Path: binary, Args: []string{"plugin-serve", name}, Fixtures: f, MustOnly: true, Patience: 5,
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range r.Checks {
				if c.Status == plugintest.Failed {
					t.Errorf("%s %s: %s", c.ID, c.Title, c.Detail)
				}
			}
			if !r.Passed() {
				t.Error("it has not passed")
			}
		})
	}
}
