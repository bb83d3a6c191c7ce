package embedded_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	"github.com/fresnel-search/fresnel/listener/kafka/embedded"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("EMBEDDED_TEST_CHILD"); dir != "" {
		child(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func config(dir string) embedded.Config {
	cfg := embedded.DefaultConfig()
	cfg.Dir, cfg.Listen, cfg.CapBytes = dir, "127.0.0.1:0", 4<<20
	cfg.Groups = []embedded.Reads{
		{Group: "listener", Topics: regexp.MustCompile(`^notifications`)},
		{Group: "indexer", Topics: regexp.MustCompile(`^fresnel\.mutations$`)},
	}
	return cfg
}

func start(t testing.TB, cfg embedded.Config) *embedded.Broker {
	t.Helper()
	b, err := embedded.Start(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, b) })
	return b
}

func stop(t testing.TB, b *embedded.Broker) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// peer is a plain client of the broker.
type peer struct {
	testing.TB
	*kafka.Client
}

func dial(t testing.TB, addr string) peer {
	t.Helper()
	tr := &kafka.Transport{MetadataTTL: 100 * time.Millisecond}
	t.Cleanup(tr.CloseIdleConnections)
	return peer{t, &kafka.Client{Addr: kafka.TCP(addr), Transport: tr, Timeout: 10 * time.Second}}
}

func (p peer) create(topic string, configs ...kafka.ConfigEntry) error {
	p.Helper()
	res, err := p.CreateTopics(p.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{
		{Topic: topic, NumPartitions: 1, ReplicationFactor: -1, ConfigEntries: configs},
	}})
	if err != nil {
		p.Fatal(err)
	}
	return res.Errors[topic]
}

func (p peer) mustCreate(topic string) {
	p.Helper()
	if err := p.create(topic); err != nil {
		p.Fatal(err)
	}
}

// send appends n records in one batch.
func (p peer) send(topic string, value []byte, n int, at time.Time) error {
	p.Helper()
	rs := make([]kafka.Record, n)
	for i := range rs {
		rs[i] = kafka.Record{Time: at, Value: kafka.NewBytes(value)}
	}
	res, err := p.Produce(p.Context(), &kafka.ProduceRequest{Topic: topic, RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(rs...)})
	if err != nil {
		p.Fatal(err)
	}
	return res.Error
}

func (p peer) mustSend(topic string, value []byte, n int) {
	p.Helper()
	if err := p.send(topic, value, n, time.Now()); err != nil {
		p.Fatal(err)
	}
}

func (p peer) bounds(topic string) (first, end int64) {
	p.Helper()
	res, err := p.ListOffsets(p.Context(), &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{
		topic: {kafka.FirstOffsetOf(0), kafka.LastOffsetOf(0)},
	}})
	if err != nil {
		p.Fatal(err)
	}
	o := res.Topics[topic][0]
	if o.Error != nil {
		p.Fatal(o.Error)
	}
	return o.FirstOffset, o.LastOffset
}

func (p peer) commit(group, topic string, offset int64) {
	p.Helper()
	res, err := p.OffsetCommit(p.Context(), &kafka.OffsetCommitRequest{
		GroupID: group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{topic: {{Offset: offset, Metadata: "m"}}},
	})
	if err != nil {
		p.Fatal(err)
	}
	if err := res.Topics[topic][0].Error; err != nil {
		p.Fatal(err)
	}
}

func trim(t testing.TB, b *embedded.Broker) {
	t.Helper()
	if err := b.Trim(); err != nil {
		t.Fatal(err)
	}
}

var kilobyte = bytes.Repeat([]byte("x"), 1000)

