package publishers

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fresnel-search/fresnel/indexer/record"
	"github.com/fresnel-search/fresnel/publishers/delivery"
	"github.com/fresnel-search/fresnel/publishers/lane"
)

// The tables of the publishers.
const (
	// subscriptionsTable holds one record for each subscription, by name: its
	// cursors, breaker and suspension.
	subscriptionsTable = "subscriptions"
	// parkedTable holds one record for each parked delivery, by name/id.
	parkedTable = "parked_deliveries"
)

var errNotParked = errors.New("the record of the parked delivery is gone")

// stateRecord is what the store keeps of a subscription.
type stateRecord struct {
	// Writer is the engine that wrote it, to tell a lost answer from a rival.
	Writer  string    `json:"writer"`
	Created time.Time `json:"created"`
	// Removed is when the name was first missing from the configuration.
	Removed    time.Time            `json:"removed,omitzero"`
	Cursors    map[int]cursorRecord `json:"cursors"`
	Breaker    *breakerRecord       `json:"breaker,omitempty"`
	Suspension *suspensionRecord    `json:"suspension,omitempty"`
	Tally      tallyRecord          `json:"tally,omitzero"`
	Gaps       int64                `json:"gaps,omitempty"`
}

type tallyRecord struct {
	Delivered  int64 `json:"delivered,omitempty"`
	Dead       int64 `json:"dead,omitempty"`
	Expired    int64 `json:"expired,omitempty"`
	Superseded int64 `json:"superseded,omitempty"`
	Dropped    int64 `json:"dropped,omitempty"`
}

type cursorRecord struct {
	Offset int64  `json:"offset"`
	ID     string `json:"id,omitempty"`
}

type breakerRecord struct {
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"`
	Probes int       `json:"probes"`
	Code   string    `json:"code,omitempty"`
	Detail string    `json:"detail,omitempty"`
}

type suspensionRecord struct {
	Since  time.Time `json:"since"`
	Code   string    `json:"code,omitempty"`
	Detail string    `json:"detail,omitempty"`
}

func (r stateRecord) state() lane.State {
	st := lane.State{Cursors: map[int]lane.Cursor{}, Tally: lane.Tally(r.Tally)}
	for id, c := range r.Cursors {
		st.Cursors[id] = lane.Cursor(c)
	}
	if r.Breaker != nil {
		st.Breaker = lane.Breaker(*r.Breaker)
	}
	if r.Suspension != nil {
		s := lane.Suspension(*r.Suspension)
		st.Suspension = &s
	}
	return st
}

func (r *stateRecord) set(st lane.State) {
	r.Cursors, r.Tally = map[int]cursorRecord{}, tallyRecord(st.Tally)
	for id, c := range st.Cursors {
		r.Cursors[id] = cursorRecord(c)
	}
	if st.Breaker.Open() {
		b := breakerRecord(st.Breaker)
		r.Breaker = &b
	}
	if st.Suspension != nil {
		s := suspensionRecord(*st.Suspension)
		r.Suspension = &s
	}
}

// parkedRecord is a parked delivery with all that an attempt needs.
type parkedRecord struct {
	ID        string      `json:"id"`
	Lane      string      `json:"lane"`
	Partition int         `json:"partition"`
	Offset    int64       `json:"offset"`
	Size      int64       `json:"size"`
	Length    int64       `json:"length"` // of the event's data
	Tries     int         `json:"tries,omitempty"`
	Fails     int         `json:"fails,omitempty"`
	Due       time.Time   `json:"due,omitzero"`
	Alone     bool        `json:"alone,omitempty"`
	Code      string      `json:"code,omitempty"`
	Detail    string      `json:"detail,omitempty"`
	Lineage   string      `json:"lineage,omitempty"`
	Revision  int64       `json:"revision,omitempty"`
	Urgent    bool        `json:"urgent,omitempty"`
	Expires   time.Time   `json:"expires,omitzero"`
	Event     eventRecord `json:"event"`
}

