package indexer

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/fresnel-search/fresnel/indexer/fold"
)

// Tally counts what became of the mutations of one partition, from its beginning.
// It is committed with the offset, so a replayed batch is counted once.
type Tally struct {
	// Mutations = Applied + Silent + Stale + Forwarded + the sum of Dead.
	Mutations int64 `json:"mutations"`
	Applied   int64 `json:"applied"`
	Silent    int64 `json:"silent"`
	Stale     int64 `json:"stale"`
	// Forwarded are events, which went into the change log, and cascades, which
	// became mutations of children.
	Forwarded int64            `json:"forwarded"`
	Dead      map[string]int64 `json:"dead,omitempty"` // by reason
	// Lost counts offsets that the broker dropped before they could be read.
	Lost int64 `json:"lost,omitempty"`
}

// Balanced reports whether every mutation is accounted for.
func (t Tally) Balanced() bool {
	sum := t.Applied + t.Silent + t.Stale + t.Forwarded
	for _, n := range t.Dead {
		sum += n
	}
	return t.Mutations == sum
}

// The outcome of an event or a cascade, beside those of the fold.
const forwarded fold.Outcome = "forwarded"

func (t *Tally) count(it *item) {
	t.Mutations++
	switch {
	case it.dead != nil:
		t.bury(it.dead.reason, 1)
	case it.outcome == fold.Applied:
		t.Applied++
	case it.outcome == fold.Silent:
		t.Silent++
	case it.outcome == forwarded:
		t.Forwarded++
	default:
		t.Stale++
	}
}

func (t *Tally) bury(reason string, n int64) {
	if t.Dead == nil {
		t.Dead = make(map[string]int64)
	}
	t.Dead[reason] += n
}

func (t *Tally) add(o Tally) {
	t.Mutations += o.Mutations
	t.Applied += o.Applied
	t.Silent += o.Silent
	t.Stale += o.Stale
	t.Forwarded += o.Forwarded
	t.Lost += o.Lost
	for reason, n := range o.Dead {
		t.bury(reason, n)
	}
}

func (t Tally) clone() Tally {
	t.Dead = maps.Clone(t.Dead)
	return t
}

func parseTally(metadata string) (Tally, error) {
	var t Tally
	if metadata == "" {
		return t, nil
	}
	if err := json.Unmarshal([]byte(metadata), &t); err != nil {
		return Tally{}, fmt.Errorf("parse tally: %w", err)
	}
	return t, nil
}

// encode returns the tally as commit metadata. It is small: there are few reasons.
func (t Tally) encode() (string, error) {
	out, err := json.Marshal(t)
	if err != nil {
		return "", fmt.Errorf("encode tally: %w", err)
	}
	return string(out), nil
}
