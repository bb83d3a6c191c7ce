package indexer_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/fresnel-search/fresnel/indexer"
	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/indexer/resource"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// kafka is what a broker says of the group's place in a partition.
type kafka struct{ committed, end int64 }

func (k *kafka) place(context.Context, stream.Partition) (int64, int64, error) {
	return k.committed, k.end, nil
}

var mutations = stream.Partition{Topic: indexer.MutationsTopic}

func TestLogKeepsItsNameUntilItIsAnotherOne(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before, after kafka
		noted         bool // a second batch was handled before
		same          bool
	}{
		"its owner goes on":                                  {kafka{5, 9}, kafka{7, 9}, false, true},
		"its first owner crashed before it committed":        {kafka{-1, 3}, kafka{-1, 9}, false, true},
		"its first owner had committed":                      {kafka{-1, 3}, kafka{3, 9}, false, true},
		"its topic was made anew, and what was is forgotten": {kafka{5, 9}, kafka{-1, 2}, false, false},
		"the same with an owner that had come first":         {kafka{-1, 9}, kafka{-1, 20}, true, false},
		"its topic was made anew, and is shorter":            {kafka{5, 9}, kafka{9, 2}, false, false},
		"its topic was made anew, and is empty":              {kafka{5, 9}, kafka{9, 0}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := c.before
			names := indexer.Names{Records: newWorld(t, family(), 1), Place: at.place}
			first, err := names.Name(t.Context(), mutations)
			if err != nil || first == "" {
				t.Fatalf("Name() = %q, %v", first, err)
			}
			if c.noted {
				if err := names.Committed(t.Context(), mutations, first); err != nil {
					t.Fatal(err)
				}
			}
			at = c.after
			again, err := names.Name(t.Context(), mutations)
			if err != nil || (again == first) != c.same {
				t.Errorf("Name() = %q, %v after %q; want the same: %v", again, err, first, c.same)
			}
			// Its new first owner may crash too before anything is committed.
			at.end += 3
			if at.committed > at.end-3 && at.committed <= at.end {
				at.end = at.committed - 1
			}
			if after, err := names.Name(t.Context(), mutations); after != again || err != nil {
				t.Errorf("Name() = %q, %v then, want %q: once is enough", after, err, again)
			}
			// One that does not know yet that the log is another one.
			if err := names.Committed(t.Context(), mutations, first); !c.same && !errors.Is(err, record.ErrConflict) {
				t.Errorf("Committed(%q) = %v after it was renamed", first, err)
			}
		})
	}
}

func TestReplicasAgreeOnTheLogsName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, family(), 1)
	names := indexer.Names{Records: w, Place: (&kafka{-1, 0}).place}
	var other string
	w.within = func(op string) {
		if op == "save" { // another replica is quicker
			w.within = nil
			var err error
			if other, err = names.Name(t.Context(), mutations); err != nil {
				t.Error(err)
			}
		}
	}
	if id, err := names.Name(t.Context(), mutations); !errors.Is(err, record.ErrConflict) {
		t.Fatalf("Name() = %q, %v: somebody else was first", id, err)
	}
	if id, err := names.Name(t.Context(), mutations); err != nil || id != other {
		t.Errorf("Name() = %q, %v, want %q", id, err, other)
	}
}

// naming notes what a handler asks of names.
type naming struct{ asked []string }

func (n *naming) Name(context.Context, stream.Partition) (string, error) {
	n.asked = append(n.asked, "name")
	if len(n.asked) == 1 {
		return "", errors.New("store down")
	}
	return "log", nil
}

func (n *naming) Committed(context.Context, stream.Partition, string) error {
	n.asked = append(n.asked, "committed")
	return nil
}

func TestNothingIsHandledBeforeTheLogHasAName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, family(), 1)
	for i := range 3 {
		w.tell(said(resource.Full, ref("Flavor", i), i+1, map[string]any{"size": i}))
	}
	n := &naming{}
	x, err := indexer.New(w.config, indexer.Deps{
		Catalog: w.catalog, Store: w, Records: w, Producer: w, Logs: n, Lineage: func() string { return "l" },
	})
	if err != nil {
		t.Fatal(err)
	}
	h := x.NewHandler(stream.Assignment{Partition: mutations})
	batch := func(from, to int) error {
		_, err := h.Handle(t.Context(), stream.Batch{Partition: mutations, Records: slices.Clone(w.log[0][from:to]), HighWater: 3})
		return err
	}
	if err := batch(0, 1); err == nil || len(w.docs) > 0 {
		t.Errorf("Handle() = %v with %d documents written: the log had no name", err, len(w.docs))
	}
	// The first batch's commit failed once; at the end the log begins again.
	for _, b := range [][2]int{{0, 1}, {0, 1}, {1, 2}, {2, 3}, {0, 1}} {
		if err := batch(b[0], b[1]); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"name", "name", "committed", "name"}; !slices.Equal(n.asked, want) {
		t.Errorf("asked were %v, want %v", n.asked, want)
	}
}
