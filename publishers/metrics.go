package publishers

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fresnel-search/fresnel/publishers/delivery"
)

// results are what an attempt can come to, as a metrics label.
var results = map[delivery.Kind]string{
	delivery.Delivered: "delivered",
	delivery.Retry:     "retry",
	delivery.Rejected:  "rejected",
	delivery.Unknown:   "unknown",
}

type metrics struct {
	attempts *prometheus.CounterVec
	took     *prometheus.HistogramVec
	dead     *prometheus.CounterVec
	gaps     prometheus.Counter
	reg      prometheus.Registerer
}

// newMetrics registers the metrics, with a series for each publisher configured; reg
// may be nil.
func newMetrics(reg prometheus.Registerer, c Config) *metrics {
	m := &metrics{
		reg: reg,
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fresnel_publishers_attempts_total", Help: "Attempts at deliveries, by outcome.",
		}, []string{"publisher", "result"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "fresnel_publishers_attempt_duration_seconds", Help: "Time that attempts took, as publishers report it.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}, []string{"publisher"}),
		dead: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fresnel_publishers_dead_letters_total", Help: "Deliveries given up on.",
		}, []string{"publisher"}),
		gaps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fresnel_publishers_gaps_total", Help: "Times that the change log had dropped what a subscription had not read.",
		}),
	}
	for _, s := range c.Subscriptions {
		m.plugin(s.Publisher)
		m.dead.WithLabelValues(s.Publisher)
	}
	if reg != nil {
		reg.MustRegister(m.attempts, m.took, m.dead, m.gaps)
	}
	return m
}

// pluginMetrics are the series of one publisher.
type pluginMetrics struct {
	results map[delivery.Kind]prometheus.Counter
	none    prometheus.Counter
	took    prometheus.Observer
}

func (m *metrics) plugin(publisher string) *pluginMetrics {
	p := &pluginMetrics{
		results: map[delivery.Kind]prometheus.Counter{},
		none:    m.attempts.WithLabelValues(publisher, "unavailable"),
		took:    m.took.WithLabelValues(publisher),
	}
	for kind, label := range results {
		p.results[kind] = m.attempts.WithLabelValues(publisher, label)
	}
	return p
}

func (p *pluginMetrics) attempt(o delivery.Outcome) {
	if c := p.results[o.Kind]; c != nil {
		c.Inc()
	}
	if o.Took > 0 {
		p.took.Observe(o.Took.Seconds())
	}
}

func (p *pluginMetrics) unavailable(n int) { p.none.Add(float64(n)) }

// watch registers the gauges, which are read from the subscriptions when they are
// scraped.
func (m *metrics) watch(e *Engine) {
	if m.reg != nil {
		m.reg.MustRegister(&gauges{engine: e, descs: map[string]*prometheus.Desc{
			"lag":       desc("lag_changes", "Changes in the log that a publisher's subscriptions were not offered yet."),
			"open":      desc("open_changes", "Changes taken and not settled."),
			"in_flight": desc("in_flight_deliveries", "Deliveries that are with the publisher."),
			"parked":    desc("parked_deliveries", "Deliveries that failed, or wait behind one, in the store."),
			"stopped":   desc("stopped_subscriptions", "Subscriptions that are suspended or whose breaker is open."),
		}})
	}
}

func desc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("fresnel_publishers_"+name, help, []string{"publisher"}, nil)
}

type gauges struct {
	engine *Engine
	descs  map[string]*prometheus.Desc
}

// Describe is for prometheus.
func (g *gauges) Describe(c chan<- *prometheus.Desc) {
	for _, d := range g.descs {
		c <- d
	}
}

// Collect is for prometheus.
func (g *gauges) Collect(c chan<- prometheus.Metric) {
	sums := map[string]map[string]int64{}
	for _, s := range g.engine.Status() {
		sum := sums[s.Publisher]
		if sum == nil {
			sum = map[string]int64{}
			sums[s.Publisher] = sum
		}
		sum["lag"] += s.Lag
		sum["open"] += int64(s.Open)
		sum["in_flight"] += int64(s.InFlight)
		sum["parked"] += int64(s.Parked)
		if s.Condition != Working && s.Condition != Starting {
			sum["stopped"]++
		}
	}
	for publisher, sum := range sums {
		for name, d := range g.descs {
			c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(sum[name]), publisher)
		}
	}
}
