package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"
	"golang.org/x/time/rate"

	"github.com/fresnel-search/fresnel/cmd/fresnel/play"
	"github.com/fresnel-search/fresnel/configs"
	"github.com/fresnel-search/fresnel/listener/kafka"
	"github.com/fresnel-search/fresnel/listener/stream"
)

// playBatch is how many records are produced at once.
const playBatch = 500

// playPartitions is how many partitions a topic gets that does not exist yet.
const playPartitions = 4

// playReach bounds reaching Kafka and making the topics.
const playReach = 15 * time.Second

// playOptions are the flags of play.
type playOptions struct {
	play.Options
	config  string
	brokers []string
	rate    float64
	reach   time.Duration
	seed    int64
	errs    io.Writer
	refused bool // the broker was full, and that was said
}

func playCommand(errs io.Writer) *cobra.Command {
	o := playOptions{errs: errs, reach: playReach}
	cmd := &cobra.Command{
		Use:   "play FILE|DIR...",
		Short: "Produce recorded notifications to Kafka",
		Long: `Produces recorded notifications, *.jsonl and *.jsonl.gz files of one
{"topic","key","value"} object a line, to the Kafka of the configuration. Partitions are kept where the recording has them.`,
		Example: `  fresnel play test/day                         # one recorded day, as fast as it goes
  fresnel play test/day --rate 500 --copies 20  # twenty clouds, 500 records a second
  fresnel play test/day --shuffle 7 --duplicate 3`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if cmd.Flags().Changed("shuffle") {
				seed := uint64(o.seed)
				o.Shuffle = &seed
			}
			return o.run(cmd.Context(), args)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.config, "config", "", "the server's configuration, for its Kafka")
	f.StringSliceVar(&o.brokers, "brokers", nil, "Kafka addresses, instead of the configuration's")
	f.Float64Var(&o.rate, "rate", 0, "records a second; 0 is as fast as it goes")
	f.Int64Var(&o.seed, "shuffle", 0, "play in a random order with this seed")
	f.IntVar(&o.Duplicate, "duplicate", 1, "how often each record is sent")
	f.IntVar(&o.Copies, "copies", 1, "how many clouds to make of one: UUIDs are renamed in all but the first")
	return cmd
}

// check refuses numbers that mean nothing.
func (o *playOptions) check() error {
	switch {
	case o.rate < 0 || math.IsNaN(o.rate):
		return fmt.Errorf("--rate %v: cannot be below 0", o.rate)
	case o.Duplicate < 1:
		return fmt.Errorf("--duplicate %d: must be at least 1", o.Duplicate)
	case o.Copies < 1:
		return fmt.Errorf("--copies %d: must be at least 1", o.Copies)
	}
	return nil
}

func (o *playOptions) run(ctx context.Context, paths []string) error {
	recorded, err := play.Load(paths...)
	if err != nil {
		return err
	}
	c, err := o.connect()
	if err != nil {
		return err
	}
	defer func() {
		if err := c.Close(); err != nil {
			fmt.Fprintln(o.errs, "fresnel: close Kafka:", err)
		}
	}()
	if err := o.topics(ctx, c, recorded); err != nil {
		return fmt.Errorf("%w; is Kafka there? an embedded one runs in `fresnel serve`", err)
	}
	return o.produce(ctx, c, recorded)
}

// topics makes the topics that are not there. The client tries for as long as it may.
func (o *playOptions) topics(ctx context.Context, c *kafka.Client, recorded []stream.Record) error {
	ctx, cancel := context.WithTimeoutCause(ctx, o.reach, fmt.Errorf("no answer in %s", o.reach))
	defer cancel()
	return c.EnsureTopics(ctx, topicsOf(recorded)...)
}

// connect makes a client of the Kafka that is asked for.
func (o *playOptions) connect() (*kafka.Client, error) {
	brokers := o.brokers
	if len(brokers) == 0 {
		conf := configs.Default()
		if o.config != "" {
			var err error
			if conf, err = configs.Load(o.config); err != nil {
				return nil, err
			}
		}
		if brokers = conf.Listener.Kafka.Brokers; len(brokers) == 0 {
			brokers = []string{conf.Listener.Kafka.Embedded.Listen}
		}
	}
	kc := kafka.DefaultConfig()
	kc.Brokers = brokers
	return kafka.New(kc, slog.New(slog.DiscardHandler), nil)
}

// topicsOf are the topics of the records, with room for the recorded partitions.
func topicsOf(recorded []stream.Record) []kafka.Topic {
	parts := map[string]int{}
	for _, r := range recorded {
		parts[r.Topic] = max(parts[r.Topic], 1, r.Partition+1)
	}
	topics := make([]kafka.Topic, 0, len(parts))
	for name, n := range parts {
		topics = append(topics, kafka.Topic{Name: name, Partitions: max(n, playPartitions), Least: n})
	}
	return topics
}

func (o *playOptions) produce(ctx context.Context, p stream.Producer, recorded []stream.Record) error {
	bar := progress(o.errs, o.Count(len(recorded)))
	limit, size := o.pace()
	begin, sent := time.Now(), 0
	batch := make([]stream.Record, 0, size)
	flush := func() error {
		if err := limit.WaitN(ctx, len(batch)); err != nil {
			return err
		}
		if err := o.produceAll(ctx, p, batch); err != nil {
			return fmt.Errorf("after %d records: %w", sent, err)
		}
		sent += len(batch)
		batch = batch[:0]
		return bar.Set(sent)
	}
	for r := range o.Records(recorded) {
		if batch = append(batch, r); len(batch) == size {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if len(batch) > 0 {
		if err := flush(); err != nil {
			return err
		}
	}
	took := time.Since(begin)
	fmt.Fprintf(o.errs, "played %d records in %s (%.0f/s)\n", sent, took.Round(time.Millisecond), float64(sent)/took.Seconds())
	return bar.Finish()
}

// pace is the rate as a limit, and how many records make a batch: at most what is due
// in a fiftieth of a second, so that no burst stands at the beginning.
func (o *playOptions) pace() (*rate.Limiter, int) {
	if o.rate == 0 {
		return rate.NewLimiter(rate.Inf, playBatch), playBatch
	}
	size := max(1, min(playBatch, int(o.rate/50)))
	return rate.NewLimiter(rate.Limit(o.rate), size), size
}

// produceAll produces the batch; while the broker is full it says so once and waits
// for consumers.
func (o *playOptions) produceAll(ctx context.Context, p stream.Producer, batch []stream.Record) error {
	for {
		err := p.Produce(ctx, batch)
		if !errors.Is(err, stream.ErrFull) {
			return err
		}
		if !o.refused {
			o.refused = true
			fmt.Fprintf(o.errs, "fresnel: refused, and waiting: %v\n", err)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// progress is a bar on a terminal and nothing elsewhere.
func progress(out io.Writer, total int) *progressbar.ProgressBar {
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return progressbar.DefaultSilent(int64(total))
	}
	return progressbar.NewOptions(total, progressbar.OptionSetWriter(f), progressbar.OptionShowCount(),
		progressbar.OptionShowIts(), progressbar.OptionSetItsString("records"), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
}
