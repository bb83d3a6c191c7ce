//go:build soak

package test

// The long forms.
const (
	backlogRecords = 100_000
	floodRecords   = 1_000_000
	floodPadding   = 800 // bytes, twice in a record
	floodCap       = 512 << 20
)
