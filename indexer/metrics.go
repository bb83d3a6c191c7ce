package indexer

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fresnel-search/fresnel/indexer/fold"
)

// outcomeDead is the outcome of a mutation that was given up on, as a metrics label.
const outcomeDead = "dead"

type metrics struct {
	mutations *prometheus.CounterVec
	changes   prometheus.Counter
	documents prometheus.Counter
	followups prometheus.Counter
	rewrites  prometheus.Counter
	lost      prometheus.Counter
	swept     prometheus.Counter
	handle    prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "fresnel_indexer_" + name, Help: help})
	}
	m := &metrics{
		mutations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fresnel_indexer_mutations_total",
			Help: "Mutations handled, by what became of them.",
		}, []string{"outcome"}),
		changes:   counter("changes_total", "Entries appended to the change log, repeats included."),
		documents: counter("documents_total", "Documents written to the store, each once a batch that changes it."),
		followups: counter("followups_total", "Cascade and inherit mutations appended to the mutation log."),
		rewrites:  counter("rewrites_total", "Documents written again after a conflict, a busy store or a lost answer."),
		lost:      counter("lost_offsets_total", "Offsets of the mutation log that the broker dropped before they were read."),
		swept:     counter("swept_tombstones_total", "Tombstones removed after their retention."),
		handle: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "fresnel_indexer_handle_duration_seconds",
			Help:    "Time to fold, store and publish a batch.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}),
	}
	for _, o := range []string{string(fold.Applied), string(fold.Silent), string(fold.Stale), string(forwarded), outcomeDead} {
		m.mutations.WithLabelValues(o)
	}
	if reg != nil {
		reg.MustRegister(m.mutations, m.changes, m.documents, m.followups, m.rewrites, m.lost, m.swept, m.handle)
	}
	return m
}
