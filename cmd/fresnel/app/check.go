package app

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/fresnel-search/fresnel/configs"
	"github.com/fresnel-search/fresnel/configs/resources"
	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/searchapi/identity"
)

// Check says what a configuration that is right in itself leads to and that would
// keep a system from starting: resource types, the tokens file, names of publishers.
// It opens no data and listens nowhere.
func Check(c configs.Config) error {
	var errs []error
	if _, err := LoadTypes(c.Catalog.Dir); err != nil {
		errs = append(errs, fmt.Errorf("catalog.dir: %w", err))
	}
	if id := c.SearchAPI.Identity; id.Mode == identity.ModeStatic {
		if _, err := identity.OpenStatic(id, nil); err != nil {
			errs = append(errs, fmt.Errorf("searchapi.identity.tokens_file: %w", err))
		}
	}
	for i, s := range c.Publishers.Subscriptions {
		_, configured := c.Publishers.Host.Plugins[s.Publisher]
		if !configured && !slices.Contains(builtins[:], s.Publisher) {
			errs = append(errs, fmt.Errorf("publishers.subscriptions[%d].publisher: there is no publisher %q", i, s.Publisher))
		}
	}
	return errors.Join(errs...)
}

// LoadTypes is the catalogue of the built-in resource types and, over them, those in
// dir unless that is empty.
func LoadTypes(dir string) (*catalog.Catalog, error) {
	if dir == "" {
		return catalog.Load(resources.FS)
	}
	if _, err := os.ReadDir(dir); err != nil {
		return nil, err
	}
	return catalog.Load(resources.FS, os.DirFS(dir))
}
