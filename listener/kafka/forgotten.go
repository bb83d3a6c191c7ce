package kafka

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// forgotten has a group rid of members that kafka-go gave up. Once it fails to join
// again, as while the group's coordinator changes, it joins as a new member, and may
// not get to leave as who it was: that one would be waited for as long as a session,
// and the whole group with it.
type forgotten struct {
	g    *group
	ids  []string
	stop context.CancelFunc
	work sync.WaitGroup
}

// add leaves the group in the place of a member, again and again until end: kafka-go
// cannot read from the answer whether the coordinator was ready to do it.
func (f *forgotten) add(ctx context.Context, memberID string) {
	if memberID == "" {
		return
	}
	f.halt()
	f.ids = append(f.ids, memberID)
	ids := slices.Clone(f.ids)
	ctx, f.stop = context.WithTimeout(ctx, f.g.c.cfg.SessionTimeout) // then it is out of it anyway
	f.work.Go(func() {
		for {
			for _, id := range ids {
				_ = f.g.depart(ctx, id) // asked again in a second, whatever came of it
			}
			if !sleep(ctx, time.Second) {
				return
			}
		}
	})
}

// end is called when this process is a member again, or will not be.
func (f *forgotten) end() {
	f.halt()
	f.ids = nil
}

func (f *forgotten) halt() {
	if f.stop != nil {
		f.stop()
	}
	f.work.Wait()
}

// depart takes a member out of the group.
func (g *group) depart(ctx context.Context, memberID string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	res, err := g.c.client.LeaveGroup(ctx, &kafka.LeaveGroupRequest{GroupID: g.cfg.Group, Members: []kafka.LeaveGroupRequestMember{{ID: memberID}}})
	if err == nil {
		err = res.Error
	}
	return err
}
