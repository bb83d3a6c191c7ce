package elastic

import "github.com/fresnel-search/fresnel/indexer/record"

// OnStep has f called at each step of a reindex; set it before there is one.
func (s *Store) OnStep(f func(*record.Reindex)) { s.onStep = f }
