package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/fresnel-search/fresnel/listener/stream"
)

// GroupConfig says what a consumer group reads.
type GroupConfig struct {
	Group    string
	Topics   []string         // by name
	Patterns []*regexp.Regexp // and by pattern; both may appear later
	// Hold, if set, is asked before each batch; while it reports true the partition
	// is left alone. It must be quick.
	Hold func(stream.Partition) bool
}

// group is one running Consume.
type group struct {
	c          *Client
	cfg        GroupConfig
	newHandler stream.NewHandler
	stop       context.Context // Consume's
	handling   context.Context // what handlers get: ends a while after stop

	mu      sync.Mutex
	topics  map[string]listed // joined for
	idle    bool              // no topic to read is there
	workers map[stream.Partition]*worker
	lags    map[stream.Partition]int64 // of the whole group, when last asked
	outside outside
}

// outside is why this process has no say in the group at the moment.
type outside struct {
	since time.Time
	err   error // nil: it has
}

// Consume is a member of a consumer group until ctx is done. It makes a handler for
// each partition that it is assigned and gives it the partition's records; see
// stream.Handler for what it promises. Topics and partitions that appear later are
// picked up. A handler's error pauses its partition alone. When ctx is done the
// batches at hand are finished, committed, and the group is left. A client runs
// each group once.
func (c *Client) Consume(ctx context.Context, cfg GroupConfig, newHandler stream.NewHandler) error {
	handling, release := drainable(ctx, c.cfg.DrainTimeout)
	defer release()
	g := &group{c: c, cfg: cfg, newHandler: newHandler, stop: ctx, handling: handling, workers: map[stream.Partition]*worker{}}
	if err := c.enter(g); err != nil {
		return err
	}
	defer c.leave(g)
	sctx, cancel := context.WithCancel(ctx)
	var surveying sync.WaitGroup
	defer surveying.Wait()
	defer cancel()
	surveying.Go(func() { g.survey(sctx) })
	for {
		topics := g.awaitTopics(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := g.member(ctx, topics); err != nil {
			return fmt.Errorf("consumer group %s: %w", cfg.Group, err)
		}
	}
}

// drainable returns a context that ends d after ctx.
func drainable(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stopped := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(stopped)
		if sleep(out, d) {
			cancel(fmt.Errorf("drain_timeout of %s", d))
		}
	})
	return out, func() {
		cancel(context.Canceled)
		if !unhook() {
			<-stopped
		}
	}
}

func (c *Client) enter(g *group) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, running := c.groups[g.cfg.Group]; running {
		return fmt.Errorf("consumer group %s: already running in this client", g.cfg.Group)
	}
	c.groups[g.cfg.Group] = g
	return nil
}

func (c *Client) leave(g *group) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.groups, g.cfg.Group)
}

// leaderless is how long topics with a partition that has no leader are waited for;
// then the other partitions are read without it.
const leaderless = 10 * time.Second

// awaitTopics waits for a topic to read. Joining without one would leave kafka-go's
// group with an empty assignment for ever.
func (g *group) awaitTopics(ctx context.Context) map[string]listed {
	began, said := time.Now(), false
	for {
		there, err := g.c.topics(ctx)
		if ctx.Err() != nil {
			return nil
		}
		g.say(err)
		found := matching(there, g.cfg.Topics, g.cfg.Patterns)
		if time.Since(began) < leaderless {
			maps.DeleteFunc(found, func(name string, t listed) bool { return !t.whole && g.joined(name) == 0 })
		}
		g.mu.Lock()
		if g.idle = len(found) == 0 && err == nil; len(found) > 0 {
			g.topics = found
		}
		g.mu.Unlock()
		if len(found) > 0 {
			return found
		}
		if err == nil && !said {
			g.c.log.Info("waiting for a topic to read", "group", g.cfg.Group, "topics", g.cfg.Topics, "patterns", fmt.Sprint(g.cfg.Patterns))
			said = true
		}
		if !sleep(ctx, min(g.c.cfg.TopicsInterval, time.Second)) {
			return nil
		}
	}
}

// joined is how many partitions of a topic were last joined for.
func (g *group) joined(topic string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.topics[topic].partitions
}

// say notes why the process has no say in the group, or with nil that it may have,
// and logs the first of several reasons.
func (g *group) say(err error) {
	what := "group " + g.cfg.Group
	if err == nil {
		if g.c.trouble.over(what) {
			g.c.log.Info("consumer group can be reached again", "group", g.cfg.Group)
		}
	} else if g.c.trouble.begin(what) {
		g.c.log.Warn("no say in the consumer group; trying again", "group", g.cfg.Group, "err", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.outside.err == nil {
		g.outside.since = time.Now()
	}
	g.outside.err = err
}

// member joins for the given topics and stays until they change or ctx is done.
func (g *group) member(ctx context.Context, topics map[string]listed) error {
	c := g.c
	names := slices.Sorted(maps.Keys(topics))
	b := &balancer{rack: c.cfg.Rack}
	cg, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: g.cfg.Group, Brokers: c.cfg.Brokers, Dialer: c.dialer, Topics: names,
		GroupBalancers:    []kafka.GroupBalancer{b},
		HeartbeatInterval: c.cfg.HeartbeatInterval, SessionTimeout: c.cfg.SessionTimeout, RebalanceTimeout: c.cfg.SessionTimeout,
		JoinGroupBackoff: time.Second, StartOffset: kafka.FirstOffset, ErrorLogger: c.kafkaLog("joining " + g.cfg.Group),
	})
	if err != nil {
		return err
	}
	c.log.Info("joining consumer group", "group", g.cfg.Group, "topics", names)
	mctx, changed := context.WithCancel(ctx)
	defer changed()
	old := forgotten{g: g}
	defer old.end()
	var memberID string
	for mctx.Err() == nil {
		gen, err := cg.Next(mctx)
		if err != nil { // normal while a cluster moves things around; Next may be called again
			if mctx.Err() == nil && !passing(err) {
				g.say(err)
			}
			if mctx.Err() == nil && !errors.Is(err, kafka.RebalanceInProgress) {
				old.add(mctx, memberID)
				memberID = ""
			}
			continue
		}
		old.end()
		memberID = gen.MemberID
		g.say(nil)
		g.begin(gen, topics, b, changed)
	}
	return g.closeMember(cg, memberID)
}

