package embedded_test

import (
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

func TestTopicThatAClientMakesByAskingIsThereAfterACrash(t *testing.T) {
	t.Parallel()
	cfg := config(t.TempDir())
	b := start(t, cfg)
	tr := &kafka.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	w := &kafka.Writer{
		Transport: tr, Addr: kafka.TCP(b.Addr()), Topic: "notifications.info", AllowAutoTopicCreation: true,
		RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond, MaxAttempts: 20,
	}
	if err := w.WriteMessages(t.Context(), kafka.Message{Key: []byte("k"), Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Dir = copied(t, cfg.Dir)
	again := start(t, cfg)
	p := dial(t, again.Addr())
	meta, err := p.Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{"notifications.info"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := meta.Topics[0].Error; err != nil {
		t.Fatalf("the topic after a crash: %v", err)
	}
	var records int64
	for _, part := range meta.Topics[0].Partitions {
		res, err := p.ListOffsets(t.Context(), &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{
			"notifications.info": {kafka.LastOffsetOf(part.ID)},
		}})
		if err != nil {
			t.Fatal(err)
		}
		records += res.Topics["notifications.info"][0].LastOffset
	}
	if records != 1 {
		t.Errorf("%d records after a crash, want the one acknowledged", records)
	}
}
