package feed

import (
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// logged is an entry of the change log, and where and when the log has it.
type logged struct {
	at        time.Time // in milliseconds, as the log has it
	partition int
	offset    int64
	value     []byte
}

// newer orders the newest first.
func newer(a, b logged) int {
	return cmp.Or(b.at.Compare(a.at), cmp.Compare(a.partition, b.partition), cmp.Compare(b.offset, a.offset))
}

// maxPacked is how many bytes of entries go into one record, and mostUnpacked how many
// are ever read from one.
const (
	maxPacked    = 256 << 10
	mostUnpacked = 4 * maxPacked
)

// packer packs for one goroutine at a time; what compresses is large, and kept.
type packer struct {
	w      *flate.Writer
	frames []byte
}

// pack makes the value of a record: how many entries it has, and these, compressed.
func (p *packer) pack(entries []logged) []byte {
	frames := p.frames[:0]
	for _, e := range entries {
		frames = binary.AppendUvarint(frames, uint64(e.at.UnixMilli())) //nolint:gosec // bytes that come back
		frames = binary.AppendUvarint(frames, uint64(e.partition))      //nolint:gosec // not negative
		frames = binary.AppendUvarint(frames, uint64(e.offset))         //nolint:gosec // not negative
		frames = binary.AppendUvarint(frames, uint64(len(e.value)))
		frames = append(frames, e.value...)
	}
	p.frames = frames
	out := bytes.NewBuffer(binary.AppendUvarint(nil, uint64(len(entries))))
	if p.w == nil {
		w, err := flate.NewWriter(out, flate.BestSpeed)
		if err != nil {
			panic(err) // the level is one
		}
		p.w = w
	}
	p.w.Reset(out)
	_, err := p.w.Write(frames)
	if err = errors.Join(err, p.w.Close()); err != nil {
		panic(err) // a buffer takes everything
	}
	return out.Bytes()
}

var errPacked = errors.New("feed entries cannot be read")

// packed is how many entries a record has.
func packed(b []byte) (n int, rest []byte, err error) {
	count, size := binary.Uvarint(b)
	if size <= 0 || count > mostUnpacked {
		return 0, nil, errPacked
	}
	return int(count), b[size:], nil
}

// unpack is the reverse of pack.
func unpack(b []byte) ([]logged, error) {
	n, rest, err := packed(b)
	if err != nil {
		return nil, err
	}
	frames, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(rest)), mostUnpacked+1))
	if err != nil || len(frames) > mostUnpacked {
		return nil, fmt.Errorf("%w: %d bytes or more, %w", errPacked, len(frames), errors.Join(err))
	}
	var out []logged
	for len(frames) > 0 {
		var numbers [4]uint64
		for i := range numbers {
			v, size := binary.Uvarint(frames)
			if size <= 0 {
				return nil, errPacked
			}
			numbers[i], frames = v, frames[size:]
		}
		size := numbers[3]
		if size > uint64(len(frames)) {
			return nil, errPacked
		}
		out = append(out, logged{
			at: time.UnixMilli(int64(numbers[0])).UTC(), partition: int(numbers[1]), offset: int64(numbers[2]), value: frames[:size:size], //nolint:gosec // as packed
		})
		frames = frames[size:]
	}
	if len(out) != n {
		return nil, errPacked
	}
	return out, nil
}
