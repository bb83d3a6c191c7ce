package host

import "context"

// InFlight asks the plugin how many deliveries it has.
func InFlight(p *Plugin) int {
	proc, err := p.ready(context.Background())
	if err != nil {
		return -1
	}
	st, err := proc.publisher.Status(context.Background())
	if err != nil {
		return -1
	}
	return int(st.GetDeliveriesInFlight())
}

// CopyProgram is what makes the copies that are run.
var CopyProgram = copyProgram

// Message is a destination as plugins get it.
var Message = message

// RaceDetector says that memory is not limited.
const RaceDetector = raceDetector
