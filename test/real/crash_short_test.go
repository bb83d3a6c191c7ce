//go:build real && !soak

package real

import (
	"time"

	"github.com/fresnel-search/fresnel/test/acceptance"
)

// crashPlan is every place once, and a kill at random.
func crashPlan() acceptance.CrashPlan {
	return acceptance.CrashPlan{Points: acceptance.CrashPoints(), Nth: []int{1}, Kills: 1, Within: 3 * time.Second}
}