// closeMember leaves the group once the workers have ended. kafka-go forgets to
// leave if it is stopped in the middle of a rebalance, and waits for the other
// members if it is stopped while joining: so we leave as well.
func (g *group) closeMember(cg *kafka.ConsumerGroup, memberID string) error {
	done := make(chan error, 1)
	go func() { done <- cg.Close() }()
	select {
	case err := <-done:
		g.leaveAs(memberID)
		return err
	case <-g.handling.Done(): // the process stops, and handlers have had their time
	case <-time.After(2 * g.c.cfg.SessionTimeout):
	}
	g.leaveAs(memberID)
	select {
	case err := <-done:
		return err
	case <-time.After(2 * time.Second):
		return errors.New("hangs on close")
	}
}

func (g *group) leaveAs(memberID string) {
	if memberID == "" {
		return
	}
	err := g.depart(context.WithoutCancel(g.stop), memberID)
	if err != nil && !errors.Is(err, kafka.UnknownMemberId) {
		g.c.log.Warn("consumer group not left; others wait for session_timeout", "group", g.cfg.Group, "err", err)
	}
}

// begin starts one worker per partition of a generation, and a watch on the topics.
// The generation ends when any of them returns, and the next is joined when all have.
func (g *group) begin(gen *kafka.Generation, topics map[string]listed, b *balancer, changed func()) {
	g.c.metrics.generations.Inc()
	var ps []stream.Partition
	for topic, as := range gen.Assignments {
		for _, a := range as {
			ps = append(ps, stream.Partition{Topic: topic, ID: a.ID})
		}
	}
	g.c.log.Info("partitions assigned", "group", g.cfg.Group, "generation", gen.ID, "count", len(ps))
	gen.Start(func(gctx context.Context) {
		if g.watch(gctx, topics, b.short(topics)) {
			changed()
		}
	})
	if len(ps) == 0 {
		return
	}
	gen.Start(func(gctx context.Context) { g.work(gctx, gen, ps) })
}

// passing reports whether an error of joining is part of any rebalance.
func passing(err error) bool {
	return errors.Is(err, kafka.RebalanceInProgress) || errors.Is(err, kafka.UnknownMemberId) || errors.Is(err, kafka.IllegalGeneration)
}

// watch returns true when the topics to read are no longer those joined for, or too
// little was shared out.
func (g *group) watch(gctx context.Context, joined map[string]listed, short bool) bool {
	ctx, cancel := ending(g.stop, gctx)
	defer cancel()
	for sleep(ctx, g.c.cfg.TopicsInterval) {
		if short {
			g.c.log.Info("not all partitions were shared out; joining again", "group", g.cfg.Group)
			return true
		}
		there, err := g.c.topics(ctx)
		if err != nil {
			continue
		}
		if now := matching(there, g.cfg.Topics, g.cfg.Patterns); changed(joined, now) {
			g.c.log.Info("topics changed", "group", g.cfg.Group, "count", len(now))
			return true
		}
	}
	return false
}

// changed reports whether there are other partitions to read. That one of them has no
// leader for a while changes nothing; a new topic counts once it is whole.
func changed(joined, now map[string]listed) bool {
	for name, t := range now {
		if before, found := joined[name]; !found && t.whole || found && before.partitions != t.partitions {
			return true
		}
	}
	for name := range joined {
		if _, found := now[name]; !found {
			return true
		}
	}
	return false
}

// ending returns a context that ends with either; a generation's is of kafka-go's
// own type, which knows no parents.
func ending(ctx, gctx context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(gctx, cancel)
	return out, func() {
		unhook()
		cancel()
	}
}

// work runs the partitions of a generation until it ends.
func (g *group) work(gctx context.Context, gen *kafka.Generation, ps []stream.Partition) {
	ctx, cancel := ending(g.stop, gctx)
	defer cancel()
	done, err := g.left(ctx, ps)
	if err != nil {
		if ctx.Err() == nil {
			g.c.log.Warn("assignment not taken", "group", g.cfg.Group, "err", err)
			sleep(ctx, time.Second)
		}
		return
	}
	var workers []*worker
	for _, p := range ps {
		workers = append(workers, &worker{g: g, gen: gen, partition: p, hold: g.cfg.Hold})
	}
	g.setWorkers(workers)
	defer g.setWorkers(nil)
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(func() {
			defer cancel() // one that gives up ends the generation
			at, found := done[w.partition]
			w.run(ctx, at, found)
		})
	}
	wg.Wait()
}

func (g *group) setWorkers(ws []*worker) {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.workers)
	for _, w := range ws {
		g.workers[w.partition] = w
	}
}

// left reads back what the partitions' last owners committed.
func (g *group) left(ctx context.Context, ps []stream.Partition) (done map[stream.Partition]Committed, err error) {
	err = persist(ctx, func() error {
		done, err = g.c.committed(ctx, g.cfg.Group, ps)
		return err
	})
	return done, err
}
