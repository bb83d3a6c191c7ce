package kafka_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/fresnel-search/fresnel/listener/kafka"
)

// While the coordinator of a group changes, kafka-go neither joins again as who it was
// nor leaves. A group without the member of before is what it comes back to.
func TestMemberThatWasForgottenHoldsUpNobody(t *testing.T) {
	t.Parallel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	c := newClient(t, cluster.ListenAddrs()[0], func(cfg *kafka.Config) { cfg.SessionTimeout = time.Minute })
	var s seen
	consume(t, c, named("g", "a"), s.handler())
	produce(t, c, numbered("a", 0, 10)...)
	eventually(t, 6*time.Second, "all is read", func() bool { return s.distinct() == 10 })
	// The coordinator is not ready for a heartbeat, a join, and the first leave.
	var left atomic.Bool
	unready := func(req kmsg.Request, code *int16, resp kmsg.Response) (kmsg.Response, error, bool) {
		resp.SetVersion(req.GetVersion())
		*code = kerr.CoordinatorNotAvailable.Code
		return resp, nil, true
	}
	cluster.ControlKey(int16(kmsg.Heartbeat), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if left.Load() {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
		return unready(req, &resp.ErrorCode, resp)
	})
	cluster.ControlKey(int16(kmsg.JoinGroup), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if left.Load() {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
		return unready(req, &resp.ErrorCode, resp)
	})
	cluster.ControlKey(int16(kmsg.LeaveGroup), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if left.Swap(true) {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.LeaveGroupResponse)
		return unready(req, &resp.ErrorCode, resp)
	})
	eventually(t, 6*time.Second, "the coordinator is ready again", left.Load)
	produce(t, c, numbered("a", 10, 20)...)
	began := time.Now()
	eventually(t, 6*time.Second, "all is read on", func() bool { return s.distinct() == 20 })
	t.Logf("read on after %s", time.Since(began).Round(time.Millisecond))
}
