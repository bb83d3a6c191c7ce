package app

import (
	"errors"
	"fmt"
	"os"

	"github.com/fresnel-search/fresnel/configs"
	"github.com/fresnel-search/fresnel/configs/resources"
	"github.com/fresnel-search/fresnel/indexer/catalog"
	"github.com/fresnel-search/fresnel/searchapi/identity"
)

// Check says what a configuration that is right in itself leads to and that would
// keep a system from starting: resource types, the tokens file, plugins, destinations.
// It opens no data, listens nowhere and runs no plugin.
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
	errs = append(errs, checkPlugins(c))
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
