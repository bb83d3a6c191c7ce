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
