package publishers

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/lane"
)

// The headers under which a dead letter keeps what belongs to its event beside the
// data, named as CloudEvents names them in Kafka.
const (
	headerType        = "ce_type"
	headerSource      = "ce_source"
	headerSubject     = "ce_subject"
	headerTime        = "ce_time"
	headerID          = "ce_id"
	headerContentType = "content-type"
	headerAttribute   = "ce_"
	// The place of the change in its resource's history, for deliveries to name it.
	headerLineage  = "lineage"
	headerRevision = "revision"
	headerPriority = "priority"
)

// urgent is the priority header of what goes before others.
const urgent = "urgent"

// maxDead is how much of an event's data a dead letter keeps.
const maxDead = 512 << 10

func deadLetter(subscription, topic string, w lane.Write, e delivery.Event, now time.Time) record.DeadLetter {
	headers := map[string][]byte{}
	for name, v := range e.Attributes {
		headers[headerAttribute+name] = []byte(v)
	}
	maps.Copy(headers, map[string][]byte{
		headerType: []byte(e.Type), headerSource: []byte(e.Source), headerSubject: []byte(e.Subject),
		headerTime: []byte(e.Time.Format(time.RFC3339Nano)), headerID: []byte(e.ID),
		headerContentType: []byte(e.ContentType),
	})
	if w.Parked.Revision > 0 {
		headers[headerLineage] = []byte(w.Parked.Lineage)
		headers[headerRevision] = strconv.AppendInt(nil, w.Parked.Revision, 10)
	}
	if w.Parked.Urgent {
		headers[headerPriority] = []byte(urgent)
	}
	d := record.DeadLetter{
		ID: deadID(subscription, w.Parked.ID), Kind: record.DeadDelivery, Reason: w.Code, Detail: w.Detail, Time: now,
		Topic: topic, Partition: w.Parked.Partition, Offset: w.Parked.Offset, Key: []byte(w.Parked.Lane),
		Value: e.Data, Headers: headers, Subscription: subscription, Attempts: w.Parked.Tries,
	}
	if len(d.Value) > maxDead {
		d.Value, d.Oversize = d.Value[:maxDead], true
	}
	return d
}

func deadID(subscription, delivery string) string {
	return record.DeadDelivery + "/" + subscription + "/" + delivery
}

// deadEvent is the event that a dead letter keeps.
func deadEvent(d record.DeadLetter) (delivery.Event, error) {
	at, err := time.Parse(time.RFC3339Nano, string(d.Headers[headerTime]))
	if err != nil {
		return delivery.Event{}, fmt.Errorf("dead letter %s: %w", d.ID, err)
	}
	e := delivery.Event{
		ID: string(d.Headers[headerID]), Type: string(d.Headers[headerType]), Source: string(d.Headers[headerSource]),
		Subject: string(d.Headers[headerSubject]), Time: at, ContentType: string(d.Headers[headerContentType]),
		Data: d.Value, Attributes: map[string]string{},
	}
	for name, v := range d.Headers {
		switch name {
		case headerType, headerSource, headerSubject, headerTime, headerID:
		default:
			if a, ok := strings.CutPrefix(name, headerAttribute); ok {
				e.Attributes[a] = string(v)
			}
		}
	}
	return e, nil
}

// missOf is what later deliveries of its lane have to know of a dead letter.
func missOf(id string, d record.DeadLetter) lane.Miss {
	m := lane.Miss{ID: id, Lane: string(d.Key), Partition: d.Partition, Offset: d.Offset}
	if d.Headers[headerID] == nil {
		m.Lane = "" // a gap
	}
	if n, err := strconv.ParseInt(string(d.Headers[headerRevision]), 10, 64); err == nil {
		m.Lineage, m.Revision = string(d.Headers[headerLineage]), n
	}
	return m
}

func deadRecord(d record.DeadLetter) (record.Record, error) {
	b, err := json.Marshal(d)
	return record.Record{Table: record.DeadLetters, Key: d.ID, Value: b, Version: record.Any}, err
}
