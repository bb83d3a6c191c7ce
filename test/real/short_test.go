//go:build real && !soak

package real

import "time"

// How long the tests of faults are while there is little time.
const (
	defaultSeeds = 1
	defaultRate  = 50
	hang         = 30 * time.Second // of a broker
)
