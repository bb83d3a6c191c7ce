package kafka

import "github.com/prometheus/client_golang/prometheus"

// metrics are what the client counts. The closed label sets start at zero.
type metrics struct {
	produced, consumed, lost, generations, handleErrors prometheus.Counter
	produceErrors                                       *prometheus.CounterVec
	produceSeconds                                      prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, lag func() float64) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "fresnel", Subsystem: "kafka", Name: name, Help: help})
	}
	m := &metrics{
		produced:     counter("produced_records_total", "Records appended."),
		consumed:     counter("consumed_records_total", "Records handled and committed."),
		lost:         counter("lost_records_total", "Records that brokers dropped before they were handled."),
		generations:  counter("generations_total", "Assignments of partitions received."),
		handleErrors: counter("handle_errors_total", "Batches whose handling failed and was repeated."),
		produceErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "fresnel", Subsystem: "kafka", Name: "produce_errors_total", Help: "Calls of Produce that failed.",
		}, []string{"reason"}),
		produceSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "fresnel", Subsystem: "kafka", Name: "produce_duration_seconds", Help: "Time until all replicas had the records.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .1, .5, 2.5, 10, 30},
		}),
	}
	for _, reason := range []string{reasonFull, reasonTooLarge, reasonOther} {
		m.produceErrors.WithLabelValues(reason)
	}
	if reg != nil {
		reg.MustRegister(m.produced, m.consumed, m.lost, m.generations, m.handleErrors, m.produceErrors, m.produceSeconds,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Namespace: "fresnel", Subsystem: "kafka", Name: "lag_records",
				Help: "Records not yet handled in the partitions assigned to this process.",
			}, lag))
	}
	return m
}
