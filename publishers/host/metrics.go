package host

import "github.com/prometheus/client_golang/prometheus"

// metrics count per plugin; the names come from the configuration, so they are few.
type metrics struct {
	ready    *prometheus.GaugeVec
	restarts *prometheus.CounterVec
	dropped  *prometheus.CounterVec
}

type pluginMetrics struct {
	ready    prometheus.Gauge
	restarts prometheus.Counter
	dropped  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	label := []string{"publisher"}
	m := &metrics{
		ready: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fresnel_publishers_plugin_ready", Help: "1 if the plugin takes deliveries.",
		}, label),
		restarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fresnel_publishers_plugin_restarts_total", Help: "How often the plugin ended or did not start.",
		}, label),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fresnel_publishers_plugin_log_lines_dropped_total", Help: "Log lines above the rate that is taken.",
		}, label),
	}
	if reg != nil {
		reg.MustRegister(m.ready, m.restarts, m.dropped)
	}
	return m
}

func (m *metrics) of(name string) *pluginMetrics {
	return &pluginMetrics{
		ready:    m.ready.WithLabelValues(name),
		restarts: m.restarts.WithLabelValues(name),
		dropped:  m.dropped.WithLabelValues(name),
	}
}
