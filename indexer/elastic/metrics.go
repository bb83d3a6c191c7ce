package elastic

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	bulk    prometheus.Histogram
	items   *prometheus.CounterVec
	splits  prometheus.Counter
	blocked prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		bulk: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "fresnel_elastic_bulk_duration_seconds", Help: "Time from sending a bulk request to its whole answer.",
			Buckets: prometheus.ExponentialBuckets(0.002, 3, 10),
		}),
		items: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fresnel_elastic_bulk_items_total", Help: "Writes and deletes sent in bulk requests, by what became of them.",
		}, []string{"outcome"}),
		splits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fresnel_elastic_bulk_splits_total", Help: "Bulk requests sent again in halves, since the server refused them whole.",
		}),
		blocked: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fresnel_elastic_blocked_indices", Help: "Indices that refused the last write for a reason that somebody must mend.",
		}),
	}
	for o := range outcomes {
		m.items.WithLabelValues(o.String())
	}
	if reg != nil {
		reg.MustRegister(m.bulk, m.items, m.splits, m.blocked)
	}
	return m
}

// blockedFor is how long a refusal counts: whoever still has the document tries again
// much sooner, and it may be another process by now.
const blockedFor = 2 * time.Minute

// blocked remembers why indices refuse writes, until one succeeds or nobody tries.
type blocked struct {
	metrics *metrics
	mu      sync.Mutex
	why     map[string]refusal // by index
}

type refusal struct {
	why string
	at  time.Time
}

func newBlocked(m *metrics) *blocked { return &blocked{metrics: m, why: map[string]refusal{}} }

func (b *blocked) set(index, why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.why[index] = refusal{why, time.Now()}
	b.metrics.blocked.Set(float64(len(b.why)))
}

func (b *blocked) clear(index string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.why) > 0 {
		delete(b.why, index)
		b.metrics.blocked.Set(float64(len(b.why)))
	}
}

func (b *blocked) reasons() (errs []error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.why, func(_ string, r refusal) bool { return time.Since(r.at) > blockedFor })
	b.metrics.blocked.Set(float64(len(b.why)))
	for _, index := range slices.Sorted(maps.Keys(b.why)) {
		errs = append(errs, fmt.Errorf("%s: the last write was refused: %s", index, b.why[index].why))
	}
	return errs
}
