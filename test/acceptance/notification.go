package acceptance

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/listener/stream"
)

// ImageType is the resource type of images.
const ImageType = "OS::Glance::Image"

// Owner is the project of made-up resources.
const Owner = "0123456789abcdef0123456789abcdef"

// Notify is a notification in oslo's envelope. All have one key, so that they share
// a partition.
func Notify(topic, event string, at time.Time, payload map[string]any) stream.Record {
	message, err := json.Marshal(map[string]any{
		"message_id": fmt.Sprintf("%s-%s-%d", payload["id"], event, at.UnixNano()), "publisher_id": "test", "event_type": event,
		"priority": "INFO", "timestamp": at.UTC().Format("2006-01-02 15:04:05.000000"), "payload": payload, "_context": map[string]any{},
	})
	if err != nil {
		panic(err)
	}
	return stream.Record{Topic: topic, Partition: -1, Key: []byte("one partition"), Value: Envelope(string(message))}
}

// Envelope is a message as oslo wraps it.
func Envelope(message string) []byte {
	text, err := json.Marshal(message)
	if err != nil {
		panic(err)
	}
	return []byte(`{"oslo.version": "2.0", "oslo.message": ` + string(text) + `}`)
}

// Image is what Glance says of an image.
func Image(id, name string, more map[string]any) map[string]any {
	p := map[string]any{"id": id, "name": name, "status": "active", "visibility": "private", "owner": Owner, "properties": map[string]any{}, "tags": []string{}}
	maps.Copy(p, more)
	return p
}

// LargeTags are n different tags of 32 000 bytes each.
func LargeTags(c string, n int) []string {
	tags := make([]string, n)
	for i := range tags {
		tags[i] = fmt.Sprintf("%02d", i) + strings.Repeat(c, 31_998)
	}
	return tags
}
