package kafka

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
)

// Others returns who else is in a consumer group than this client, each by its client id
// and host. A process that was killed is in it for another session_timeout.
func (c *Client) Others(ctx context.Context, group string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	res, err := c.client.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return nil, fmt.Errorf("members of consumer group %s: %w", group, err)
	}
	var out []string
	for _, g := range res.Groups {
		if g.Error != nil {
			return nil, fmt.Errorf("members of consumer group %s: %w", group, g.Error)
		}
		for _, m := range g.Members {
			if m.ClientID != c.cfg.ClientID {
				out = append(out, m.ClientID+" at "+m.ClientHost)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}
