package record

import "time"

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
