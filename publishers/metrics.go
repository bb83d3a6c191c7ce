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
	delivery.Deferred:  "deferred",
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

// watch registers what is read from the subscriptions when it is scraped.
func (m *metrics) watch(e *Engine) {
	if m.reg != nil {
		m.reg.MustRegister(&gauges{engine: e})
	}
}

// gauge is a number that each subscription has.
type gauge struct {
	desc *prometheus.Desc
	of   func(SubscriptionStatus) float64
}

// numbers are all of them.
func numbers() []gauge {
	return []gauge{
		{desc("lag_changes", "Changes in the log that a subscription was not offered yet."), func(s SubscriptionStatus) float64 { return float64(s.Lag) }},
		{desc("lag_seconds", "Age of the oldest change of a subscription that is neither settled nor parked."), func(s SubscriptionStatus) float64 { return s.LagSeconds }},
		{desc("open_changes", "Changes taken and not settled."), func(s SubscriptionStatus) float64 { return float64(s.Open) }},
		{desc("in_flight_deliveries", "Deliveries that are with the publisher."), func(s SubscriptionStatus) float64 { return float64(s.InFlight) }},
		{desc("parked_deliveries", "Deliveries that failed, or wait behind one, in the store."), func(s SubscriptionStatus) float64 { return float64(s.Parked) }},
		{desc("stopped_subscriptions", "1 if a subscription is paused, suspended or its breaker is open."), stopped},
	}
}

func stopped(s SubscriptionStatus) float64 {
	if s.Condition == Working || s.Condition == Starting {
		return 0
	}
	return 1
}

func desc(name, help string, more ...string) *prometheus.Desc {
	return prometheus.NewDesc("fresnel_publishers_"+name, help, append([]string{"publisher", "subscription"}, more...), nil)
}

// settled counts what became of changes. It begins where the last process ended.
func settled() *prometheus.Desc {
	return desc("settled_changes_total", "Changes that a subscription wanted, by what became of them.", "result")
}

// gauges reads the numbers of subscriptions. Their names stand in the configuration,
// so they are a closed set.
type gauges struct{ engine *Engine }

// Describe is for prometheus.
func (g *gauges) Describe(c chan<- *prometheus.Desc) {
	for _, n := range numbers() {
		c <- n.desc
	}
	c <- settled()
}

// Collect is for prometheus.
func (g *gauges) Collect(c chan<- prometheus.Metric) {
	for _, s := range g.engine.Status() {
		for _, n := range numbers() {
			c <- prometheus.MustNewConstMetric(n.desc, prometheus.GaugeValue, n.of(s), s.Publisher, s.Name)
		}
		for result, n := range map[string]int64{
			"delivered": s.Tally.Delivered, "dead": s.Tally.Dead, "expired": s.Tally.Expired,
			"superseded": s.Tally.Superseded, "dropped": s.Tally.Dropped,
		} {
			c <- prometheus.MustNewConstMetric(settled(), prometheus.CounterValue, float64(n), s.Publisher, s.Name, result)
		}
	}
}
