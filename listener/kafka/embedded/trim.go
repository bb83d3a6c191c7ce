package embedded

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Floor tells the lowest offset of a partition that somebody still wants, or a
// negative number if nobody does.
type Floor func(partition int) int64

type place struct {
	topic string
	id    int32
}

// Usage is what the broker's folder holds.
type Usage struct {
	Bytes   int64 // in the folder
	Cap     int64
	Refused int64 // produce requests refused since the start
	Full    bool  // producing to the services' topics is refused
}

// Usage returns what the folder holds now.
func (b *Broker) Usage() Usage {
	return Usage{Bytes: b.gate.used(), Cap: b.cfg.CapBytes, Refused: b.gate.refused.Load(), Full: b.gate.full()}
}

// SetFloor asks for a sized topic's records to be kept from a floor on, as long
// as that takes no more than a quarter of the cap.
func (b *Broker) SetFloor(topic string, f Floor) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.floors[topic] = f
}

// Trim deletes what nobody needs any more. It runs by itself every so often.
func (b *Broker) Trim() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	before := b.gate.added.Load()
	d, err := scan(b.cfg.Dir)
	if err != nil {
		return err
	}
	t := trim{b: b, disk: &d, commits: b.commits()}
	t.consumed()
	for _, topic := range b.cfg.Sized {
		t.sized(topic)
	}
	idle := false
	if d.bytes >= b.gate.limit {
		t.unread()
		idle = t.idle()
	}
	b.gate.scanned(d.bytes, before, idle)
	return t.err
}

// commits returns what each group that reads here has committed.
func (b *Broker) commits() map[string]map[place]int64 {
	all := map[string]map[place]int64{}
	for _, r := range b.cfg.Groups {
		at := map[place]int64{}
		if g := b.cluster.GroupInfo(r.Group); g != nil {
			for topic, ps := range g.Commits {
				for id, c := range ps {
					at[place{topic, id}] = c.Offset
				}
			}
		}
		all[r.Group] = at
	}
	return all
}

// trim is one pass.
type trim struct {
	b       *Broker
	disk    *disk
	commits map[string]map[place]int64
	err     error
}

// consumed trims what every reading group has committed.
func (t *trim) consumed() {
	for i := range t.disk.partitions {
		p := &t.disk.partitions[i]
		limit, read := t.committed(*p)
		if !read {
			continue
		}
		t.trim(p, p.cut(limit))
	}
}

// committed returns the lowest offset committed by the groups that read p, and
// whether there are any.
func (t *trim) committed(p partition) (limit int64, read bool) {
	limit = math.MaxInt64
	for _, r := range t.b.cfg.Groups {
		if r.Topics.MatchString(p.topic) {
			limit, read = min(limit, t.commits[r.Group][place{p.topic, p.id}]), true
		}
	}
	return limit, read
}

// idle reports whether the groups have committed all there is.
func (t *trim) idle() bool {
	for _, p := range t.disk.partitions {
		limit, read := t.committed(p)
		if !read {
			continue
		}
		if info := t.b.cluster.PartitionInfo(p.topic, p.id); info != nil && info.HighWatermark > limit {
			return false
		}
	}
	return true
}

// sized trims a topic to an eighth of the cap, to a quarter where its floor asks
// for more, taking from the largest partition first.
func (t *trim) sized(topic string) {
	var parts []*partition
	var sum int64
	for i := range t.disk.partitions {
		if p := &t.disk.partitions[i]; p.topic == topic {
			parts, sum = append(parts, p), sum+p.bytes
		}
	}
	floor := t.b.floors[topic]
	soft, hard := t.b.cfg.CapBytes/8, t.b.cfg.CapBytes/4
	for sum > soft {
		p := t.largest(parts, floor, sum <= hard)
		if p == nil {
			return
		}
		next := p.segments[1].base
		if floor != nil && floor(int(p.id)) >= 0 && next > floor(int(p.id)) {
			t.b.log.Warn("records dropped that a subscription had not read", "topic", topic, "partition", p.id, "offset", next)
		}
		freed := t.trim(p, next)
		if freed == 0 {
			return
		}
		sum -= freed
	}
}

// largest returns the largest partition that has a segment to spare, or nil.
func (t *trim) largest(parts []*partition, floor Floor, respect bool) *partition {
	spare := func(p *partition) bool {
		if len(p.segments) < 2 {
			return false
		}
		if !respect || floor == nil {
			return true
		}
		at := floor(int(p.id))
		return at < 0 || p.segments[1].base <= at
	}
	var best *partition
	for _, p := range parts {
		if spare(p) && (best == nil || p.bytes > best.bytes) {
			best = p
		}
	}
	return best
}

// unread trims topics that nobody named reads, to their last segment: they must
// not take the room of those that are read.
func (t *trim) unread() {
	for i := range t.disk.partitions {
		p := &t.disk.partitions[i]
		_, read := t.committed(*p)
		if read || strings.HasPrefix(p.topic, t.b.cfg.OwnPrefix) || slices.Contains(t.b.cfg.Sized, p.topic) || len(p.segments) < 2 {
			continue
		}
		t.b.log.Warn("records dropped that nobody reads", "topic", p.topic, "partition", p.id)
		t.trim(p, p.segments[len(p.segments)-1].base)
	}
}

// trim starts p at an offset, which must be a segment's first.
func (t *trim) trim(p *partition, start int64) (freed int64) {
	if start <= p.segments[0].base {
		return 0
	}
	err := t.b.cluster.DeleteRecords(p.topic, p.id, start)
	if errors.Is(err, kerr.UnknownTopicOrPartition) { // deleted meanwhile
		return 0
	}
	if err != nil {
		t.err = errors.Join(t.err, fmt.Errorf("trim %s/%d to %d: %w", p.topic, p.id, start, err))
		return 0
	}
	freed = p.drop(start)
	t.disk.bytes -= freed
	return freed
}
