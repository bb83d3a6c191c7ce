//go:build real && soak

package real

import "time"

// The long forms.
const (
	defaultSeeds = 20
	defaultRate  = 1000
	hang         = 40 * time.Second // of a broker
)
