//go:build real

package elastic_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/indexer/elastic"
	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
	"github.com/fresnel-search/fresnel/indexer/storetest"
)

// servers are the real servers that there are, by flavor.
func servers() map[layout.Flavor]string {
	return map[layout.Flavor]string{
		layout.Elasticsearch: os.Getenv("FRESNEL_TEST_ELASTICSEARCH"),
		layout.OpenSearch:    os.Getenv("FRESNEL_TEST_OPENSEARCH"),
	}
}

// eachServer runs a test on every kind of server. One that is not there is skipped,
// but not where CI says that all are.
func eachServer(t *testing.T, f func(t *testing.T, cfg elastic.Config)) {
	for flavor, url := range servers() {
		t.Run(string(flavor), func(t *testing.T) {
			if url == "" {
				missing := "FRESNEL_TEST_" + strings.ToUpper(string(flavor)) + " names no server: make lab-up starts one"
				if os.Getenv("CI") == "true" {
					t.Fatal(missing)
				}
				t.Skip(missing)
			}
			cfg := elastic.DefaultConfig()
			cfg.Flavor, cfg.Addresses, cfg.Replicas = flavor, strings.Split(url, ","), 0
			f(t, cfg)
		})
	}
}

// openReal opens an empty store under a prefix of its own, and removes its indices.
func openReal(t testing.TB, cfg elastic.Config, types []*catalog.Type) *elastic.Store {
	t.Helper()
	cfg.Prefix = fmt.Sprintf("t%x", rand.Uint64())
	t.Cleanup(func() { dropAll(t, cfg) })
	s, err := elastic.Open(t.Context(), cfg, types, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// dropAll removes every index of a prefix: servers take no wildcard for that.
func dropAll(t testing.TB, cfg elastic.Config) {
	t.Helper()
	var found map[string]any
	call(t, http.MethodGet, cfg.Addresses[0]+"/"+cfg.Prefix+"-*?filter_path=*.settings.index.uuid&expand_wildcards=all", &found)
	if len(found) > 0 {
		call(t, http.MethodDelete, cfg.Addresses[0]+"/"+strings.Join(slices.Sorted(maps.Keys(found)), ","), nil)
	}
}

func call(t testing.TB, method, url string, into any) {
	t.Helper()
	req, err := http.NewRequest(method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true // an idle connection would be taken for a leak
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode > 299 {
		t.Fatalf("%s %s = %s", method, url, res.Status)
	}
	if into != nil {
		if err := json.NewDecoder(res.Body).Decode(into); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRealStoreKeepsTheContract(t *testing.T) {
	eachServer(t, func(t *testing.T, cfg elastic.Config) {
		storetest.Run(t, func(t testing.TB, types []*catalog.Type) storetest.Harness {
			s := openReal(t, cfg, types)
			return storetest.Harness{Store: s, Records: s, Search: s, Refresh: func(t testing.TB) {
				t.Helper()
				if err := s.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
			}}
		})
	})
}
