package listener

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Tally counts what became of the records of one partition, from its beginning.
// It is committed with the offset, so a replayed batch is counted once.
type Tally struct {
	// Records = the sums of Ignored and Dead, and Dispatched.
	Records    int64            `json:"records"`
	Ignored    map[string]int64 `json:"ignored,omitempty"` // by reason
	Dead       map[string]int64 `json:"dead,omitempty"`    // by reason
	Dispatched int64            `json:"dispatched"`
	// Mutations were appended for the dispatched records.
	Mutations int64 `json:"mutations"`
	// Lost counts offsets that the broker dropped before they could be read.
	Lost int64 `json:"lost,omitempty"`
}

// maxMetadata keeps a tally well below the 4096 bytes that brokers take as the
// metadata of an offset.
const maxMetadata = 1 << 10

// restReason takes the counts of the rarest reasons when there are too many.
const restReason = "other"

// Balanced reports whether every record is accounted for.
func (t Tally) Balanced() bool {
	return t.Records == sum(t.Ignored)+sum(t.Dead)+t.Dispatched
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

// encode returns the tally as commit metadata of bounded size.
func (t Tally) encode() (string, error) {
	for {
		out, err := json.Marshal(t)
		if err != nil {
			return "", fmt.Errorf("encode tally: %w", err)
		}
		if len(out) <= maxMetadata || !shrink(t.Ignored) && !shrink(t.Dead) {
			return string(out), nil
		}
	}
}

// shrink moves the rarest reason's count to the rest and reports whether it could.
func shrink(counts map[string]int64) bool {
	if len(counts) < 3 {
		return false
	}
	reasons := slices.DeleteFunc(slices.Collect(maps.Keys(counts)), func(r string) bool { return r == restReason })
	rarest := slices.MinFunc(reasons, func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[a], counts[b]), cmp.Compare(a, b))
	})
	n := counts[rarest]
	delete(counts, rarest)
	counts[restReason] += n
	return true
}

func (t Tally) clone() Tally {
	t.Ignored, t.Dead = maps.Clone(t.Ignored), maps.Clone(t.Dead)
	return t
}

func (t *Tally) add(o Tally) {
	t.Records += o.Records
	t.Dispatched += o.Dispatched
	t.Mutations += o.Mutations
	t.Lost += o.Lost
	for reason, n := range o.Ignored {
		count(&t.Ignored, reason, n)
	}
	for reason, n := range o.Dead {
		count(&t.Dead, reason, n)
	}
}

func count(counts *map[string]int64, reason string, n int64) {
	if *counts == nil {
		*counts = make(map[string]int64)
	}
	(*counts)[reason] += n
}

func sum(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}
