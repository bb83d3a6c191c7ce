package embedded

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// gate decides which requests the broker refuses: producing to the services'
// topics while there is only our reserve left, and what would make kfake lose
// records. kfake asks it on its one goroutine.
type gate struct {
	limit   int64 // at which the services' producers are refused
	prefix  string
	base    atomic.Int64 // bytes in the folder at the last scan, less those added before it
	added   atomic.Int64 // bytes taken since the start
	refused atomic.Int64
	wake    chan struct{} // a scan is due
	due     atomic.Int64  // value of added at which it is
	step    int64

	// idle says that at the last scan nothing was left to be taken: what fills the
	// folder are rests of segments, and refusing would help nobody. One request
	// may then pass before the next scan.
	idle atomic.Bool

	last    kmsg.Request // kfake asks several times about one request
	verdict bool
}

func newGate(cfg Config, bytes int64) *gate {
	g := &gate{limit: cfg.CapBytes / 10 * 7, prefix: cfg.OwnPrefix, wake: make(chan struct{}, 1), step: cfg.CapBytes / 64}
	g.base.Store(bytes)
	g.due.Store(g.step)
	return g
}

func (g *gate) used() int64 { return g.base.Load() + g.added.Load() }

func (g *gate) full() bool { return g.used() >= g.limit }

// scanned corrects the count. before is what added was when the scan began, so
// that what came meanwhile counts twice rather than not at all.
func (g *gate) scanned(bytes, before int64, idle bool) {
	g.base.Store(bytes - before)
	g.due.Store(before + g.step)
	g.idle.Store(idle)
}

func (g *gate) faults() []kfake.Fault {
	refuse := func(key kmsg.Key, code int16, why string, when func(kmsg.Request) bool) kfake.Fault {
		return kfake.Fault{Keys: []kmsg.Key{key}, Count: -1, When: when, Err: &kerr.Error{Message: why, Code: code, Description: why}}
	}
	invalid := kerr.InvalidConfig.Code
	return []kfake.Fault{
		refuse(kmsg.Produce, kerr.PolicyViolation.Code,
			fmt.Sprintf("the embedded broker is full: %d bytes wait for Fresnel to take them; produce again later, or raise cap_bytes", g.limit), g.produce),
		refuse(kmsg.DeleteRecords, kerr.PolicyViolation.Code, "the embedded broker deletes records itself, once Fresnel has taken them", nil),
		refuse(kmsg.AlterConfigs, invalid, noRetention, altersLossy),
		refuse(kmsg.IncrementalAlterConfigs, invalid, noRetention, altersLossy),
	}
}

// produce reports whether to refuse the request, and counts what it lets pass.
func (g *gate) produce(r kmsg.Request) bool {
	if r == g.last {
		return g.verdict
	}
	req, ok := r.(*kmsg.ProduceRequest)
	if !ok {
		return false
	}
	g.last, g.verdict = r, g.full() && !g.own(req) && !g.idle.CompareAndSwap(true, false)
	if g.verdict {
		g.refused.Add(1)
	} else {
		g.count(req)
	}
	return g.verdict
}

// own reports whether the request is for our own topics only.
func (g *gate) own(req *kmsg.ProduceRequest) bool {
	return !slices.ContainsFunc(req.Topics, func(t kmsg.ProduceRequestTopic) bool { return !strings.HasPrefix(t.Topic, g.prefix) })
}

// count adds what a request brings, and asks for a scan every so many bytes once
// room runs short: faster than time would.
func (g *gate) count(req *kmsg.ProduceRequest) {
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			g.added.Add(int64(len(p.Records)))
		}
	}
	if g.used() >= g.limit/2 && g.added.Load() >= g.due.Load() {
		select {
		case g.wake <- struct{}{}:
		default:
		}
	}
}

const noRetention = "the embedded broker has neither compaction nor retention of its own: it keeps records until Fresnel has taken them"

// lossy reports whether a topic's setting asks for compaction or retention.
func lossy(name string, value *string) bool {
	switch {
	case value == nil:
		return false
	case name == "cleanup.policy":
		return strings.Contains(*value, "compact")
	case name == "retention.ms" || name == "retention.bytes":
		return *value != "-1"
	}
	return false
}

// refuseCreate answers a request to create topics of which one asks for compaction
// or retention. (A fault would refuse it without words.)
func refuseCreate(r kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's order of results
	req, ok := r.(*kmsg.CreateTopicsRequest)
	if !ok || !slices.ContainsFunc(req.Topics, createsLossy) {
		return nil, nil, false
	}
	res := kmsg.NewPtrCreateTopicsResponse()
	res.SetVersion(req.GetVersion())
	for _, t := range req.Topics {
		rt := kmsg.NewCreateTopicsResponseTopic()
		rt.Topic, rt.ErrorCode, rt.ErrorMessage = t.Topic, kerr.InvalidConfig.Code, new(noRetention)
		res.Topics = append(res.Topics, rt)
	}
	return res, nil, true
}

func createsLossy(t kmsg.CreateTopicsRequestTopic) bool {
	return slices.ContainsFunc(t.Configs, func(c kmsg.CreateTopicsRequestTopicConfig) bool { return lossy(c.Name, c.Value) })
}

func altersLossy(r kmsg.Request) bool {
	switch req := r.(type) {
	case *kmsg.AlterConfigsRequest:
		for _, res := range req.Resources {
			for _, c := range res.Configs {
				if lossy(strings.TrimPrefix(c.Name, "log."), c.Value) {
					return true
				}
			}
		}
	case *kmsg.IncrementalAlterConfigsRequest:
		for _, res := range req.Resources {
			for _, c := range res.Configs {
				if lossy(strings.TrimPrefix(c.Name, "log."), c.Value) {
					return true
				}
			}
		}
	}
	return false
}
