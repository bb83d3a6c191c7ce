//go:build real && !soak

package real

// How long the tests of faults are while there is little time.
const (
	defaultSeeds = 1
	defaultRate  = 500
)
