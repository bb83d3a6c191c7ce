//go:build real

package example_test

// What tests on real servers need is fetched; see test/lab.
const mustHavePython = true
