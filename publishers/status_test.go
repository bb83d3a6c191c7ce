package publishers_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fresnel-search/fresnel/publishers"
)

func TestSubscriptionWhoseStateIsNotLoadedIsNotSaidToWork(t *testing.T) {
	t.Parallel()
	c := newCloud(t, all)
	reg := prometheus.NewRegistry()
	e, err := publishers.New(c.config, publishers.Deps{Log: c.log, Records: c.store, Plugins: c.to, Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	if st := e.Status()[0]; st.Condition != publishers.Starting {
		t.Errorf("before it runs it is %q, want %q", st.Condition, publishers.Starting)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families { // a process that stands by has stopped nothing
		if n := f.GetMetric()[0].GetGauge().GetValue(); f.GetName() == "fresnel_publishers_stopped_subscriptions" && n != 0 {
			t.Errorf("before it runs %s is %v", f.GetName(), n)
		}
	}
}
