package embedded

import (
	"fmt"
	"strings"
	"sync"
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
	crossed chan struct{} // the limit was just reached

	// stale lists partitions whose last segment is full and holds only consumed
	// records. Another record there closes the segment, so that it can be
	// deleted; refusing it would keep the room taken for ever.
	stale sync.Map

	last    kmsg.Request // kfake asks several times about one request
	verdict bool
}

type place struct {
	topic string
	id    int32
}

func newGate(cfg Config, bytes int64) *gate {
	g := &gate{limit: cfg.CapBytes / 10 * 7, prefix: cfg.OwnPrefix, crossed: make(chan struct{}, 1)}
	g.base.Store(bytes)
	return g
}

func (g *gate) used() int64 { return g.base.Load() + g.added.Load() }

func (g *gate) full() bool { return g.used() >= g.limit }

// scanned corrects the count. before is what added was when the scan began, so
// that what came meanwhile counts twice rather than not at all.
func (g *gate) scanned(bytes, before int64) { g.base.Store(bytes - before) }

func (g *gate) faults() []kfake.Fault {
	refuse := func(key kmsg.Key, code int16, why string, when func(kmsg.Request) bool) kfake.Fault {
		return kfake.Fault{Keys: []kmsg.Key{key}, Count: -1, When: when, Err: &kerr.Error{Message: why, Code: code, Description: why}}
	}
	lossy := "the embedded broker has neither compaction nor retention of its own: it keeps records until Fresnel has taken them"
	invalid := kerr.InvalidConfig.Code
	return []kfake.Fault{
		refuse(kmsg.Produce, kerr.PolicyViolation.Code,
			fmt.Sprintf("the embedded broker is full: %d bytes wait for Fresnel to take them; produce again later, or raise cap_bytes", g.limit), g.produce),
		refuse(kmsg.DeleteRecords, kerr.PolicyViolation.Code, "the embedded broker deletes records itself, once Fresnel has taken them", nil),
		refuse(kmsg.CreateTopics, invalid, lossy, createsLossy),
		refuse(kmsg.AlterConfigs, invalid, lossy, altersLossy),
		refuse(kmsg.IncrementalAlterConfigs, invalid, lossy, altersLossy),
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
	g.last, g.verdict = r, g.full() && !g.harmless(req)
	if g.verdict {
		g.refused.Add(1)
	} else {
		g.count(req)
	}
	return g.verdict
}

// harmless reports whether the request may pass although the broker is full.
func (g *gate) harmless(req *kmsg.ProduceRequest) bool {
	for _, t := range req.Topics {
		if strings.HasPrefix(t.Topic, g.prefix) {
			continue
		}
		for _, p := range t.Partitions {
			if _, ok := g.stale.LoadAndDelete(place{t.Topic, p.Partition}); !ok {
				return false
			}
		}
	}
	return true
}

func (g *gate) count(req *kmsg.ProduceRequest) {
	before := g.full()
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			g.added.Add(int64(len(p.Records)))
		}
	}
	if !before && g.full() {
		select {
		case g.crossed <- struct{}{}:
		default:
		}
	}
}

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

func createsLossy(r kmsg.Request) bool {
	req, ok := r.(*kmsg.CreateTopicsRequest)
	if !ok {
		return false
	}
	for _, t := range req.Topics {
		for _, c := range t.Configs {
			if lossy(c.Name, c.Value) {
				return true
			}
		}
	}
	return false
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
