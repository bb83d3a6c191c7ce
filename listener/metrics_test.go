package listener_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/listener"
)

func TestTimesInDoubtAreCountedByWhy(t *testing.T) {
	reg := prometheus.NewRegistry()
	w := &world{letters: make(map[string]record.DeadLetter)}
	l, err := listener.New(listener.DefaultConfig(), listener.Deps{Catalog: meaning{}, Producer: w, Records: w, Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	at := time.Unix(1700000000, 0).UTC() // when Kafka got them all
	for _, stamp := range []string{
		"", "yesterday", "2023-02-30 00:00:00", "9999-12-31 23:59:59", stampOf(at.Add(time.Hour)), stampOf(at.Add(-time.Hour)),
		stampOf(at), stampOf(at.Add(4 * time.Minute)), stampOf(at.Add(-4 * time.Minute)),
	} {
		values = append(values, fmt.Sprintf(`{"message_id":"m","event_type":"thing.update","timestamp":%q,"payload":{"ids":["a"]}}`, stamp))
	}
	if _, err := assigned(l, 0, "").Handle(t.Context(), batch(0, values...)); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "fresnel_listener_doubtful_times_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			got[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
		}
	}
	if d := cmp.Diff(map[string]float64{"undated": 3, "ahead": 2, "behind": 1}, got); d != "" {
		t.Errorf("times in doubt (-want +got):\n%s", d)
	}
}

func stampOf(at time.Time) string { return at.Format("2006-01-02 15:04:05.000000") }
