package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/fresnel-search/fresnel/listener/stream"
)

// Committed is what a group has committed for a partition.
type Committed struct {
	Offset   int64
	Metadata string
}

type span struct{ first, end int64 }

// bounds asks for the bounds of several partitions at once. With an error it returns
// those that are known.
func (c *Client) bounds(ctx context.Context, ps []stream.Partition) (map[stream.Partition]span, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req := kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{}}
	for _, p := range ps {
		req.Topics[p.Topic] = append(req.Topics[p.Topic], kafka.FirstOffsetOf(p.ID), kafka.LastOffsetOf(p.ID))
	}
	res, err := c.client.ListOffsets(ctx, &req)
	if err != nil {
		return nil, fmt.Errorf("list offsets: %w", err)
	}
	found := map[stream.Partition]span{}
	for topic, offsets := range res.Topics {
		for _, o := range offsets {
			if o.Error != nil {
				err = errors.Join(err, fmt.Errorf("list offsets of %s/%d: %w", topic, o.Partition, o.Error))
				continue
			}
			found[stream.Partition{Topic: topic, ID: o.Partition}] = span{o.FirstOffset, o.LastOffset}
		}
	}
	for _, p := range ps {
		if _, ok := found[p]; !ok && err == nil {
			err = fmt.Errorf("list offsets of %s/%d: %w", p.Topic, p.ID, kafka.UnknownTopicOrPartition)
		}
	}
	return found, err
}

// CommittedOffsets returns what a group has committed, for every partition it has
// ever committed one.
func (c *Client) CommittedOffsets(ctx context.Context, group string) (found map[stream.Partition]Committed, err error) {
	err = persist(ctx, func() error {
		found, err = c.committed(ctx, group, nil)
		return err
	})
	return found, err
}

func (c *Client) committed(ctx context.Context, group string, ps []stream.Partition) (map[stream.Partition]Committed, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req := kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{}}
	for _, p := range ps {
		req.Topics[p.Topic] = append(req.Topics[p.Topic], p.ID)
	}
	res, err := c.client.OffsetFetch(ctx, &req)
	if err == nil {
		err = res.Error
	}
	if errors.Is(err, kafka.GroupIdNotFound) { // it has never committed anything
		return map[stream.Partition]Committed{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("fetch offsets of group %s: %w", group, err)
	}
	found := map[stream.Partition]Committed{}
	for topic, ps := range res.Topics {
		for _, p := range ps {
			if p.Error != nil {
				return nil, fmt.Errorf("fetch offset of group %s for %s/%d: %w", group, topic, p.Partition, p.Error)
			}
			if p.CommittedOffset >= 0 {
				found[stream.Partition{Topic: topic, ID: p.Partition}] = Committed{p.CommittedOffset, p.Metadata}
			}
		}
	}
	return found, nil
}

// Lag asks the cluster how many records of the topics a group has not committed,
// per partition. It also sees partitions that other processes hold.
func (c *Client) Lag(ctx context.Context, group string, topics ...string) (map[stream.Partition]int64, error) {
	bounds, done, err := c.progress(ctx, group, topics)
	if err != nil {
		return nil, err
	}
	lag := make(map[stream.Partition]int64, len(bounds))
	for p, s := range bounds {
		lag[p] = max(0, s.end-max(s.first, done[p].Offset))
	}
	return lag, nil
}

// commit commits an offset with its metadata as a member of a generation. A member
// that has been replaced is refused, so it cannot move the offset back.
func (c *Client) commit(ctx context.Context, gen *kafka.Generation, p stream.Partition, at Committed) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	res, err := c.client.OffsetCommit(ctx, &kafka.OffsetCommitRequest{
		GroupID:      gen.GroupID,
		GenerationID: int(gen.ID),
		MemberID:     gen.MemberID,
		Topics:       map[string][]kafka.OffsetCommit{p.Topic: {{Partition: p.ID, Offset: at.Offset, Metadata: at.Metadata}}},
	})
	if err != nil {
		return err
	}
	for _, ps := range res.Topics {
		for _, p := range ps {
			err = errors.Join(err, p.Error)
		}
	}
	return err
}