type eventRecord struct {
	ID          string            `json:"id"`
	Type        string            `json:"type"`
	Source      string            `json:"source"`
	Subject     string            `json:"subject"`
	Time        time.Time         `json:"time"`
	ContentType string            `json:"content_type"`
	Data        []byte            `json:"data"` // of more than maxPlain bytes: as gzip
	Attributes  map[string]string `json:"attributes,omitempty"`
}

// maxPlain is how much data a parked record holds as it is. With more the record
// could be larger than a store takes.
const maxPlain = 256 << 10

func newEventRecord(e delivery.Event) (eventRecord, error) {
	r := eventRecord(e)
	if len(e.Data) <= maxPlain {
		return r, nil
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(e.Data)
	if err = errors.Join(err, z.Close()); err == nil {
		r.Data = b.Bytes()
	}
	return r, err
}

func (r eventRecord) event(size int64) (*delivery.Event, error) {
	e := delivery.Event(r)
	if size <= maxPlain {
		return &e, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(r.Data))
	if err != nil {
		return nil, err
	}
	e.Data, err = io.ReadAll(io.LimitReader(z, size))
	return &e, errors.Join(err, z.Close())
}

func (p *parkedRecord) parked() lane.Parked {
	return lane.Parked{
		ID: p.ID, Lane: p.Lane, Partition: p.Partition, Offset: p.Offset, Size: p.Size,
		Tries: p.Tries, Fails: p.Fails, Due: p.Due, Alone: p.Alone, Code: p.Code, Detail: p.Detail,
		Lineage: p.Lineage, Revision: p.Revision, Urgent: p.Urgent, Expires: p.Expires,
	}
}

func parkedKey(subscription, id string) string { return subscription + "/" + id }

// encodeParked makes the record of a parked delivery. One at a time writes it: the
// owner of the subscription, whose state record is the fence.
func encodeParked(subscription string, p lane.Parked, e delivery.Event) (record.Record, error) {
	ev, err := newEventRecord(e)
	if err != nil {
		return record.Record{}, err
	}
	b, err := json.Marshal(parkedRecord{
		ID: p.ID, Lane: p.Lane, Partition: p.Partition, Offset: p.Offset, Size: p.Size, Length: int64(len(e.Data)),
		Tries: p.Tries, Fails: p.Fails, Due: p.Due, Alone: p.Alone, Code: p.Code, Detail: p.Detail,
		Lineage: p.Lineage, Revision: p.Revision, Urgent: p.Urgent, Expires: p.Expires, Event: ev,
	})
	return record.Record{Table: parkedTable, Key: parkedKey(subscription, p.ID), Value: b, Version: record.Any}, err
}

// readParked reads the event of a parked delivery; errNotParked if there is none.
func readParked(ctx context.Context, records record.Store, subscription, id string) (*delivery.Event, error) {
	r, err := records.Read(ctx, parkedTable, parkedKey(subscription, id))
	if err != nil {
		return nil, fmt.Errorf("read parked delivery: %w", err)
	}
	if r.Version == 0 {
		return nil, errNotParked
	}
	var p parkedRecord
	if err := json.Unmarshal(r.Value, &p); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotParked, err)
	}
	e, err := p.Event.event(p.Length)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotParked, err)
	}
	return e, nil
}

// scan calls fn with each record of a table whose key begins with prefix.
func scan(ctx context.Context, records record.Store, table, prefix string, fn func(record.Record) error) error {
	const page = 100
	for after := prefix; ; {
		rs, err := records.Scan(ctx, table, after, page)
		if err != nil {
			return fmt.Errorf("scan %s: %w", table, err)
		}
		for _, r := range rs {
			if !strings.HasPrefix(r.Key, prefix) {
				return nil
			}
			if err := fn(r); err != nil {
				return err
			}
			after = r.Key
		}
		if len(rs) < page {
			return nil
		}
	}
}
