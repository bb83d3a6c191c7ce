//go:build real && !soak

package real

import (
	"time"

	"github.com/fresnel-search/fresnel/test/acceptance"
)

// crashPlan is every place once, and some kills at random.
func crashPlan() acceptance.CrashPlan {
	return acceptance.CrashPlan{Points: acceptance.CrashPoints(), Nth: []int{1}, Kills: 4, Within: 3 * time.Second}
}
