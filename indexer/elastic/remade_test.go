package elastic_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/indexer/storetest"
)

// set changes what the fake shows of an index's settings.
func (f *fake) set(index, key string, value any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	settings, _ := f.indices[index]["settings"].(map[string]any)
	inner, _ := settings["index"].(map[string]any)
	inner[key] = value
}

func TestAVersionIsNoneOfAnIndexMadeAnew(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.open(f.config()) // makes the indices
	const name = "t-test-server-000001"
	f.set(name, "uuid", "w3NcWqZwQ0mX8p2l5rYk1A")
	s := f.open(f.config())
	f.bulk = each(func(i int, _ item) string { return created(7) })
	d := doc("a")
	out, err := s.Write(t.Context(), []resource.Document{d})
	if err != nil || out[0].Err != nil {
		t.Fatal(out, err)
	}
	d.Version = out[0].Version
	f.set(name, "uuid", "Zk0s9vQnRbC7d1eF4gHj2B") // dropped and made anew by somebody else
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	sent := f.bulks
	if out, err = s.Write(t.Context(), []resource.Document{d}); err != nil || !errors.Is(out[0].Err, resource.ErrConflict) || f.bulks != sent {
		t.Errorf("a write at a version of the index before = %v, %v", out, err)
	}
	d.Version = 0
	again, err := s.Write(t.Context(), []resource.Document{d})
	if err != nil || again[0].Err != nil || again[0].Version == out[0].Version {
		t.Errorf("the same place of another index = %v, %v", again, err)
	}
}

func TestShardsAndReplicasAreComparedWithTheConfiguration(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	cfg := f.config()
	cfg.Shards, cfg.Replicas = 3, 1
	s := f.open(cfg)
	f.other = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{}`) }
	const name = "t-test-server-000001"
	for _, c := range []struct{ shards, replicas, expand, differs, settings string }{
		{"3", "1", "", "", ""},
		{"1", "1", "false", "shards: 1, the configuration says 3", ""},
		{"3", "0", "", "", "replicas: 0, the configuration says 1"},
		{"3", "0", "0-5", "", ""},
	} {
		f.set(name, "number_of_shards", c.shards)
		f.set(name, "number_of_replicas", c.replicas)
		f.set(name, "auto_expand_replicas", c.expand)
		list, err := s.Indices(t.Context())
		at := slices.IndexFunc(list, func(x resource.Index) bool { return x.Type == storetest.Server })
		if err != nil || at < 0 {
			t.Fatal(list, err)
		}
		is := func(have []string, want string) bool {
			return len(have) == 0 && want == "" || len(have) == 1 && want != "" && strings.Contains(have[0], want)
		}
		if x := list[at]; !is(x.Differences, c.differs) || !is(x.Settings, c.settings) {
			t.Errorf("with %+v: differences %q, settings %q", c, x.Differences, x.Settings)
		}
	}
}
