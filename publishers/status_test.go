package publishers_test

import (
	"testing"

	"github.com/fresnel-search/fresnel/publishers"
)

func TestSubscriptionWhoseStateIsNotLoadedIsNotSaidToWork(t *testing.T) {
	t.Parallel()
	c := newCloud(t, all)
	e, err := publishers.New(c.config, publishers.Deps{Log: c.log, Records: c.store, Plugins: c.to})
	if err != nil {
		t.Fatal(err)
	}
	if st := e.Status()[0]; st.Condition != publishers.Starting {
		t.Errorf("before it runs it is %q, want %q", st.Condition, publishers.Starting)
	}
}
