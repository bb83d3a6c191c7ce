//go:build !real

package example_test

// What needs more than Go may be missing.
const mustHavePython = false
