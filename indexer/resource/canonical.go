package resource

import (
	"bytes"
	"encoding/json"

	"github.com/fresnel-search/fresnel/indexer/resource/wire"
)

// Canonical is the one JSON form of a decoded value: compact, members sorted, no
// HTML escapes, numbers as they were sent if v holds json.Number. Equal values give
// equal bytes, so that the fold compares bytes only.
func Canonical(v any) (json.RawMessage, error) {
	return marshal(v)
}

// IsNull reports whether a value says that there is none.
func IsNull(v json.RawMessage) bool { return len(v) == 0 || string(v) == "null" }

// marshal is json.Marshal without HTML escapes.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// AppendString appends s as a JSON string, as Canonical would.
func AppendString(b []byte, s string) []byte { return wire.AppendString(b, s) }
