package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fresnel-search/fresnel/listener/kafka"
	"github.com/fresnel-search/fresnel/listener/stream"
)

func TestPlaySaysThatKafkaIsNotThere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "a.jsonl")
	if err := os.WriteFile(file, []byte(`{"topic":"notifications.info","value":"{}"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	o := playOptions{brokers: []string{gone}, errs: io.Discard, reach: 100 * time.Millisecond}
	err = o.run(t.Context(), []string{file})
	if err == nil || !strings.Contains(err.Error(), gone) || !strings.Contains(err.Error(), "is Kafka there?") {
		t.Errorf("play without Kafka = %v, want the address and what to do", err)
	}
}

func TestPlayKeepsItsRateFromTheFirstRecord(t *testing.T) {
	t.Parallel()
	for rate, want := range map[float64]int{0: playBatch, 0.5: 1, 200: 4, 1e6: playBatch} {
		limit, size := (&playOptions{rate: rate}).pace()
		if size != want || limit.Burst() != want {
			t.Errorf("rate %v: batches of %d, burst of %d; want %d", rate, size, limit.Burst(), want)
		}
	}
}

func TestPlayTakesTopicsAsTheyAre(t *testing.T) {
	t.Parallel()
	got := topicsOf([]stream.Record{{Topic: "a", Partition: -1}, {Topic: "b", Partition: 6}, {Topic: "b", Partition: 2}})
	want := map[string]kafka.Topic{
		"a": {Name: "a", Partitions: playPartitions, Least: 1},
		"b": {Name: "b", Partitions: 7, Least: 7},
	}
	for _, g := range got {
		if w := want[g.Name]; g.Partitions != w.Partitions || g.Least != w.Least {
			t.Errorf("topic %+v, want %+v", g, w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d topics, want %d", len(got), len(want))
	}
}
