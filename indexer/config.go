package indexer

import (
	"errors"
	"fmt"
	"time"
)

// Config is the indexer's part of the configuration.
type Config struct {
	// CacheDocuments and CacheBytes bound the documents that each partition of the
	// mutation log keeps in memory.
	CacheDocuments int `yaml:"cache_documents"`
	CacheBytes     int `yaml:"cache_bytes"`
	// CascadePage is how many children one cascade mutation carries their parent's
	// state to.
	CascadePage int `yaml:"cascade_page"`
	// TombstoneRetention is how long deleted documents guard against resurrection,
	// counted from when Fresnel last heard of them. It must be longer than the source
	// topics keep their records.
	TombstoneRetention time.Duration `yaml:"tombstone_retention"`
	// SweepInterval is how often older tombstones are looked for.
	SweepInterval time.Duration `yaml:"sweep_interval"`
}

// DefaultConfig suits a cloud of any size on one machine.
func DefaultConfig() Config {
	return Config{
		CacheDocuments:     4000,
		CacheBytes:         8 << 20,
		CascadePage:        500,
		TombstoneRetention: 30 * 24 * time.Hour,
		SweepInterval:      10 * time.Minute,
	}
}

// Validate names every value that cannot be.
func (c Config) Validate() error {
	var errs []error
	for _, p := range []struct {
		key   string
		value int64
	}{
		{"cache_documents", int64(c.CacheDocuments)},
		{"cache_bytes", int64(c.CacheBytes)},
		{"cascade_page", int64(c.CascadePage)},
		{"tombstone_retention", int64(c.TombstoneRetention)},
		{"sweep_interval", int64(c.SweepInterval)},
	} {
		if p.value <= 0 {
			errs = append(errs, fmt.Errorf("%s: must be above zero", p.key))
		}
	}
	return errors.Join(errs...)
}
