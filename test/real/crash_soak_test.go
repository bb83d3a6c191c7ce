//go:build real && soak

package real

import (
	"time"

	"github.com/fresnel-search/fresnel/test/acceptance"
)

// crashPlan is the long form.
func crashPlan() acceptance.CrashPlan {
	p := acceptance.AllCrashes()
	p.Kills, p.Within = 60, 5*time.Second
	return p
}
