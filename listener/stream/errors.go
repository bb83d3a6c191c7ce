package stream

import "errors"

var (
	// ErrOffset says that an offset lies before the start or after the end of a log.
	ErrOffset = errors.New("offset out of range")
	// ErrFull says that the broker refuses records until consumers have caught up.
	ErrFull = errors.New("log is full until consumers have caught up")
	// ErrTooLarge says that a record is larger than the broker takes.
	ErrTooLarge = errors.New("record too large")
)
