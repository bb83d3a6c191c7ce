package searchapi

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/fresnel-search/fresnel/indexer/resource/wire"
)

// answered is the answer to a search, in Searchlight's shape.
type answered struct {
	Took     int64  `json:"took"` // milliseconds
	TimedOut bool   `json:"timed_out"`
	Partial  string `json:"partial,omitempty"` // why hits may be missing
	Shards   shards `json:"_shards"`
	Hits     hits   `json:"hits"`
}

type shards struct {
	Total      int `json:"total"`
	Successful int `json:"successful"`
	Failed     int `json:"failed"`
}

type hits struct {
	Total    int      `json:"total"`
	MaxScore *float64 `json:"max_score"`
	Hits     []hit    `json:"hits"`
}

type hit struct {
	Index   string            `json:"_index"`
	Type    string            `json:"_type"`
	ID      string            `json:"_id"`
	Score   *float64          `json:"_score"`
	Version *int64            `json:"_version,omitempty"`
	Source  json.RawMessage   `json:"_source,omitempty"`
	Sort    []json.RawMessage `json:"sort,omitempty"`
}

// encode makes of an answer what encoding/json does, without looking through the
// documents once more: that took a fifth of a search's time.
func (a *answered) encode() ([]byte, error) {
	size := 512
	for i := range a.Hits.Hits {
		size += 256 + len(a.Hits.Hits[i].Source)
	}
	w := wire.NewWriter(size)
	w.Begin()
	w.Int("took", a.Took)
	w.Append("timed_out", func(b []byte) []byte { return strconv.AppendBool(b, a.TimedOut) })
	w.Text("partial", a.Partial)
	w.Key("_shards")
	w.Begin()
	w.Int("total", int64(a.Shards.Total))
	w.Int("successful", int64(a.Shards.Successful))
	w.Int("failed", int64(a.Shards.Failed))
	w.End()
	w.Key("hits")
	w.Begin()
	w.Int("total", int64(a.Hits.Total))
	if err := number(w, "max_score", a.Hits.MaxScore); err != nil {
		return nil, err
	}
	var err error
	w.List("hits", len(a.Hits.Hits), func(i int) {
		if e := a.Hits.Hits[i].write(w); e != nil {
			err = e
		}
	})
	w.End()
	w.End()
	b, werr := w.Bytes()
	if err == nil {
		err = werr
	}
	if err != nil {
		return nil, fmt.Errorf("encode an answer: %w", err)
	}
	return append(b, '\n'), nil
}

func (h *hit) write(w *wire.Writer) error {
	w.Begin()
	w.String("_index", h.Index)
	w.String("_type", h.Type)
	w.String("_id", h.ID)
	if err := number(w, "_score", h.Score); err != nil {
		return err
	}
	if h.Version != nil {
		w.Int("_version", *h.Version)
	}
	if len(h.Source) > 0 {
		w.Append("_source", func(b []byte) []byte { return append(b, h.Source...) })
	}
	if len(h.Sort) > 0 {
		w.List("sort", len(h.Sort), func(i int) { w.Raw(h.Sort[i]) })
	}
	w.End()
	return nil
}

// number writes a member as encoding/json writes it.
func number(w *wire.Writer, key string, f *float64) error {
	b, err := json.Marshal(f)
	w.Append(key, func(to []byte) []byte { return append(to, b...) })
	return err
}
