package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

// Retention tells how long the topics keep their records by age; -1 is for ever,
// compacted topics included. Topics whose settings are hidden from us are left out.
func (c *Client) Retention(ctx context.Context, topics []string) (map[string]time.Duration, error) {
	req := &kafka.DescribeConfigsRequest{}
	for _, t := range topics {
		req.Resources = append(req.Resources, kafka.DescribeConfigRequestResource{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: t, ConfigNames: []string{keyPolicy, keyRetention},
		})
	}
	res, err := c.client.DescribeConfigs(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("ask for the retention of %d topics: %w", len(topics), err)
	}
	out := map[string]time.Duration{}
	for _, r := range res.Resources {
		if r.Error != nil {
			if errors.Is(r.Error, kafka.TopicAuthorizationFailed) || errors.Is(r.Error, kafka.UnknownTopicOrPartition) {
				continue
			}
			return nil, fmt.Errorf("ask for the retention of topic %s: %w", r.ResourceName, r.Error)
		}
		for _, e := range r.ConfigEntries {
			switch ms, err := strconv.ParseInt(e.ConfigValue, 10, 64); {
			case e.ConfigName == keyPolicy && !strings.Contains(e.ConfigValue, "delete"):
				out[r.ResourceName] = -1
			case e.ConfigName == keyRetention && err == nil && out[r.ResourceName] == 0:
				out[r.ResourceName] = age(ms)
			}
		}
	}
	return out, nil
}

// age is a retention in milliseconds; what is longer than a century is for ever.
func age(ms int64) time.Duration {
	const century = 100 * 365 * 24 * time.Hour
	if ms < 0 || ms > century.Milliseconds() {
		return -1
	}
	return time.Duration(ms) * time.Millisecond
}
