package kafka

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the client counts. The closed label sets start at zero.
type metrics struct {
	produced, consumed, lost, generations, handleErrors prometheus.Counter
	produceErrors                                       *prometheus.CounterVec
	produceSeconds                                      prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, c *Client) *metrics {
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
		reg.MustRegister(m.produced, m.consumed, m.lost, m.generations, m.handleErrors, m.produceErrors, m.produceSeconds, newLagCollector(c))
	}
	return m
}

// lagCollector shows how far the groups of this process are behind. Its labels are
// configured groups and the cluster's topics.
type lagCollector struct {
	c                    *Client
	lag, oldest, waiting *prometheus.Desc
}

func newLagCollector(c *Client) *lagCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName("fresnel", "kafka", name), help, labels, nil)
	}
	return &lagCollector{
		c: c,
		lag: desc("lag_records", "Records not yet handled. Partitions that other processes hold are shown as committed, "+
			"so take the maximum over processes.", "group", "topic", "partition"),
		oldest: desc("oldest_unhandled_seconds", "Age of the oldest record not yet handled in the partitions "+
			"assigned to this process; 0 if none waits.", "group", "topic"),
		waiting: desc("stalled_seconds", "How long the partition that moved least has not moved although records wait, "+
			"among those assigned to this process.", "group", "topic"),
	}
}

// Describe implements prometheus.Collector.
func (l *lagCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- l.lag
	ch <- l.oldest
	ch <- l.waiting
}

// Collect implements prometheus.Collector.
func (l *lagCollector) Collect(ch chan<- prometheus.Metric) {
	now := time.Now()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for group, s := range l.c.everywhere() {
		for p, n := range s.lags {
			gauge(l.lag, float64(n), group, p.Topic, strconv.Itoa(p.ID))
		}
		stalled := map[string]float64{}
		for _, p := range s.Partitions {
			stalled[p.Topic] = max(stalled[p.Topic], seconds(now, p.Since))
		}
		for _, t := range s.Behind {
			gauge(l.oldest, seconds(now, t.Oldest), group, t.Topic)
			gauge(l.waiting, stalled[t.Topic], group, t.Topic)
		}
	}
}

// seconds is how long ago t was, 0 if there is no t.
func seconds(now, t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return max(0, now.Sub(t).Seconds())
}
