//go:build real && soak

package real

// The long forms.
const (
	defaultSeeds = 20
	defaultRate  = 1000
)
