package indexer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fresnel-search/fresnel/indexer/record"
)

// bury stores a dead letter for each item that is given up on. Storing one twice
// leaves one.
func (h *handler) bury(ctx context.Context, items []item) error {
	var letters []record.Record
	for i := range items {
		if items[i].dead == nil {
			continue
		}
		letter, err := items[i].letter().Record()
		if err != nil {
			return err
		}
		letters = append(letters, letter)
	}
	if len(letters) == 0 {
		return nil
	}
	saved, err := h.x.deps.Records.Save(ctx, letters)
	for i := range saved {
		err = errors.Join(err, saved[i].Err)
	}
	if err != nil {
		return fmt.Errorf("store %d dead letters: %w", len(letters), err)
	}
	return nil
}

func (it *item) letter() record.DeadLetter {
	rec := it.rec
	return record.DeadLetter{
		ID:     fmt.Sprintf("%s/%s/%d/%d", record.DeadMutation, rec.Topic, rec.Partition, rec.Offset),
		Kind:   record.DeadMutation,
		Reason: it.dead.reason, Detail: it.dead.detail, Time: time.Now().UTC(),
		Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Key: rec.Key, Value: rec.Value,
	}
}