func TestUnknownRequestsDoNotKillTheBroker(t *testing.T) {
	t.Parallel()
	b := start(t, config(t.TempDir()))
	frame := func(n uint32, key uint16) []byte {
		f := binary.BigEndian.AppendUint32(nil, n)
		return append(binary.BigEndian.AppendUint16(f, key), make([]byte, 8)...)
	}
	for name, bad := range map[string][]byte{
		"unknown API key": frame(10, 9999), "length of 4 GiB": frame(0xfffffff0, 0),
		"length of nothing": frame(0, 18), "HTTP": []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
	} {
		c, err := net.Dial("tcp", b.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(bad); err != nil {
			t.Fatal(err)
		}
		if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, c); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: answered with %d bytes, %v; want the connection closed", name, n, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	dial(t, b.Addr()).mustCreate("alive")
}

func TestOffsetsContinueAfterEverythingWasConsumed(t *testing.T) {
	t.Parallel()
	cfg := config(t.TempDir())
	b := start(t, cfg)
	p := dial(t, b.Addr())
	p.mustCreate("notifications")
	for range 50 {
		p.mustSend("notifications", kilobyte, 20)
	}
	p.commit("listener", "notifications", 1000)
	trim(t, b)
	first, end := p.bounds("notifications")
	if first < 900 || first >= 1000 || end != 1000 {
		t.Fatalf("log is %d..%d, want the last segment kept", first, end)
	}
	for _, how := range []string{"clean stop", "copy as after a crash"} {
		if how == "clean stop" {
			stop(t, b)
		} else {
			cfg.Dir = copied(t, cfg.Dir)
		}
		b = start(t, cfg)
		p = dial(t, b.Addr())
		if f, e := p.bounds("notifications"); f != first || e != 1000 {
			t.Errorf("after %s log is %d..%d, want %d..1000", how, f, e, first)
		}
	}
	p.mustSend("notifications", kilobyte, 1)
	if _, end := p.bounds("notifications"); end != 1001 {
		t.Errorf("next offset is %d, want 1001", end)
	}
}

// copied copies a folder as a killed process would leave it.
func copied(t testing.TB, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestTrimsByItselfAlsoAfterARestart(t *testing.T) {
	t.Parallel()
	cfg := config(t.TempDir())
	cfg.TrimInterval = 20 * time.Millisecond
	b := start(t, cfg)
	p := dial(t, b.Addr())
	p.mustCreate("notifications")
	var last int64
	for round := int64(1); round <= 2; round++ {
		for range 20 {
			p.mustSend("notifications", kilobyte, 20)
		}
		p.commit("listener", "notifications", round*400)
		eventually(t, "trimmed", func() bool { first, _ := p.bounds("notifications"); return first > last })
		last, _ = p.bounds("notifications")
		stop(t, b)
		b = start(t, cfg)
		p = dial(t, b.Addr())
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

func TestKeepsWhatIsNotCommittedHoweverOld(t *testing.T) {
	t.Parallel()
	b := start(t, config(t.TempDir()))
	p := dial(t, b.Addr())
	p.mustCreate("notifications")
	for i := range 20 {
		if err := p.send("notifications", kilobyte, 20, time.Now().AddDate(0, 0, -i)); err != nil {
			t.Fatal(err)
		}
	}
	trim(t, b)
	if first, end := p.bounds("notifications"); first != 0 || end != 400 {
		t.Errorf("log is %d..%d, want all 400", first, end)
	}
	p.commit("listener", "notifications", 200)
	trim(t, b)
	if first, _ := p.bounds("notifications"); first == 0 || first > 200 {
		t.Errorf("log starts at %d, want something up to the committed 200", first)
	}
}

func TestRefusesWhatWouldLoseRecords(t *testing.T) {
	t.Parallel()
	p := dial(t, start(t, config(t.TempDir())).Addr())
	for name, value := range map[string]string{"cleanup.policy": "compact", "retention.ms": "1000", "retention.bytes": "1000"} {
		err := p.create("notifications."+name, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
		if !errors.Is(err, kafka.InvalidConfiguration) || !strings.Contains(err.Error(), "retention") {
			t.Errorf("%s=%s: %v, want it refused in words", name, value, err)
		}
	}
	if err := p.create("notifications", kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: "-1"}); err != nil {
		t.Error(err)
	}
	alter, err := p.IncrementalAlterConfigs(t.Context(), &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: "notifications",
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: "cleanup.policy", Value: "compact"}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := alter.Resources[0].Error; !errors.Is(err, kafka.InvalidConfiguration) {
		t.Errorf("altering to compact: %v, want it refused", err)
	}
}

func TestRestartForgetsGroupMembersThatNeverLeft(t *testing.T) {
	t.Parallel()
	cfg := config(t.TempDir())
	b := start(t, cfg)
	p := dial(t, b.Addr())
	p.mustCreate("notifications")
	p.mustSend("notifications", kilobyte, 1)
	read := func(addr string) (*kafka.Reader, time.Duration) {
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{addr}, GroupID: "listener", Topic: "notifications", MaxWait: 100 * time.Millisecond})
		began := time.Now()
		if _, err := r.FetchMessage(t.Context()); err != nil {
			t.Fatal(err)
		}
		return r, time.Since(began)
	}
	left, _ := read(b.Addr())
	stop(t, b) // while the reader is a member
	if err := left.Close(); err != nil {
		t.Error(err)
	}
	b = start(t, cfg)
	r, took := read(b.Addr())
	if took > 3*time.Second {
		t.Errorf("first record after %s: waited for a ghost", took)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestSecondBrokerOnAFolderIsRefusedWithTheFirstOnesPid(t *testing.T) {
	t.Parallel()
	cfg := config(t.TempDir())
	b := start(t, cfg)
	_, err := embedded.Start(cfg, nil)
	if err == nil || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("second Start = %v, want a refusal that names pid %d", err, os.Getpid())
	}
	stop(t, b)
	start(t, cfg)
}

func TestDamagedLogIsRefused(t *testing.T) {
	t.Parallel()
	cfg := config(t.TempDir())
	b := start(t, cfg)
	p := dial(t, b.Addr())
	p.mustCreate("notifications")
	p.mustSend("notifications", kilobyte, 1)
	stop(t, b)
	if err := os.Remove(filepath.Join(cfg.Dir, "topics.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := embedded.Start(cfg, nil); err == nil || !strings.Contains(err.Error(), cfg.Dir) {
		t.Errorf("Start = %v, want a refusal that names the folder", err)
	}
}

func TestValidateNamesEveryProblem(t *testing.T) {
	t.Parallel()
	err := embedded.Config{Listen: "0.0.0.0:9092"}.Validate()
	for _, key := range []string{"dir", "listen", "cap_bytes", "partitions", "trim_interval", "own_prefix"} {
		if !strings.Contains(fmt.Sprint(err), key+": ") {
			t.Errorf("%v does not name %s", err, key)
		}
	}
}

// child is a broker that waits to be killed.
func child(dir string) {
	cfg := config(dir)
	limit, err := strconv.ParseInt(os.Getenv("EMBEDDED_TEST_CAP"), 10, 64)
	if err == nil {
		cfg.CapBytes = limit
	}
	b, err := embedded.Start(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println(b.Addr())
	<-context.Background().Done()
}
