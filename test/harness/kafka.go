package harness

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// seeds are the brokers of a list.
func seeds(brokers string) kgo.Opt { return kgo.SeedBrokers(strings.Split(brokers, ",")...) }

// ours are the names of topics and groups that a Fresnel reads or writes by default.
var ours = regexp.MustCompile(`^(fresnel[.-]|(ironic_)?(versioned_)?notifications\.)`)

// emptyKafka deletes the topics and consumer groups that a Fresnel uses, and no others.
// The error says what was there.
func emptyKafka(brokers string) error {
	cl, err := kgo.NewClient(seeds(brokers), kgo.DialTimeout(time.Second))
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	groups, err := deleteGroups(ctx, cl)
	if err != nil {
		return err
	}
	topics, err := deleteTopics(ctx, cl)
	if err != nil {
		return err
	}
	if len(groups)+len(topics) > 0 {
		return fmt.Errorf("groups %v and topics %v were there", groups, topics)
	}
	return nil
}

func deleteTopics(ctx context.Context, cl *kgo.Client) (there []string, err error) {
	all := kmsg.NewPtrMetadataRequest()
	meta, err := all.RequestWith(ctx, cl)
	if err != nil {
		return nil, err
	}
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 15_000
	for _, t := range meta.Topics {
		if t.Topic == nil || !ours.MatchString(*t.Topic) {
			continue
		}
		there = append(there, *t.Topic)
		rt := kmsg.NewDeleteTopicsRequestTopic()
		rt.Topic = t.Topic
		req.Topics = append(req.Topics, rt)
	}
	req.TopicNames = there
	if len(there) == 0 {
		return nil, nil
	}
	_, err = req.RequestWith(ctx, cl)
	return there, err
}

func deleteGroups(ctx context.Context, cl *kgo.Client) (there []string, err error) {
	for _, sh := range cl.RequestSharded(ctx, kmsg.NewPtrListGroupsRequest()) {
		if sh.Err != nil {
			return nil, sh.Err
		}
		for _, g := range sh.Resp.(*kmsg.ListGroupsResponse).Groups {
			if ours.MatchString(g.Group) {
				there = append(there, g.Group)
			}
		}
	}
	if len(there) == 0 {
		return nil, nil
	}
	if err := removeMembers(ctx, cl, there); err != nil {
		return there, err
	}
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = there
	for _, sh := range cl.RequestSharded(ctx, req) {
		err = errors.Join(err, sh.Err)
		if sh.Err != nil {
			continue
		}
		for _, g := range sh.Resp.(*kmsg.DeleteGroupsResponse).Groups {
			if e := kerr.ErrorForCode(g.ErrorCode); e != nil {
				err = errors.Join(err, fmt.Errorf("group %s: %w", g.Group, e))
			}
		}
	}
	return there, err
}

// removeMembers takes the members of groups out of them: those that were killed would
// stay until they are missed.
func removeMembers(ctx context.Context, cl *kgo.Client, groups []string) (err error) {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = groups
	for _, sh := range cl.RequestSharded(ctx, req) {
		if sh.Err != nil {
			err = errors.Join(err, sh.Err)
			continue
		}
		for _, g := range sh.Resp.(*kmsg.DescribeGroupsResponse).Groups {
			leave := kmsg.NewPtrLeaveGroupRequest()
			leave.Group = g.Group
			for _, m := range g.Members {
				lm := kmsg.NewLeaveGroupRequestMember()
				lm.MemberID = m.MemberID
				leave.Members = append(leave.Members, lm)
			}
			if len(leave.Members) > 0 {
				_, failed := leave.RequestWith(ctx, cl)
				err = errors.Join(err, failed)
			}
		}
	}
	return err
}

// Move makes another replica the leader of each partition of a topic, or does so for
// one partition, if it is not negative.
func Move(ctx context.Context, brokers, topic string, partition int32) error {
	cl, err := kgo.NewClient(seeds(brokers), kgo.DialTimeout(time.Second))
	if err != nil {
		return err
	}
	defer cl.Close()
	meta := kmsg.NewPtrMetadataRequest()
	mt := kmsg.NewMetadataRequestTopic()
	mt.Topic = &topic
	meta.Topics = append(meta.Topics, mt)
	m, err := meta.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	assign := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	elect := kmsg.NewPtrElectLeadersRequest()
	at := kmsg.NewAlterPartitionAssignmentsRequestTopic()
	et := kmsg.NewElectLeadersRequestTopic()
	at.Topic, et.Topic = topic, topic
	for _, t := range m.Topics {
		for _, p := range t.Partitions {
			if partition >= 0 && p.Partition != partition || len(p.Replicas) < 2 {
				continue
			}
			ap := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
			ap.Partition = p.Partition
			ap.Replicas = append(append(ap.Replicas, p.Replicas[1:]...), p.Replicas[0])
			at.Partitions = append(at.Partitions, ap)
			et.Partitions = append(et.Partitions, p.Partition)
		}
	}
	if len(et.Partitions) == 0 {
		return fmt.Errorf("topic %s has no partition %d with a second replica", topic, partition)
	}
	assign.Topics, elect.Topics = append(assign.Topics, at), append(elect.Topics, et)
	answer, err := assign.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return err
	}
	_, err = elect.RequestWith(ctx, cl)
	return err
}
