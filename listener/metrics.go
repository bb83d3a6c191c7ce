package listener

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fresnel-search/fresnel/listener/notification"
)

// The results of a record, as a metrics label.
const (
	resultIgnored    = "ignored"
	resultDead       = "dead"
	resultDispatched = "dispatched"
)

// Why the time of a notification is in doubt, as a metrics label.
const (
	undated = "undated" // none that can be read: Kafka's is taken
	ahead   = "ahead"
	behind  = "behind"
)

// maxSkew is what a sender's clock may differ from Kafka's.
const maxSkew = 5 * time.Minute

type metrics struct {
	records   *prometheus.CounterVec
	clocks    *prometheus.CounterVec
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
		clocks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fresnel_listener_doubtful_times_total",
			Help: "Notifications that have no time that can be read, or one more than 5 minutes from when Kafka got them. Replays are behind.",
		}, []string{"why"}),
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
	for _, why := range []string{undated, ahead, behind} {
		m.clocks.WithLabelValues(why)
	}
	if reg != nil {
		reg.MustRegister(m.records, m.clocks, m.mutations, m.lost, m.handle)
	}
	return m
}

// clock counts a notification whose time is in doubt: that decides what is newer.
func (m *metrics) clock(n *notification.Notification, got time.Time) {
	skew := n.Timestamp.Sub(got)
	switch {
	case n.Undated:
		m.clocks.WithLabelValues(undated).Inc()
	case got.Unix() <= 0: // an old Kafka
	case skew > maxSkew:
		m.clocks.WithLabelValues(ahead).Inc()
	case skew < -maxSkew:
		m.clocks.WithLabelValues(behind).Inc()
	}
}
