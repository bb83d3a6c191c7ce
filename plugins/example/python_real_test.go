//go:build real

package example_test

// What tests on real servers need is fetched.
const mustHavePython = true
