package feed

import "github.com/prometheus/client_golang/prometheus"

// metrics of recording and of pings. No label says whose feed it is.
type metrics struct {
	entries *prometheus.CounterVec
	gaps    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		entries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fresnel_feeds_entries_total", Help: "Entries of feeds, one for each reader of a change, by what came of them.",
		}, []string{"result"}),
		gaps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fresnel_feeds_gaps_total", Help: "Times that the change log had dropped changes before feeds had them.",
		}),
	}
	for _, result := range []string{"recorded", "malformed"} {
		m.entries.WithLabelValues(result)
	}
	if reg != nil {
		reg.MustRegister(m.entries, m.gaps)
	}
	return m
}

type pingMetrics struct {
	pings   *prometheus.CounterVec
	waiting prometheus.Gauge
}

func newPingMetrics(reg prometheus.Registerer) *pingMetrics {
	m := &pingMetrics{
		pings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fresnel_feeds_pings_total", Help: "Pings of hubs, by what came of them.",
		}, []string{"result"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fresnel_feeds_pings_waiting", Help: "Pairs of a hub and a feed of which the hub does not know yet that it has changed.",
		}),
	}
	for _, result := range []string{"delivered", "retry", "rejected"} {
		m.pings.WithLabelValues(result)
	}
	if reg != nil {
		reg.MustRegister(m.pings, m.waiting)
	}
	return m
}
