//go:build !race

package host

// raceDetector says that this program maps far more data than it uses.
const raceDetector = false
