package record

import (
	"encoding/json"
	"fmt"
	"time"
)

// DeadLetters is the table of dead letters.
const DeadLetters = "dead_letters"

// DeadLetter is a notification, mutation or delivery that was given up on, with
// its bytes and the reason. Its key is Kind and Origin, so that giving up on the
// same thing twice leaves one.
type DeadLetter struct {
	ID     string    `json:"id"`     // kind/origin: topic/partition/offset, or subscription/delivery
	Kind   string    `json:"kind"`   // notification, mutation or delivery
	Reason string    `json:"reason"` // stable, snake_case: a metrics label
	Detail string    `json:"detail"` // for people; never holds a secret
	Time   time.Time `json:"time"`

	Topic     string            `json:"topic,omitempty"`
	Partition int               `json:"partition"`
	Offset    int64             `json:"offset"`
	Key       []byte            `json:"key,omitempty"`
	Value     []byte            `json:"value,omitempty"` // the bytes as they came
	Headers   map[string][]byte `json:"headers,omitempty"`

	Subscription string `json:"subscription,omitempty"`
	Attempts     int    `json:"attempts,omitempty"`
	// Oversize says that Value is cut: the bytes were larger than 512 KiB.
	Oversize bool `json:"oversize,omitempty"`
}

// The kinds of dead letter.
const (
	DeadNotification = "notification"
	DeadMutation     = "mutation"
	DeadDelivery     = "delivery"
)

// What a dead letter keeps at most: bytes of a value, and of everything beside it.
const (
	MaxDeadValue  = 512 << 10
	maxDeadBeside = 32 << 10
)

// Record is the dead letter as it is stored: under its id, written whatever is
// there. Bytes beyond the limits are cut, and Oversize then says so.
func (d DeadLetter) Record() (Record, error) {
	if len(d.Value) > MaxDeadValue {
		d.Value, d.Oversize = d.Value[:MaxDeadValue], true
	}
	beside := len(d.Key)
	for _, v := range d.Headers {
		beside += len(v)
	}
	if beside > maxDeadBeside {
		d.Key, d.Headers, d.Oversize = d.Key[:min(len(d.Key), maxDeadBeside)], nil, true
	}
	value, err := json.Marshal(d)
	if err != nil {
		return Record{}, fmt.Errorf("encode dead letter %s: %w", d.ID, err)
	}
	return Record{Table: DeadLetters, Key: d.ID, Value: value, Version: Any}, nil
}
