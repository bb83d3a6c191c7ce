package indexer

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// LogNames tells mutation logs apart. Positions in two logs say nothing about each
// other: what is noted in a document of a log that is no more counts as settled.
type LogNames interface {
	// Name returns the id of the log that the partition has now. An error means that
	// it is to be asked again; nothing of the partition is handled before.
	Name(ctx context.Context, p stream.Partition) (string, error)
	// Committed notes that something of that log has been committed.
	Committed(ctx context.Context, p stream.Partition, id string) error
}

// logNames is the table of the ids of mutation logs, by partition.
const logNames = "mutation_logs"

// Names keeps the ids in a record store, so that all replicas know them. A partition
// keeps its id when nothing was committed because its first owner crashed: the notes
// in documents then tell which changes are still to be sent. It gets a new one when
// its topic was made anew, which shows in either of two ways: what was committed lies
// beyond the log's end; or nothing is committed although something had been, for
// brokers forget what was committed when a topic is deleted. That something was is
// noted by the next owner, or with the batch that follows: a topic that is deleted after the very first
// batch keeps its id, which repeats changes of that batch, if anything, but loses none.
//
// What an assignment says may be old news to a process that was paused. So the store
// is asked first and Kafka then, and the id changes only if nobody changed it since.
type Names struct {
	Records record.Store
	// Place tells what the group has committed of a partition, -1 if nothing, and
	// then where the log ends: asked in this order, the log is never shorter because
	// it was looked at too early.
	Place func(ctx context.Context, p stream.Partition) (committed, end int64, err error)
}

type logName struct {
	ID        string `json:"id"`
	Committed bool   `json:"committed,omitempty"`
	// Beyond is the committed offset, beyond the log's end, that the id was made for.
	// It stays committed until the first batch of the new log is.
	Beyond int64 `json:"beyond,omitempty"`
}

// Name implements LogNames.
func (n Names) Name(ctx context.Context, p stream.Partition) (string, error) {
	r, v, err := n.read(ctx, p)
	if err != nil {
		return "", err
	}
	committed, end, err := n.Place(ctx, p)
	if err != nil {
		return "", fmt.Errorf("find out which log partition %d is of: %w", p.ID, err)
	}
	forgotten := v.Committed && committed < 0
	shorter := committed > end && committed != v.Beyond
	was := v
	if v.ID == "" || forgotten || shorter {
		v = logName{ID: rand.Text()}
	}
	switch {
	case committed > end:
		v.Beyond = committed
	case committed >= 0:
		v.Committed = true
	}
	if v == was {
		return v.ID, nil
	}
	if err := n.save(ctx, r, v); err != nil {
		return "", err
	}
	return v.ID, nil
}

// Committed implements LogNames.
func (n Names) Committed(ctx context.Context, p stream.Partition, id string) error {
	r, v, err := n.read(ctx, p)
	if err != nil {
		return err
	}
	if v.ID != id {
		return fmt.Errorf("partition %d is of another log by now: %w", p.ID, record.ErrConflict)
	}
	if v.Committed {
		return nil
	}
	v.Committed = true
	return n.save(ctx, r, v)
}

func (n Names) read(ctx context.Context, p stream.Partition) (r record.Record, v logName, err error) {
	r, err = n.Records.Read(ctx, logNames, fmt.Sprintf("%s/%d", p.Topic, p.ID))
	if err != nil {
		return r, v, fmt.Errorf("read the mutation log's id: %w", err)
	}
	r.Table, r.Key = logNames, fmt.Sprintf("%s/%d", p.Topic, p.ID)
	if r.Version != 0 {
		if err := json.Unmarshal(r.Value, &v); err != nil {
			return r, v, fmt.Errorf("the mutation log's id: %w", err)
		}
	}
	return r, v, nil
}

// save stores the id unless somebody else was first: then it has to be read again.
func (n Names) save(ctx context.Context, r record.Record, v logName) (err error) {
	if r.Value, err = json.Marshal(v); err != nil {
		return err
	}
	saved, err := n.Records.Save(ctx, []record.Record{r})
	if err == nil {
		err = saved[0].Err
	}
	if err != nil && !errors.Is(err, record.ErrConflict) {
		return fmt.Errorf("write the mutation log's id: %w", err)
	}
	return err
}
