package listener

import "github.com/prometheus/client_golang/prometheus"

// The results of a record, as a metrics label.
const (
	resultIgnored    = "ignored"
	resultDead       = "dead"
	resultDispatched = "dispatched"
)

type metrics struct {
	records   *prometheus.CounterVec
	mutations prometheus.Counter
	lost      prometheus.Counter
	handle    prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fresnel_listener_records_total",
			Help: "Source records handled, by what became of them.",
		}, []string{"result"}),
		mutations: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fresnel_listener_mutations_total",
			Help: "Mutations appended to the mutation log.",
		}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fresnel_listener_lost_offsets_total",
			Help: "Offsets that the broker dropped before they were read.",
		}),
		handle: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "fresnel_listener_handle_duration_seconds",
			Help:    "Time to handle a batch, waiting included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}),
	}
	for _, result := range []string{resultIgnored, resultDead, resultDispatched} {
		m.records.WithLabelValues(result)
	}
	if reg != nil {
		reg.MustRegister(m.records, m.mutations, m.lost, m.handle)
	}
	return m
}
