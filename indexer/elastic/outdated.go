package elastic

import (
	"context"
	"slices"
	"time"

	"github.com/fresnel-search/fresnel/indexer/elastic/dsl"
	"github.com/fresnel-search/fresnel/indexer/elastic/layout"
)

// outdatedLook is how often it is looked whether an index has become as wanted that
// searches leave out.
const outdatedLook = time.Second

// outdated reports whether a search is to begin again because it would leave out an
// index that has been made anew: by its old layout nothing of it can match, as where
// the new one has a field more. No server is asked for what nothing can match, so no
// answer would ever say that its alias is gone.
func (s *Store) outdated(ctx context.Context, in *searched, plan *dsl.Plan) (yes bool) {
	for i, ix := range in.indices {
		asked := slices.ContainsFunc(plan.Parts, func(p dsl.Part) bool { return slices.Contains(p.Indices, i) })
		if asked || len(layout.Diff(ix.layout, s.want[ix.typ])) == 0 || !s.searches.due(ix.typ) {
			continue
		}
		now, err := s.again(ctx, ix.typ, ix)
		yes = yes || err == nil && now.name != ix.name
	}
	return yes
}

// due reports, once in a while, that it is time to look at a type's index.
func (c *searches) due(typ string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.looked[typ]) < outdatedLook {
		return false
	}
	if c.looked == nil {
		c.looked = map[string]time.Time{}
	}
	c.looked[typ] = now
	return true
}
