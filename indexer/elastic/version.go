package elastic

import (
	"fmt"
	"hash/fnv"
)

// place is what a version stands for: a write's place in the history of one shard of
// one index. Two places are equal only if they are the same write.
type place struct {
	mark int // of the index
	term int64
	seq  int64
}

// Bits of a version: 14 of the index's mark, 14 of the primary term, 35 of the sequence
// number. The sign stays 0.
const (
	generationBits = 6
	uuidBits       = 8
	termBits       = 14
	seqBits        = 35
)

// markOf tells an index from others of its type: by its generation (modulo, since one
// follows another over months), and, where one was dropped and made anew with the same
// name, by a hash of the id that the server gave it.
func markOf(generation int, uuid string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(uuid))
	return generation%(1<<generationBits)<<uuidBits | int(h.Sum32()%(1<<uuidBits))
}

// version packs a place; it is never 0. The error says that the shard's counters have
// grown beyond what a version holds: a reindex starts them again.
func (p place) version() (int64, error) {
	if p.term < 1 || p.term >= 1<<termBits || p.seq < 0 || p.seq >= 1<<seqBits {
		return 0, fmt.Errorf("primary term %d or sequence number %d is out of range: reindex to start them again", p.term, p.seq)
	}
	return int64(p.mark)<<(termBits+seqBits) | p.term<<seqBits | p.seq, nil
}

// of reports whether the place may be one of that index.
func (p place) of(ix *index) bool { return p.mark == ix.mark && p.term > 0 }

// placeOf unpacks a version.
func placeOf(version int64) place {
	return place{
		mark: int(version >> (termBits + seqBits)),
		term: version >> seqBits & (1<<termBits - 1),
		seq:  version & (1<<seqBits - 1),
	}
}
