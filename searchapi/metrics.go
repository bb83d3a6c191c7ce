package searchapi

import (
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the API. Routes are patterns, never paths.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	searches prometheus.Gauge
	refused  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fresnel_searchapi_requests_total", Help: "Requests answered, by route and class of status.",
		}, []string{"route", "class"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "fresnel_searchapi_request_duration_seconds", Help: "Time to answer a request, by route.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route"}),
		searches: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fresnel_searchapi_searches_running", Help: "Searches that run now.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fresnel_searchapi_searches_refused_total", Help: "Searches refused because too many ran at once.",
		}),
	}
	for _, route := range routeLabels() {
		m.duration.WithLabelValues(route)
		for class := 2; class <= 5; class++ {
			m.requests.WithLabelValues(route, strconv.Itoa(class)+"xx")
		}
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.duration, m.searches, m.refused)
	}
	return m
}

// routeLabels are the values of label route.
func routeLabels() []string {
	return []string{"search", "resource", "events", "admin", "health", "other"}
}

func routeLabel(pattern string) string {
	pattern = strings.Replace(pattern, "/v1.0/", "/v1/", 1)
	switch {
	case pattern == "/v1/search":
		return "search"
	case strings.HasPrefix(pattern, "/v1/resources/"):
		return "resource"
	case strings.HasPrefix(pattern, "/v1/tenants/"):
		return "events"
	case strings.HasPrefix(pattern, "/v1/admin/"):
		return "admin"
	case pattern == "/healthz" || pattern == "/readyz" || pattern == "/metrics":
		return "health"
	}
	return "other"
}

func (m *metrics) observe(pattern string, status int, took time.Duration) {
	route := routeLabel(pattern)
	m.requests.WithLabelValues(route, strconv.Itoa(min(max(status/100, 2), 5))+"xx").Inc()
	m.duration.WithLabelValues(route).Observe(took.Seconds())
}
