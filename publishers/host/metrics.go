package host

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fresnel-search/fresnel/publishers/delivery"
)

// metrics count per plugin; the names come from the configuration, so they are few.
type metrics struct {
	states   *prometheus.GaugeVec
	restarts *prometheus.CounterVec
	dropped  *prometheus.CounterVec
	starting *prometheus.HistogramVec
	batch    *prometheus.HistogramVec
	acks     *prometheus.HistogramVec
	outcomes *prometheus.CounterVec
}

type pluginMetrics struct {
	name     string
	all      *metrics
	dropped  prometheus.Counter
	starting prometheus.Observer
	batch    prometheus.Observer
	acks     prometheus.Observer

	mu    sync.Mutex
	codes map[string]prometheus.Counter
}

// reasons are those of restarts.
func reasons() []string { return []string{"crash", "delivery", "refused", "connection"} }

func newMetrics(reg prometheus.Registerer) *metrics {
	const plugin = "publisher"
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{plugin}, labels...))
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, []string{plugin})
	}
	const fast, factor, many = 0.001, 4, 8
	m := &metrics{
		states: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fresnel_publishers_plugin_state", Help: "1 for the state that the plugin is in.",
		}, []string{plugin, "state"}),
		restarts: counter("fresnel_publishers_plugin_restarts_total",
			"How often the plugin ended or did not start: by itself, by a delivery, because it is not what it should be, by its connection.", "reason"),
		dropped:  counter("fresnel_publishers_plugin_log_lines_dropped_total", "Log lines above the rate that is taken."),
		starting: histogram("fresnel_publishers_plugin_start_duration_seconds", "Time from the start until the plugin is ready.", prometheus.ExponentialBuckets(fast, factor, many)),
		batch:    histogram("fresnel_publishers_plugin_batch_deliveries", "Deliveries handed to the plugin in one call.", prometheus.ExponentialBuckets(1, factor, many-2)),
		acks:     histogram("fresnel_publishers_plugin_ack_duration_seconds", "Time until the plugin answers for a delivery.", prometheus.ExponentialBuckets(fast, factor, many)),
		outcomes: counter("fresnel_publishers_plugin_outcomes_total", "Deliveries that the plugin answered for, by its code.", "code"),
	}
	if reg != nil {
		reg.MustRegister(m.states, m.restarts, m.dropped, m.starting, m.batch, m.acks, m.outcomes)
	}
	return m
}

func (m *metrics) of(name string) *pluginMetrics {
	for _, reason := range reasons() {
		m.restarts.WithLabelValues(name, reason)
	}
	return &pluginMetrics{
		name: name, all: m, codes: map[string]prometheus.Counter{},
		dropped:  m.dropped.WithLabelValues(name),
		starting: m.starting.WithLabelValues(name),
		batch:    m.batch.WithLabelValues(name),
		acks:     m.acks.WithLabelValues(name),
	}
}

func (p *pluginMetrics) state(is State) {
	for _, s := range states() {
		value := 0.0
		if s == is {
			value = 1
		}
		p.all.states.WithLabelValues(p.name, string(s)).Set(value)
	}
}

func (p *pluginMetrics) restarts(reason string) { p.all.restarts.WithLabelValues(p.name, reason).Inc() }

// answered counts an outcome. Codes are the plugin's: those above a number count as
// one.
func (p *pluginMetrics) answered(o delivery.Outcome, took time.Duration) {
	p.acks.Observe(took.Seconds())
	name := o.Code
	if o.Kind == delivery.Delivered {
		name = "delivered"
	}
	const most = 64
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.codes[name]
	if c == nil {
		if len(p.codes) >= most {
			name = "other"
		}
		c = p.all.outcomes.WithLabelValues(p.name, name)
		if len(p.codes) < most {
			p.codes[name] = c
		}
	}
	c.Inc()
}

// collector measures the plugins when it is asked.
type collector struct {
	host                        *Host
	inFlight, window, rss, cpus *prometheus.Desc
}

func newCollector(h *Host) *collector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("fresnel_publishers_plugin_"+name, help, []string{"publisher"}, nil)
	}
	return &collector{
		host:     h,
		inFlight: desc("batches_in_flight", "Batches that the plugin has."),
		window:   desc("window_batches", "Batches that the plugin may have now."),
		rss:      desc("resident_memory_bytes", "Resident memory of the plugin's process."),
		cpus:     desc("cpu_seconds_total", "Processor time of the plugin's process that runs now."),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.inFlight, c.window, c.rss, c.cpus} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	for _, p := range c.host.all() {
		d := p.describe()
		p.mu.Lock()
		most := 0
		if p.inst != nil {
			most = p.inst.limits.batches
		}
		p.mu.Unlock()
		running, window := p.window.size(most)
		gauge := func(d *prometheus.Desc, v float64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, p.metrics.name)
		}
		gauge(c.inFlight, float64(running))
		gauge(c.window, float64(window))
		if d.PID != 0 {
			gauge(c.rss, float64(d.RSS))
			out <- prometheus.MustNewConstMetric(c.cpus, prometheus.CounterValue, d.CPU.Seconds(), p.metrics.name)
		}
	}
}
