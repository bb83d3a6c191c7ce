//go:build !soak

package test

// How much the tests play whose long forms are in `make soak`.
const (
	backlogRecords = 20_000
	floodRecords   = 5_000
	floodPadding   = 1_600 // bytes, twice in a record
	floodCap       = 16 << 20
)
