package sqlite

import (
	"context"
	"errors"
	"testing"

	"github.com/fresnel-search/fresnel/indexer/record"
)

func TestCallThatFailsLeavesNoTraceAndTheOthersOfItsCommitGoOn(t *testing.T) {
	t.Parallel()
	w, err := openWriter(t.Context(), DefaultConfig().In(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := w.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	errBroken := errors.New("broken")
	save := func(key string, then error) *job {
		return &job{run: func(ctx context.Context, w *writer) error {
			_, err := w.save(ctx, record.Record{Table: "t", Key: key, Value: []byte{1}, Version: record.Any})
			return errors.Join(err, then)
		}}
	}
	jobs := []*job{save("first", nil), save("second", errBroken), save("third", nil)}
	if err := w.commit(t.Context(), jobs); err != nil {
		t.Fatal(err)
	}
	if jobs[0].err != nil || !errors.Is(jobs[1].err, errBroken) || jobs[2].err != nil {
		t.Errorf("errors are %v, %v, %v", jobs[0].err, jobs[1].err, jobs[2].err)
	}
	var keys string
	if err := w.conn.QueryRowContext(t.Context(), "SELECT group_concat(key) FROM records").Scan(&keys); err != nil || keys != "first,third" {
		t.Errorf("stored are %q, %v", keys, err)
	}
}
