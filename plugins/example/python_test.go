//go:build !real

package example_test

// Debian's packages may be missing on a machine that only has Go.
const mustHavePython = false
