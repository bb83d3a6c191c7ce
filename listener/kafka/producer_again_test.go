package kafka_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fresnel-search/fresnel/listener/stream"
)

// A cluster that has just made a topic, or moves a partition, refuses a set that it
// has read to the end; what comes in its second attempt must not be empty.
func TestProduceKeepsRecordsWholeThatAreRefusedAtFirst(t *testing.T) {
	t.Parallel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	refused := 0
	cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		refused++
		cluster.DropControl()
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		resp.Version = req.GetVersion()
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic = req.(*kmsg.ProduceRequest).Topics[0].Topic
		rp := kmsg.NewProduceResponseTopicPartition()
		rp.ErrorCode = kerr.NotLeaderForPartition.Code
		rt.Partitions = append(rt.Partitions, rp)
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
	c := newClient(t, cluster.ListenAddrs()[0])
	produce(t, c, stream.Record{Topic: "a", Key: []byte("k"), Value: []byte("v"), Headers: []stream.Header{{Key: "h", Value: []byte("1")}}})
	got := readAll(t, c, stream.Partition{Topic: "a"}, 1)[0]
	if refused != 1 || string(got.Key) != "k" || string(got.Value) != "v" || len(got.Headers) != 1 {
		t.Errorf("refused %d times, then appended key %q, value %q, headers %v", refused, got.Key, got.Value, got.Headers)
	}
}
